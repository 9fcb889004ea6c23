"""A small generated data set in PTB-XL's own file layout, whose evidence windows are known.

The heart is a moving dipole: each wave (P, Q, R, S, T) is a Gaussian in time with a direction in space, and the
leads are projections of it; III, aVR, aVL and aVF follow from I and II as in every device. Rhythm labels change
the beat times, global labels every beat, morphology labels a single beat somewhere in the ten seconds, which
``demo_events.csv`` notes. It looks like an ECG and is none: results on it say that the code works, no more.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import ConfigError
from core.files import atomic_directory
from core.learning.determinism import generator
from medical.ecg.data.leads import LEADS
from medical.ecg.data.wfdb import write_wfdb

FS, SECONDS = 100, 10
EVENTS_FILE = "demo_events.csv"
RHYTHMS = {"SR": 0.46, "STACH": 0.18, "SBRAD": 0.18, "AFIB": 0.18}
EVENTS = {"PVC": 0.22, "STE_": 0.22, "INVT": 0.22}
GLOBALS = {"EL": 0.18, "LVH": 0.18}
_STATEMENTS = (  # code, description, diagnostic, form, rhythm, class, subclass
    ("LVH", "left ventricular hypertrophy", "1.0", "", "", "HYP", "LVH"),
    ("NORM", "normal ECG", "1.0", "", "", "NORM", "NORM"),
    ("EL", "electrolytic disturbance or drug (former EDIS)", "1.0", "", "", "STTC", "STTC"),
    ("PVC", "ventricular premature complex", "", "1.0", "", "", ""),
    ("INVT", "inverted T-waves", "", "1.0", "", "", ""),
    ("STE_", "non-specific ST elevation", "", "1.0", "", "", ""),
    ("SR", "sinus rhythm", "", "", "1.0", "", ""),
    ("AFIB", "atrial fibrillation", "", "", "1.0", "", ""),
    ("STACH", "sinus tachycardia", "", "", "1.0", "", ""),
    ("SBRAD", "sinus bradycardia", "", "", "1.0", "", ""),
)
# Direction of each independent lead in the body (x: left, y: down, z: front).
_AXES = np.array(
    [
        [1.0, 0.0, 0.0], [0.5, 0.87, 0.0],
        [-0.45, 0.1, 0.9], [-0.1, 0.1, 1.0], [0.3, 0.15, 0.9], [0.7, 0.2, 0.6], [0.95, 0.25, 0.2], [1.0, 0.3, -0.1],
    ]
)  # fmt: skip
# Wave: centre and width in seconds after the R peak, dipole in mV.
_WAVES = {
    "P": (-0.16, 0.022, (0.08, 0.12, 0.02)),
    "Q": (-0.035, 0.010, (-0.10, -0.06, 0.08)),
    "R": (0.0, 0.013, (0.85, 0.75, -0.25)),
    "S": (0.035, 0.012, (-0.15, -0.12, 0.20)),
    "T": (0.26, 0.050, (0.22, 0.20, 0.16)),
}


@dataclass
class DemoRecord:
    """One generated recording: (12, T) in mV, codes, and (label, start, end) in seconds of its events."""

    signal: np.ndarray = field(repr=False)
    codes: list[str]
    events: list[tuple[str, float, float]]


def make_record(rng: np.random.Generator, *, noise: float = 0.06, strength: float = 1.0) -> DemoRecord:
    """Draw labels and a recording with them.

    Args:
        noise: standard deviation of the muscle noise in mV.
        strength: factor of what the event and global labels change; smaller is harder.
    """
    rhythm = str(rng.choice(list(RHYTHMS), p=list(RHYTHMS.values())))
    wanted = [code for code, share in (EVENTS | GLOBALS).items() if rng.random() < share]
    beats = _beat_times(rng, rhythm)
    inside = [k for k, beat in enumerate(beats) if 0.6 < beat < SECONDS - 0.9]
    events = [code for code in EVENTS if code in wanted]
    places = dict(zip(events, rng.choice(inside, size=len(events), replace=False).tolist(), strict=True))
    body = rng.normal(1.0, 0.15, size=3)[None, :] * rng.normal(1.0, 0.1)
    dipole = np.zeros((3, FS * SECONDS))
    found = []
    for k, beat in enumerate(beats):
        here = [code for code, place in places.items() if place == k]
        gap = beats[k + 1] - beat if k + 1 < len(beats) else 0.8
        waves = _beat(rng, rhythm, [*here, *(code for code in GLOBALS if code in wanted)], strength, gap)
        for centre, width, vector in waves:
            _add(dipole, beat + centre, width, np.asarray(vector) * body[0])
        found += [(code, beat + (-0.10 if code == "PVC" else 0.02), beat + 0.42) for code in here]
    if rhythm == "AFIB":
        _add_fibrillation(rng, dipole)
    leads = _leads(dipole)
    time = np.arange(FS * SECONDS) / FS
    wander = rng.normal(0, 0.12, (8, 1)) * np.sin(
        2 * np.pi * (rng.uniform(0.1, 0.4) * time + rng.random((8, 1)))
    )
    independent = leads + wander + rng.normal(0, noise * rng.uniform(0.5, 1.5), leads.shape)
    codes = [rhythm, *wanted]
    if rhythm == "SR" and not wanted:
        codes.insert(0, "NORM")
    return DemoRecord(_twelve(independent), codes, [(c, round(a, 3), round(b, 3)) for c, a, b in found])


def write_demo(
    root: str | os.PathLike[str],
    *,
    records: int = 1200,
    seed: int = 0,
    noise: float = 0.06,
    strength: float = 1.0,
) -> Path:
    """Write ``records`` generated recordings as a PTB-XL folder; equal arguments give equal files.

    ``demo_events.csv`` beside the layout's own files says where the evidence of each event label lies:
    ecg_id, label, start_s, end_s. Folds 1 to 10 keep the patients together.
    """
    if records < 40:
        raise ConfigError("records of the demo", seen=records, expected="at least 40")
    with atomic_directory(root) as folder:
        rows, events = [], []
        rng = generator(seed, "ecg-demo-patients")
        patient, left = 0, 0
        for number in range(1, records + 1):
            if left == 0:
                patient, left = patient + 1, int(rng.integers(1, 4))
                fold, age, sex = 1 + (patient - 1) % 10, int(rng.integers(25, 89)), int(rng.integers(0, 2))
            left -= 1
            record = make_record(generator(seed, "ecg-demo", number), noise=noise, strength=strength)
            name = f"records100/{number // 1000 * 1000:05d}/{number:05d}_lr"
            leads = tuple(lead.upper() for lead in LEADS)
            write_wfdb(folder / name, record.signal.T, fs=FS, leads=leads)
            codes = {code: 100.0 if code in ("NORM", "LVH", "EL") else 0.0 for code in record.codes}
            rows.append(
                [number, f"{10_000 + patient}.0", f"{age}.0", sex, "demo", repr(codes), fold, name,
                 name.replace("records100", "records500").replace("_lr", "_hr")]
            )  # fmt: skip
            events += [[number, *event] for event in record.events]
        columns = [
            "ecg_id",
            "patient_id",
            "age",
            "sex",
            "report",
            "scp_codes",
            "strat_fold",
            "filename_lr",
            "filename_hr",
        ]
        _write_csv(folder / "ptbxl_database.csv", columns, rows)
        columns = [
            "",
            "description",
            "diagnostic",
            "form",
            "rhythm",
            "diagnostic_class",
            "diagnostic_subclass",
        ]
        _write_csv(folder / "scp_statements.csv", columns, _STATEMENTS)
        _write_csv(folder / EVENTS_FILE, ["ecg_id", "label", "start_s", "end_s"], events)
    return Path(root)


def _beat_times(rng: np.random.Generator, rhythm: str) -> list[float]:
    low, high, spread = {
        "SR": (62, 92, 0.03), "STACH": (105, 135, 0.02), "SBRAD": (42, 54, 0.03), "AFIB": (65, 110, 0.22),
    }[rhythm]  # fmt: skip
    period = 60 / rng.uniform(low, high)
    beat, beats = rng.uniform(-0.3, 0.4), []
    while beat < SECONDS + 0.3:
        beats.append(beat)
        beat += max(0.33, period * (1 + spread * rng.normal()))
    return beats


def _beat(
    rng: np.random.Generator, rhythm: str, labels: list[str], strength: float, gap: float
) -> list[tuple[float, float, np.ndarray]]:
    """(centre, width, dipole) of the waves of one beat."""
    weight = strength * rng.uniform(0.75, 1.25)
    if "PVC" in labels:  # wide, without a P wave, T against the QRS
        main = weight * np.array([-0.7, 0.9, 0.9]) * rng.uniform(0.8, 1.1)
        return [(0.0, 0.045, main), (0.06, 0.03, -0.3 * main), (0.30, 0.06, -0.45 * main)]
    fast = min(1.0, gap / 0.8) ** 0.5  # the T wave comes earlier at a high rate
    waves = {name: (c, w, np.array(v)) for name, (c, w, v) in _WAVES.items()}
    waves = {n: (c * fast if n == "T" else c, w, v * rng.normal(1, 0.06)) for n, (c, w, v) in waves.items()}
    if rhythm == "AFIB":
        del waves["P"]
    centre, width, vector = waves["T"]
    if "LVH" in labels:
        for name in ("R", "S"):
            waves[name] = (waves[name][0], waves[name][1], waves[name][2] * (1 + 0.55 * weight))
    if "EL" in labels:  # tall, narrow
        vector, width = vector * (1 + 0.9 * weight), width * (1 - 0.35 * weight)
    if "INVT" in labels:
        vector = vector * (1 - 2.1 * weight)
    waves["T"] = (centre, width, vector)
    if "STE_" in labels:
        waves["ST"] = (centre * 0.55, 0.06, weight * np.array([0.05, -0.05, 0.42]))
    return list(waves.values())


def _add(dipole: np.ndarray, centre: float, width: float, vector: np.ndarray) -> None:
    first = max(0, int((centre - 4 * width) * FS))
    last = min(dipole.shape[1], int((centre + 4 * width) * FS) + 2)
    if first < last:
        time = np.arange(first, last) / FS - centre
        dipole[:, first:last] += vector[:, None] * np.exp(-0.5 * (time / width) ** 2)


def _add_fibrillation(rng: np.random.Generator, dipole: np.ndarray) -> None:
    time = np.arange(dipole.shape[1]) / FS
    phase = 2 * np.pi * np.cumsum(rng.normal(6.0, 0.8, time.shape)) / FS
    dipole += rng.uniform(0.03, 0.06) * np.array([[0.3], [0.6], [0.9]]) * np.sin(phase + rng.random())


def _leads(dipole: np.ndarray) -> np.ndarray:
    return _AXES @ dipole


def _twelve(eight: np.ndarray) -> np.ndarray:
    """(8, T) of I, II, V1..V6 -> (12, T) in the order of `LEADS`."""
    one, two = eight[0], eight[1]
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.concatenate([np.stack(limbs), eight[2:]])


def _write_csv(path: Path, columns: list[str], rows: object) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)  # type: ignore[arg-type]
