"""From a conformed recording to a model's input: baseline removal and optional standardisation by lead."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a signal before the networks; it travels with the model.

    Attributes:
        fs: samples a second of the input.
        seconds: its length.
        highpass: cut-off in Hz of the baseline removal; 0 leaves the baseline.
        mean, std: of each of the 12 leads over the training records, or empty: no standardisation.
        length, flat, gap_ms, default_unit: of `medical.ecg.data.conform.Form`.
    """

    fs: float = 100.0
    seconds: float = 10.0
    highpass: float = 0.5
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    length: str = "fit"
    flat: str = "quarantine"
    gap_ms: float = 50.0
    default_unit: str | None = None

    @property
    def samples(self) -> int:
        """Samples of an input."""
        return round(self.fs * self.seconds)

    @property
    def form(self) -> Any:
        """The `Form` that a recording is brought to first."""
        from medical.ecg.data.conform import Form

        return Form(
            fs=self.fs,
            seconds=self.seconds,
            length=self.length,  # type: ignore[arg-type]
            flat=self.flat,  # type: ignore[arg-type]
            gap_ms=self.gap_ms,
            default_unit=self.default_unit,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a model's configuration."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Preprocessing:
        """Back from ``to_json``."""
        return cls(**{**raw, "mean": tuple(raw["mean"]), "std": tuple(raw["std"])})

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """(..., 12, T) in mV -> the same shape, float32.

        Raises:
            DataError: another number of leads or samples, or NaN.

        >>> Preprocessing()(np.zeros((2, 12, 1000))).shape
        (2, 12, 1000)
        """
        if signals.ndim < 2 or signals.shape[-2:] != (12, self.samples):
            raise DataError(
                "signals",
                seen=signals.shape,
                expected=f"(..., 12, {self.samples}): {self.seconds:g} s at {self.fs:g} Hz",
                remedy="bring recordings to this form with medical.ecg.data.conform.conform",
            )
        if not np.isfinite(signals).all():
            raise DataError("signals hold NaN or infinity", remedy="conform recordings first")
        out = highpass(signals, self.fs, self.highpass) if self.highpass else signals
        if self.std:
            mean, std = (np.asarray(values, dtype=np.float32)[:, None] for values in (self.mean, self.std))
            out = (out - mean) / std
        return np.asarray(out, dtype=np.float32)


def highpass(signals: np.ndarray, fs: float, cutoff: float = 0.5) -> np.ndarray:
    """Remove the baseline: first-order Butterworth high-pass, forwards and backwards (no phase shift).

    Args:
        signals: (..., T). fs: samples a second. cutoff: Hz, below fs / 2.

    >>> bool(abs(highpass(np.ones((1, 1000)), 100.0)).max() < 1e-6)
    True
    """
    from scipy.signal import butter, filtfilt

    numerator, denominator = butter(1, cutoff, btype="highpass", fs=fs)
    return np.asarray(filtfilt(numerator, denominator, signals, axis=-1))


def lead_statistics(signals: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each lead over (N, 12, T) training signals."""
    mean = signals.mean(axis=(0, 2), dtype=np.float64)
    std = np.sqrt(np.maximum((signals.astype(np.float64) ** 2).mean(axis=(0, 2)) - mean**2, 1e-12))
    return tuple(map(float, mean)), tuple(map(float, std))
