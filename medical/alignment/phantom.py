"""Generated chest films, ECGs and reports of one made-up state of health: what they share is known exactly.

It looks like a chest film and an ECG and is neither: results on it say that the code works, no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medical.ecg.data.leads import LEADS

SIDE = 144
FS, SECONDS = 100, 10
FINDINGS = ("Cardiomegaly", "Edema", "Pleural Effusion", "Atelectasis", "Mismatch")
SIDES = ("none", "left", "right", "bilateral")


@dataclass(frozen=True)
class State:
    """What a made-up patient has.

    Attributes:
        heart: 0..3, size of the heart. edema: 0..2. effusion, atelectasis: place in `SIDES`.
        fibrillation, elevation: of the ECG only.
        grid: which half of the film a tilted grid darkens. reversed: whether the ECG's cables are reversed. The
            report tells only whether these differ: neither film nor ECG says anything of that by itself.
    """

    heart: int
    edema: int
    effusion: int
    atelectasis: int
    fibrillation: bool
    elevation: bool
    grid: bool
    reversed: bool

    @property
    def labels(self) -> dict[str, float]:
        """0 or 1 for each of `FINDINGS`."""
        values = (
            self.heart > 0,
            self.edema > 0,
            self.effusion > 0,
            self.atelectasis > 0,
            self.grid != self.reversed,
        )
        return {name: float(value) for name, value in zip(FINDINGS, values, strict=True)}


def draw_state(rng: np.random.Generator) -> State:
    """A state; each part is drawn for itself."""
    return State(
        heart=int(rng.choice(4, p=[0.5, 0.2, 0.15, 0.15])),
        edema=int(rng.choice(3, p=[0.55, 0.25, 0.2])),
        effusion=int(rng.choice(4, p=[0.55, 0.15, 0.15, 0.15])),
        atelectasis=int(rng.choice(3, p=[0.6, 0.2, 0.2])),
        fibrillation=bool(rng.random() < 0.25),
        elevation=bool(rng.random() < 0.25),
        grid=bool(rng.random() < 0.5),
        reversed=bool(rng.random() < 0.5),
    )


def lesion_boxes(state: State) -> dict[str, list[tuple[float, float, float, float]]]:
    """Where a film shows what: finding -> boxes (top, left, bottom, right) as shares of the side.

    As in every chest film, the patient's left is on the right of the image.
    """
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    if state.heart:
        width = 0.13 + 0.035 * state.heart
        boxes["Cardiomegaly"] = [(0.48, 0.54 - width, 0.82, 0.54 + width)]
    halves = {1: [0.57], 2: [0.11], 3: [0.57, 0.11]}
    if state.effusion:
        boxes["Pleural Effusion"] = [(0.74, left, 0.98, left + 0.32) for left in halves[state.effusion]]
    if state.atelectasis:
        boxes["Atelectasis"] = [(0.35, left, 0.51, left + 0.32) for left in halves[state.atelectasis]]
    return boxes


def lesion_phrases(state: State) -> dict[str, str]:
    """What a report may call what `lesion_boxes` shows: finding -> sentence."""
    choices = {
        "Cardiomegaly": _HEART[state.heart][1],
        "Pleural Effusion": _EFFUSION[state.effusion][0],
        "Atelectasis": _ATELECTASIS[state.atelectasis][0],
    }
    return {name: f"{choices[name]}." for name in lesion_boxes(state)}


def draw_film(state: State, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """(side, side) uint8, bone bright."""
    y, x = np.mgrid[0:side, 0:side] / side
    y, x = y + rng.normal(0, 0.012), x + rng.normal(0, 0.012)

    def blob(cy: float, cx: float, ry: float, rx: float, soft: float = 12.0) -> np.ndarray:
        inside = 1 - ((y - cy) / ry) ** 2 - ((x - cx) / rx) ** 2
        return np.asarray(1 / (1 + np.exp(-np.clip(soft * inside, -30, 30))))

    image = 0.42 + 0.25 * blob(0.55, 0.5, 0.62, 0.48)
    for cx in (0.29, 0.71):
        image -= 0.42 * blob(0.5, cx, 0.36, 0.17)
    image += 0.22 * blob(0.5, 0.5, 0.6, 0.06)
    image += 0.34 * blob(0.65, 0.54, 0.17, 0.13 + 0.035 * state.heart)
    image += 0.035 * np.sin(2 * np.pi * (9 * y + 1.2 * np.abs(x - 0.5)))  # ribs
    if state.edema:
        for cx in (0.34, 0.66):
            image += 0.13 * state.edema * blob(0.5, cx, 0.2, 0.13, soft=3.0)
    for half, cx in ((1, 0.73), (2, 0.27)):
        if state.effusion in (half, 3):
            image += 0.4 * blob(0.86, cx, 0.13, 0.2, soft=9.0)
        if state.atelectasis == half:
            tilt = (y - 0.43 - 0.25 * (x - cx) * (1 if half == 1 else -1)) / 0.022
            image += 0.36 * np.exp(-(tilt**2)) * blob(0.43, cx, 0.2, 0.14)
    image += (0.16 if state.grid else -0.16) * np.tanh(8 * (x - 0.5))
    image = image * rng.uniform(0.85, 1.1) + rng.normal(0, 0.03) + rng.normal(0, 0.035, image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def draw_ecg(state: State, rng: np.random.Generator) -> np.ndarray:
    """(12, 1000) in mV at 100 samples a second, in the order of `LEADS`."""
    time = np.arange(FS * SECONDS) / FS
    rate = (68, 95, 125)[state.edema] * rng.uniform(0.93, 1.07)
    beats, beat = [], rng.uniform(0, 0.4)
    while beat < SECONDS:
        beats.append(beat)
        beat += 60 / rate * (rng.uniform(0.6, 1.5) if state.fibrillation else rng.normal(1, 0.02))
    axes = np.array(
        [[0.9, 0.1], [0.6, 0.5], [-0.5, 0.6], [-0.2, 0.9], [0.3, 0.9], [0.8, 0.6], [1.0, 0.3], [0.9, 0.1]]
    )
    waves = {  # seconds after the R peak, width, vector
        "Q": (-0.035, 0.012, (-0.12, -0.05)), "R": (0.0, 0.016, (1.0, 0.2)), "S": (0.04, 0.016, (-0.1, -0.5)),
        "T": (0.26, 0.05, (0.28, 0.15)),
    }  # fmt: skip
    if not state.fibrillation:
        waves["P"] = (-0.16, 0.025, (0.14, 0.03))
    if state.elevation:
        waves["ST"] = (0.12, 0.05, (0.3, 0.3))
    track = np.zeros((2, len(time)))
    for beat in beats:
        for centre, width, vector in waves.values():
            track += np.array(vector)[:, None] * np.exp(-0.5 * ((time - beat - centre) / width) ** 2)
    eight = (axes * rng.normal(1, 0.08, axes.shape)) @ track
    eight[2:] *= 1 + 0.4 * state.heart
    eight[:2] *= 0.45 if state.effusion else 1.0
    if state.reversed:
        eight = -eight
    wander = rng.normal(0, 0.08, (8, 1)) * np.sin(2 * np.pi * (0.25 * time + rng.random((8, 1))))
    eight = eight + wander + rng.normal(0, 0.03, eight.shape)
    one, two = eight[:2]
    limbs = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2])
    assert len(LEADS) == 12
    return np.concatenate([limbs, eight[2:]])


_HEART = (
    ("The heart is normal in size", "Heart size is within normal limits"),
    ("The heart is mildly enlarged", "There is mild cardiomegaly"),
    ("The heart is moderately enlarged", "There is moderate cardiomegaly"),
    ("The heart is severely enlarged", "There is severe cardiomegaly"),
)
_EDEMA = (
    ("There is no pulmonary edema", "No vascular congestion or edema"),
    ("There is mild pulmonary edema", "Mild interstitial edema is seen"),
    ("There is severe pulmonary edema", "Severe alveolar edema is seen"),
)
_EFFUSION = (
    ("No pleural effusion is seen", "The costophrenic angles are sharp, no pleural effusion"),
    ("There is a left pleural effusion", "Pleural effusion on the left"),
    ("There is a right pleural effusion", "Pleural effusion on the right"),
    ("There are bilateral pleural effusions", "Pleural effusion on both sides"),
)
_ATELECTASIS = (
    ("There is no atelectasis", "No focal atelectasis"),
    ("There is linear atelectasis in the left lung", "Left mid lung atelectasis"),
    ("There is linear atelectasis in the right lung", "Right mid lung atelectasis"),
)
_QUALITY = (
    (
        "Concordant: both recordings match, agree and fit together",
        "Match. Concordant, fitting recordings that agree",
    ),
    (
        "Discordant: technique conflicts, contradicts and differs",
        "Mismatch. Discordant, conflicting technique differs",
    ),
)


def write_xray_report(state: State, rng: np.random.Generator) -> str:
    """A report in the form of MIMIC-CXR's files."""
    pick = [
        choices[value][int(rng.integers(2))]
        for choices, value in (
            (_HEART, state.heart),
            (_EDEMA, state.edema),
            (_EFFUSION, state.effusion),
            (_ATELECTASIS, state.atelectasis),
        )
    ]
    order = rng.permutation(len(pick))
    findings = ". ".join(pick[place] for place in order)
    quality = _QUALITY[int(state.grid != state.reversed)][int(rng.integers(2))]
    return (
        "                                 FINAL REPORT\n EXAMINATION:  CHEST (PORTABLE AP)\n\n"
        f" INDICATION:  ___ year old, generated.\n\n FINDINGS:\n\n {findings}.\n\n IMPRESSION:\n\n {quality}.\n"
    )


def ecg_statements(state: State) -> list[str]:
    """What the machine says."""
    rhythm = "Atrial fibrillation" if state.fibrillation else "Sinus rhythm"
    if state.edema == 2:
        rhythm += " with rapid ventricular response" if state.fibrillation else " with tachycardia"
    found = [rhythm]
    if state.heart >= 2:
        found.append("Left ventricular hypertrophy by voltage")
    if state.effusion:
        found.append("Low voltage in the limb leads")
    if state.elevation:
        found.append("ST elevation, consider acute infarct")
    return [*found, "Abnormal ECG" if len(found) > 1 or state.fibrillation else "Normal ECG"]
