"""From a conformed ECG (12, T) in mV to the ECG tower's input: baseline and scale."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from core.errors import ConfigError

Baseline = Literal["none", "highpass", "median"]
Scale = Literal["mv_clip", "per_record", "per_lead_minmax"]
CLIP_MV = 5.0


def scale_ecg(
    signals: np.ndarray, fs: float, *, removal: Baseline = "highpass", scale: Scale = "mv_clip"
) -> np.ndarray:
    """(..., 12, T) in mV to float32 numbers of about -1..1.

    Args:
        fs: samples a second.
        removal: of the baseline: ``highpass`` (0.5 Hz, without phase shift), ``median`` (as MoRE), ``none``.
        scale: ``mv_clip`` divides by 5 mV and clips: voltages stay comparable between leads and patients.
            ``per_record`` maps the range of a record to -1..1: leads stay comparable. ``per_lead_minmax`` (as
            MoRE) maps each lead: voltage criteria such as hypertrophy are then lost.

    Raises:
        ConfigError: an unknown name.

    >>> scale_ecg(np.full((12, 1000), 2.5), 100.0, removal="none")[0, 0]
    np.float32(0.5)
    """
    if removal not in get_args(Baseline) or scale not in get_args(Scale):
        raise ConfigError(
            "ECG preprocessing",
            seen=(removal, scale),
            expected=f"one of {get_args(Baseline)} and one of {get_args(Scale)}",
        )
    if removal == "median":
        signals = baseline(signals, fs)
    elif removal == "highpass":
        from medical.ecg.preprocess import highpass

        signals = highpass(signals, fs)
    if scale == "mv_clip":
        return np.clip(signals / CLIP_MV, -1, 1).astype(np.float32)
    if scale == "per_lead_minmax":
        return minmax_leads(signals).astype(np.float32)
    largest = np.abs(signals).max(axis=(-2, -1), keepdims=True)
    return (signals / np.where(largest > 0, largest, 1)).astype(np.float32)


def baseline(signals: np.ndarray, fs: float) -> np.ndarray:
    """Signals minus their running median over 0.2 s and then 0.6 s (de Chazal et al. 2004), lead by lead.

    Args:
        signals: (..., T). fs: samples a second; the kernels are made odd.

    >>> bool(np.abs(baseline(np.ones((1, 500)), 100.0)[0, 50:-50]).max() == 0)
    True
    """
    from scipy.ndimage import median_filter

    level = np.asarray(signals, dtype=np.float64)
    for seconds in (0.2, 0.6):
        width = round(seconds * fs) // 2 * 2 + 1
        size = (*(1,) * (level.ndim - 1), width)
        level = median_filter(level, size=size, mode="constant", cval=0.0)
    return np.asarray(signals - level)


def minmax_leads(signals: np.ndarray) -> np.ndarray:
    """Each lead's range mapped to -1..1; a constant lead becomes -1.

    >>> (minmax_leads(np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])).round(3) + 0.0).tolist()
    [[-1.0, 0.0, 1.0], [-1.0, -1.0, -1.0]]
    """
    low, high = signals.min(axis=-1, keepdims=True), signals.max(axis=-1, keepdims=True)
    return np.asarray(2 * (signals - low) / (high - low + 1e-10) - 1)
