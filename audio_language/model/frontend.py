"""From samples to what the audio tower sees: windows of one length, log-mel spectrograms, nothing random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from core.encoders.mel import Filters, LogMel, Padding, fit_length
from core.errors import CheckpointError


@dataclass(frozen=True)
class FrontEndSettings:
    """What the weights were trained with; see `core.encoders.mel.LogMel` and `fit_length`.

    Attributes:
        sample_rate: Hz. mels: bands. window, hop: samples. low, high: Hz.
        seconds: length of the model's window; shorter input is filled by ``padding``.
        filters: slaney or htk.
    """

    sample_rate: int = 48_000
    mels: int = 64
    window: int = 1024
    hop: int = 480
    low: float = 50.0
    high: float = 14_000.0
    seconds: float = 10.0
    filters: Filters = "slaney"
    padding: Padding = "repeatpad"

    @property
    def samples(self) -> int:
        """Length of the model's window in samples."""
        return round(self.seconds * self.sample_rate)

    @classmethod
    def from_transformers(cls, raw: Mapping[str, Any]) -> FrontEndSettings:
        """From the content of a CLAP ``preprocessor_config.json``: fusion uses HTK filters, the rest Slaney's.

        >>> FrontEndSettings.from_transformers({"feature_size": 64, "truncation": "fusion"}).filters
        'htk'
        """
        return cls(
            sample_rate=int(raw.get("sampling_rate", 48_000)),
            mels=int(raw.get("feature_size", 64)),
            window=int(raw.get("fft_window_size", 1024)),
            hop=int(raw.get("hop_length", 480)),
            low=float(raw.get("frequency_min", 0)),
            high=float(raw.get("frequency_max", 14_000)),
            seconds=float(raw.get("max_length_s", 10)),
            filters="htk" if raw.get("truncation", "fusion") == "fusion" else "slaney",
            padding=raw.get("padding", "repeatpad"),
        )

    def to_json(self) -> dict[str, Any]:
        """For ``config.json``."""
        return asdict(self)


class FrontEnd:
    """Mono float waveforms to log-mel spectrograms (B, 1, frames, mels) in dB; equal input, equal output.

    It equals transformers' ``ClapFeatureExtractor`` on clips up to ``seconds`` and crops nothing at random.
    Longer input keeps its start: cut recordings into windows first (`audio_language.audio_file.windows`).

    >>> front = FrontEnd(FrontEndSettings(sample_rate=8000, mels=16, window=256, hop=80, high=3800.0, seconds=1))
    >>> front([np.zeros(4000, np.float32), np.zeros(8000, np.float32)]).shape
    torch.Size([2, 1, 101, 16])
    """

    def __init__(self, settings: FrontEndSettings) -> None:
        self.settings = settings
        self.mel = LogMel(
            sample_rate=settings.sample_rate,
            mels=settings.mels,
            window=settings.window,
            hop=settings.hop,
            low=settings.low,
            high=settings.high,
            filters=settings.filters,
        )

    @property
    def frames(self) -> int:
        """Frames of a window."""
        return self.mel.frames(self.settings.samples)

    def check_fits(self, max_frames: int, mels: int) -> None:
        """Refuse a tower that cannot see a whole window. Raises CheckpointError."""
        if self.frames > max_frames or self.settings.mels != mels:
            raise CheckpointError(
                "front end and audio tower",
                seen=f"{self.frames} frames of {self.settings.mels} mels",
                expected=f"at most {max_frames} frames of {mels} mels",
                remedy="lengthen the hop, shorten the window, or enlarge spec_size",
            )

    def fit(self, waves: Sequence[np.ndarray]) -> torch.Tensor:
        """(B, samples): every waveform filled or cut to one window."""
        samples, padding = self.settings.samples, self.settings.padding
        rows = [
            fit_length(torch.from_numpy(np.ascontiguousarray(wave)).float(), samples, padding)
            for wave in waves
        ]
        return torch.stack(rows)

    @torch.no_grad()
    def __call__(self, waves: Sequence[np.ndarray]) -> torch.Tensor:
        """Spectrograms of mono waveforms (n_i,) at the model's rate."""
        return self.mel(self.fit(waves))  # type: ignore[no-any-return]
