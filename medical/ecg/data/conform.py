"""From a recording as its file has it to the one form that models read: mV, 12 leads by name, one rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from core.errors import ConfigError
from medical.ecg.data.leads import LEADS, SWAPPED, limb_residual, order_leads
from medical.ecg.data.problems import BadRecord, Note
from medical.ecg.data.recording import Recording

LARGEST_MV = 20.0
FLAT_MV = 1e-6
SHORTEST = 0.5
_MILLIVOLT = {"mv": 1.0, "millivolt": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "microvolt": 1e-3, "v": 1e3}


@dataclass(frozen=True)
class Form:
    """What every recording is brought to.

    Attributes:
        fs: samples a second. seconds: length.
        length: ``fit`` crops a longer recording at its end and pads a shorter one (down to half) with zeros,
            each noted; ``refuse`` takes exact lengths only.
        flat: a constant lead: ``quarantine`` the recording, or ``mask`` the lead (zeros, noted).
        gap_ms: NaN gaps up to this long are interpolated, longer ones are refused.
        default_unit: unit of recordings that name none; None refuses them.
    """

    fs: float = 100.0
    seconds: float = 10.0
    length: Literal["fit", "refuse"] = "fit"
    flat: Literal["quarantine", "mask"] = "quarantine"
    gap_ms: float = 50.0
    default_unit: str | None = None

    def __post_init__(self) -> None:
        if self.default_unit is not None and self.default_unit.lower() not in _MILLIVOLT:
            raise ConfigError("default_unit", seen=self.default_unit, expected="mV, uV or V")

    @property
    def samples(self) -> int:
        """Samples of a conformed recording."""
        return round(self.fs * self.seconds)


@dataclass(frozen=True)
class Conformed:
    """``signal``: (12, samples) float32 in mV, no NaN; ``quality``: the columns of the quality table."""

    signal: np.ndarray = field(repr=False)
    quality: dict[str, Any]
    notes: tuple[Note, ...]


def conform(recording: Recording, form: Form | None = None) -> Conformed:
    """Bring a recording to ``form``, or say why it cannot be used.

    In this order: unit to mV, leads by name, gaps, plausible amplitude, constant leads, rate (polyphase with
    its anti-aliasing filter), length. What was changed is among the notes.

    Raises:
        BadRecord: kinds ``unit``, ``leads``, ``nan``, ``amplitude``, ``flat``, ``length``.

    >>> rng = np.random.default_rng(0)
    >>> raw = Recording(rng.normal(size=(5000, 12)).astype("float32"), 500.0, LEADS, ("uV",) * 12)
    >>> done = conform(raw)
    >>> done.signal.shape, [note.kind for note in done.notes]
    ((12, 1000), ['unit', 'rate'])
    """
    form = form or Form()
    where = recording.source
    notes = list(recording.notes)
    signal = order_leads(_millivolts(recording, form, notes), recording.leads, where=where)
    nan = np.isnan(signal)
    nan_leads = [lead for lead, bad in zip(LEADS, nan.any(axis=0), strict=True) if bad]
    if nan_leads:
        signal = _fill(signal, nan, recording.fs, form, where)
        notes.append(
            Note("nan", f"{int(nan.sum())} missing sample(s) interpolated in {', '.join(nan_leads)}")
        )
    # Far from every real ECG: the largest value decides cheaply, the percentile only where it is large.
    largest = float(np.abs(signal).max())
    if largest > LARGEST_MV and (extreme := float(np.percentile(np.abs(signal), 99.9))) > LARGEST_MV:
        raise BadRecord(
            "amplitude",
            f"{where}: 99.9 % of the samples lie below {extreme:.4g} mV, expected at most {LARGEST_MV:g}; the "
            f"numbers look like {_guess(extreme)}, not {recording.units[0] or 'mV'}: correct the unit",
        )
    flat = np.flatnonzero(signal.std(axis=0) < FLAT_MV)
    flat_leads = [LEADS[lead] for lead in flat]
    if flat_leads:
        if form.flat == "quarantine" or len(flat_leads) == len(LEADS):
            raise BadRecord("flat", f"{where}: constant lead(s) {', '.join(flat_leads)}")
        notes.append(Note("flat", f"constant lead(s) {', '.join(flat_leads)} set to zero"))
        signal = signal.copy()
        signal[:, flat] = 0
    residual = limb_residual(signal)
    if residual > SWAPPED and not flat_leads:
        notes.append(
            Note(
                "swapped", f"limb leads do not add up (median {residual:.2f} mV): swapped cables or columns?"
            )
        )
    out = signal.T
    if recording.fs != form.fs:
        out = resample(out, recording.fs, form.fs)
        notes.append(Note("rate", f"resampled from {recording.fs:g} to {form.fs:g} Hz"))
    out = _length(out, form, where, notes)
    quality = {
        "fs": recording.fs,
        "seconds": len(recording.signal) / recording.fs,
        "unit": recording.units[0] if recording.units else "",
        "nan_any": bool(nan_leads),
        "nan_leads": " ".join(nan_leads),
        "constant_leads": " ".join(flat_leads),
        "avail_leads": len({name.strip().upper() for name in recording.leads} & {n.upper() for n in LEADS}),
        "limb_residual_mv": round(residual, 4),
        "largest_mv": round(largest, 3),
        "resampled": recording.fs != form.fs,
    }
    return Conformed(np.ascontiguousarray(out, dtype=np.float32), quality, tuple(notes))


def resample(signal: np.ndarray, fs: float, target: float) -> np.ndarray:
    """(..., T) at ``fs`` to ``target`` samples a second, anti-aliased.

    >>> resample(np.ones((1, 5000)), 500.0, 100.0).shape
    (1, 1000)
    """
    from scipy.signal import resample_poly

    if fs == target:
        return signal
    ratio = Fraction(target / fs).limit_denominator(1000)
    # padtype "line" takes the straight line between the ends off first: no dip where zeros would be assumed
    return np.asarray(resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line"))


def _millivolts(recording: Recording, form: Form, notes: list[Note]) -> np.ndarray:
    named = [unit or form.default_unit or "" for unit in recording.units]
    if not all(named):
        extreme = float(np.nanpercentile(np.abs(recording.signal), 99.9))
        raise BadRecord(
            "unit",
            f"{recording.source}: no unit is given; the numbers look like {_guess(extreme)} (99.9 % below "
            f"{extreme:.4g}): name it in the file, or set data.default_unit",
        )
    try:
        factors = np.array([_MILLIVOLT[unit.lower()] for unit in named], dtype=np.float32)
    except KeyError as error:
        raise BadRecord("unit", f"{recording.source}: unit {error.args[0]!r}, expected mV, uV or V") from None
    if (factors == 1).all():
        return recording.signal
    notes.append(Note("unit", f"converted from {', '.join(sorted(set(named)))} to mV"))
    return recording.signal * factors


def _guess(extreme: float) -> str:
    return "uV" if extreme > LARGEST_MV else "mV" if extreme > 0.02 else "V"


def _fill(signal: np.ndarray, nan: np.ndarray, fs: float, form: Form, where: str) -> np.ndarray:
    """Linear interpolation of short gaps, lead by lead."""
    longest = max(1, math.floor(form.gap_ms / 1000 * fs))
    filled = signal.copy()
    for lead in np.flatnonzero(nan.any(axis=0)):
        bad = nan[:, lead]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], bad.view(np.int8), [0]])))
        gap = int((edges[1::2] - edges[::2]).max())
        if gap > longest:
            raise BadRecord(
                "nan",
                f"{where}: {gap / fs * 1000:.0f} ms without a sample in lead {LEADS[lead]}, expected gaps of at "
                f"most {form.gap_ms:g} ms",
            )
        places = np.arange(len(bad))
        filled[bad, lead] = np.interp(places[bad], places[~bad], signal[~bad, lead])
    return filled


def _length(signal: np.ndarray, form: Form, where: str, notes: list[Note]) -> np.ndarray:
    have, want = signal.shape[1], form.samples
    if have == want:
        return signal
    seen = f"{have / form.fs:.4g} s"
    if form.length == "refuse" or have < SHORTEST * want:
        least = (
            f"{form.seconds:g} s" if form.length == "refuse" else f"at least {SHORTEST * form.seconds:g} s"
        )
        raise BadRecord("length", f"{where}: saw {seen}, expected {least}")
    if have > want:
        notes.append(Note("length", f"the first {form.seconds:g} s of {seen} are used"))
        return signal[:, :want]
    notes.append(Note("length", f"{seen}, padded with zeros to {form.seconds:g} s"))
    return np.pad(signal, ((0, 0), (0, want - have)))
