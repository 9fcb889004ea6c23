"""Audio encoders over log-mel spectrograms: CLAP's tower from transformers, and a small CNN."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.encoders.checks import check_input
from core.encoders.weights import LocalWeights
from core.errors import CheckpointError, ConfigError, DataError

TINY_CLAP: dict[str, Any] = {
    "spec_size": 128,
    "num_mel_bins": 64,
    "patch_size": 4,
    "patch_stride": [4, 4],
    "window_size": 2,
    "depths": [1, 1],
    "num_attention_heads": [2, 2],
    "num_hidden_layers": 2,
    "patch_embeds_hidden_size": 8,
    "hidden_size": 16,
    "projection_dim": 12,
}
"""A tower of 5.4 thousand parameters for tests and demos: 64 mels, up to 256 frames."""


class ClapAudio(LocalWeights, nn.Module):
    """CLAP's audio tower (HTSAT, a Swin transformer over the spectrogram) with its projection.

    ===============  ===========================  ==========================================================
    call             input                        output
    ===============  ===========================  ==========================================================
    ``forward(x)``   (B, 1, frames, mels)         (B, dim), projected, not normalised
    ``frames(x)``    (B, 1, frames, mels)         (B, steps, frame_dim), in order of time, before projection
    ===============  ===========================  ==========================================================

    The input comes from ``core.encoders.mel.LogMel``. Fewer frames than ``max_frames`` are stretched to it;
    the mean over ``frames`` is what the projection sees, so the embedding alone says little about order in
    time. A tower with fusion gets the same spectrogram in all four slots and treats every clip as short
    (its fusion weights are kept but no gradient reaches them): cut long files into windows.

    Args:
        settings: fields of transformers' ``ClapAudioConfig``; None for :data:`TINY_CLAP`.
        check_finite: refuse NaN and infinity in the input.

    Attributes:
        dim: width of the embedding. frame_dim: width of a frame. mels, max_frames: accepted input.

    Raises:
        ConfigError: settings that transformers cannot build.
        DataError: another rank or number of mels, or more frames than the tower can see.

    >>> net = ClapAudio()
    >>> net(torch.zeros(2, 1, 200, 64)).shape, net.frames(torch.zeros(2, 1, 200, 64)).shape
    (torch.Size([2, 12]), torch.Size([2, 32, 16]))
    """

    inner = "net"
    channels = 1

    def __init__(self, settings: dict[str, Any] | None = None, *, check_finite: bool = False) -> None:
        from transformers import ClapAudioConfig, ClapAudioModelWithProjection

        super().__init__()
        settings = dict(TINY_CLAP if settings is None else settings)
        depths = settings.get("depths", [2, 2, 6, 2])
        width = settings.get("patch_embeds_hidden_size", 96) * 2 ** (len(depths) - 1)
        for field, wanted in (("hidden_size", width), ("num_hidden_layers", len(depths))):
            if settings.setdefault(field, wanted) != wanted:
                raise ConfigError(
                    f"{field} of the CLAP tower",
                    seen=settings[field],
                    expected=f"{wanted}, which depths imply",
                )
        config = ClapAudioConfig(**settings)
        self.net: Any = ClapAudioModelWithProjection(config)
        self.check_finite = check_finite
        self._take(config)

    def _take(self, config: Any) -> None:
        self.dim, self.frame_dim = int(config.projection_dim), int(config.hidden_size)
        self.mels = int(config.num_mel_bins)
        self.max_frames = int(config.spec_size * (config.spec_size // config.num_mel_bins))
        self.fusion = bool(config.enable_fusion)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, check_finite: bool = False) -> ClapAudio:
        """Load the audio tower of a CLAP model in transformers' layout from a local folder, offline.

        Raises:
            CheckpointError: ``config.json`` or ``model.safetensors`` is missing, or weights do not match.
        """
        from transformers import ClapAudioConfig

        root = Path(folder)
        for name in ("config.json", "model.safetensors"):
            if not (root / name).is_file():
                raise CheckpointError(
                    f"CLAP folder {root}",
                    seen=f"no {name}",
                    expected="config.json and model.safetensors",
                    remedy="save the model with save_pretrained (safe serialization)",
                )
        config = ClapAudioConfig.from_pretrained(root, local_files_only=True)
        encoder = cls(config.to_dict(), check_finite=check_finite)
        report = encoder.load_weights(root)
        if report.missing or report.mismatched:
            raise CheckpointError(f"CLAP folder {root} does not fill the audio tower\n{report}")
        return encoder

    def _run(self, x: torch.Tensor) -> Any:
        check_input(
            x, what="spectrograms", layout="(B, 1, frames, mels)", channels=1, finite=self.check_finite
        )
        if x.shape[3] != self.mels or x.shape[2] > self.max_frames:
            raise DataError(
                "spectrograms",
                seen=tuple(x.shape),
                expected=f"{self.mels} mels and at most {self.max_frames} frames",
                remedy="use the front end of the weights, and cut long files into windows",
            )
        longer = None
        if self.fusion:
            x = x.expand(-1, 4, -1, -1)
            longer = torch.zeros(len(x), 1, dtype=torch.bool, device=x.device)
        return self.net.audio_model(input_features=x, is_longer=longer)

    def frames(self, x: torch.Tensor) -> torch.Tensor:
        """Features in order of time, averaged over frequency: (B, steps, frame_dim)."""
        out: torch.Tensor = self._run(x).last_hidden_state.mean(dim=2).transpose(1, 2)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The projected embedding, (B, dim)."""
        out: torch.Tensor = self.net.audio_projection(self._run(x).pooler_output)
        return out


class AudioCNN(LocalWeights, nn.Module):
    """Small convolutional network over log-mel spectrograms, in the manner of CNN14 (Kong et al. 2020).

    ===============  =======================  =============================================================
    call             input                    output
    ===============  =======================  =============================================================
    ``forward(x)``   (B, 1, frames, mels)     (B, dim): maximum plus mean over time
    ``frames(x)``    (B, 1, frames, mels)     (B, steps, dim), in order of time; steps = frames // 2 ** depth
    ===============  =======================  =============================================================

    Each mel band is normalised by BatchNorm; then one block a width: two 3 x 3 convolutions with BatchNorm
    and ReLU, and an average pooling by 2 in both directions. Frequency is averaged at the end.

    Args:
        mels: bands of the input, at least ``2 ** len(widths)``. widths: channels of the blocks.
        check_finite: refuse NaN and infinity in the input.

    Attributes:
        dim: width of the embedding, the last of ``widths``.

    >>> net = AudioCNN(mels=16, widths=(4, 8))
    >>> net(torch.zeros(2, 1, 50, 16)).shape, net.frames(torch.zeros(2, 1, 50, 16)).shape
    (torch.Size([2, 8]), torch.Size([2, 12, 8]))
    """

    input_key = "blocks.0.0.weight"
    channels = 1

    def __init__(
        self, *, mels: int = 64, widths: Sequence[int] = (64, 128, 256, 512), check_finite: bool = False
    ) -> None:
        super().__init__()
        if not widths or mels < 2 ** len(widths):
            raise ConfigError(
                "mels and widths",
                seen=(mels, list(widths)),
                expected="at least 2 ** len(widths) mels, one width",
            )
        self.mels, self.dim, self.check_finite = mels, widths[-1], check_finite
        self.shortest = 2 ** len(widths)
        self.norm = nn.BatchNorm1d(mels)
        blocks = []
        source = 1
        for width in widths:
            blocks.append(
                nn.Sequential(
                    nn.Conv2d(source, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(width, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.AvgPool2d(2),
                )
            )
            source = width
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def frames(self, x: torch.Tensor) -> torch.Tensor:
        """Features in order of time, averaged over frequency: (B, steps, dim)."""
        check_input(
            x, what="spectrograms", layout="(B, 1, frames, mels)", channels=1, finite=self.check_finite
        )
        if x.shape[3] != self.mels or x.shape[2] < self.shortest:
            raise DataError(
                "spectrograms",
                seen=tuple(x.shape),
                expected=f"{self.mels} mels and at least {self.shortest} frames",
            )
        x = self.norm(x[:, 0].transpose(1, 2)).transpose(1, 2).unsqueeze(1)
        out: torch.Tensor = self.blocks(x).mean(dim=3).transpose(1, 2)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The embedding, (B, dim)."""
        frames = self.frames(x)
        return frames.amax(dim=1) + frames.mean(dim=1)
