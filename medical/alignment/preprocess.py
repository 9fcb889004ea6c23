"""From films and recordings as they were read to the towers' inputs; it travels with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.errors import DataError
from medical.alignment.signal import Baseline, Scale, scale_ecg


@dataclass(frozen=True)
class Preprocessing:
    """What happens before the networks.

    Attributes:
        image_size: side of the square film, whose aspect is not kept (as in MoRE).
        equalize: spread the local contrast first, see `medical.alignment.equalize`.
        mean, std: of grey values in 0..1, taken off and divided by.
        fs, seconds: of the ECGs. removal, scale: see `medical.alignment.signal.scale_ecg`.
        flat: what a constant lead does, ``quarantine`` or ``mask``. default_unit: of recordings that name none.
    """

    image_size: int = 224
    equalize: bool = False
    mean: float = 0.499
    std: float = 0.293
    fs: float = 100.0
    seconds: float = 10.0
    removal: Baseline = "highpass"
    scale: Scale = "mv_clip"
    flat: str = "quarantine"
    default_unit: str | None = None

    @property
    def samples(self) -> int:
        """Samples of an ECG."""
        return round(self.fs * self.seconds)

    @property
    def form(self) -> Any:
        """The `medical.ecg.data.conform.Form` that recordings are brought to first."""
        from medical.ecg.data.conform import Form

        return Form(fs=self.fs, seconds=self.seconds, flat=self.flat, default_unit=self.default_unit)  # type: ignore[arg-type]

    def film(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W) in 0..1 -> (image_size, image_size) uint8.

        >>> Preprocessing(image_size=32).film(np.ones((200, 150))).shape
        (32, 32)
        """
        import torch
        import torch.nn.functional as F

        if self.equalize:
            from medical.alignment.equalize import equalize

            pixels = equalize(pixels)
        grid = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))[None, None]
        size = (self.image_size, self.image_size)
        small = F.interpolate(grid, size=size, mode="bilinear", align_corners=False, antialias=True)[0, 0]
        return (small.clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    def signal(self, millivolts: np.ndarray) -> np.ndarray:
        """(12, samples) in mV, conformed -> the same shape, scaled.

        Raises:
            DataError: another shape, or NaN.
        """
        if millivolts.shape != (12, self.samples) or not np.isfinite(millivolts).all():
            raise DataError(
                "ECG", seen=millivolts.shape, expected=f"(12, {self.samples}) finite numbers in mV",
                remedy="conform the recording first (medical.ecg.data.conform)",
            )  # fmt: skip
        return scale_ecg(millivolts, self.fs, removal=self.removal, scale=self.scale)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a model's configuration."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Preprocessing:
        """Back from ``to_json``."""
        return cls(**raw)
