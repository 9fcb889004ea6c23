"""The audio front end: deterministic log-mel spectrograms, equal to the features that CLAP was trained on."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from core.encoders.checks import check_input
from core.errors import ConfigError, DataError

Filters = Literal["slaney", "htk"]
Padding = Literal["repeatpad", "repeat", "pad"]


class LogMel(nn.Module):
    """Waveform to log-mel spectrogram in decibels: (B, T) -> (B, 1, frames, mels), frames = T // hop + 1.

    Hann window of ``window`` samples, centred with reflection, squared magnitude, triangular filters,
    ``10 * log10(max(power, 1e-10))``: from -100 dB (silence) upwards. The transform runs in float64 (a
    quiet band beside a loud one would drown in float32 rounding) and the result is float32. No parameter,
    no random draw.

    Args:
        sample_rate: of the waveform, in Hz. mels: number of filters.
        window, hop: in samples. low, high: band limits in Hz, high at most half the rate.
        filters: ``slaney`` (mel scale and area norm of Slaney's toolbox; what CLAP checkpoints without
            fusion expect) or ``htk`` (HTK scale, no norm; CLAP checkpoints with fusion). They differ by up
            to 39 dB: take the one that the weights were trained with.
        check_finite: refuse NaN and infinity in the waveform.

    Raises:
        ConfigError: band limits or sizes that make no sense. DataError: not (B, T), integer samples, or too
            short.

    >>> mel = LogMel(sample_rate=8000, mels=16, window=256, hop=64, low=50, high=3800)
    >>> mel(torch.zeros(2, 8000)).shape, float(mel(torch.zeros(1, 8000)).max())
    (torch.Size([2, 1, 126, 16]), -100.0)
    """

    filter_bank: torch.Tensor
    taper: torch.Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 48_000,
        mels: int = 64,
        window: int = 1024,
        hop: int = 480,
        low: float = 50.0,
        high: float = 14_000.0,
        filters: Filters = "slaney",
        check_finite: bool = True,
    ) -> None:
        from torchaudio.functional import melscale_fbanks

        super().__init__()
        if not 0 <= low < high <= sample_rate / 2:
            raise ConfigError(
                "mel band limits", seen=(low, high), expected=f"0 <= low < high <= {sample_rate / 2:g} Hz"
            )
        if min(mels, window, hop) < 1:
            raise ConfigError("mels, window and hop", seen=(mels, window, hop), expected="positive sizes")
        if filters not in ("slaney", "htk"):
            raise ConfigError("mel filters", seen=filters, expected="slaney or htk")
        self.sample_rate, self.mels, self.window, self.hop = sample_rate, mels, window, hop
        self.check_finite = check_finite
        norm = "slaney" if filters == "slaney" else None
        bank = melscale_fbanks(window // 2 + 1, low, high, mels, sample_rate, norm=norm, mel_scale=filters)
        self.register_buffer("filter_bank", bank, persistent=False)
        self.register_buffer("taper", torch.hann_window(window, dtype=torch.float64), persistent=False)

    def frames(self, samples: int) -> int:
        """Number of frames that ``samples`` samples give."""
        return samples // self.hop + 1

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Log-mel spectrograms of a batch of mono waveforms with samples in -1..1."""
        check_input(waveform, what="waveforms", layout="(B, T)", finite=self.check_finite)
        if waveform.shape[1] <= self.window // 2:
            raise DataError(
                "waveform",
                seen=f"{waveform.shape[1]} samples",
                expected=f"more than {self.window // 2} samples",
            )
        with torch.autocast(device_type=waveform.device.type, enabled=False):
            spectrum = torch.stft(
                waveform.double(),
                self.window,
                hop_length=self.hop,
                window=self.taper.double(),
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = (spectrum.real.square() + spectrum.imag.square()).float()
            bands = power.transpose(1, 2) @ self.filter_bank.float()
            return 10.0 * torch.log10(bands.clamp_min(1e-10)).unsqueeze(1)


def fit_length(waveform: torch.Tensor, samples: int, padding: Padding = "repeatpad") -> torch.Tensor:
    """Bring (..., T) to (..., ``samples``): a longer clip keeps its start, a shorter one is filled.

    ``repeatpad`` repeats it as often as it fits and fills with zeros (CLAP's way), ``repeat`` repeats and
    cuts, ``pad`` only fills with zeros. Cut long files into windows first; this function is for clips.

    >>> fit_length(torch.tensor([1.0, 2.0]), 5).tolist()
    [1.0, 2.0, 1.0, 2.0, 0.0]
    >>> fit_length(torch.tensor([1.0, 2.0]), 5, "repeat").tolist()
    [1.0, 2.0, 1.0, 2.0, 1.0]
    """
    length = waveform.shape[-1]
    if length == 0:
        raise DataError("waveform", seen="0 samples", expected="at least one sample")
    if padding not in ("repeatpad", "repeat", "pad"):
        raise ConfigError("padding", seen=padding, expected="repeatpad, repeat or pad")
    if length < samples and padding != "pad":
        times = samples // length + (padding == "repeat")
        waveform = waveform.repeat(*[1] * (waveform.dim() - 1), times)
    waveform = waveform[..., :samples]
    return F.pad(waveform, (0, samples - waveform.shape[-1]))
