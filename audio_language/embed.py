"""The trained model as scientists use it: sounds and sentences in, unit vectors out, the same every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audio_language.audio_file import resample, stream, windows
from audio_language.features import CHUNK
from audio_language.model.clap import TemporalClap
from audio_language.model.frontend import FrontEnd
from audio_language.model.tokenizer import CaptionTokenizer
from audio_language.prompts import TAG, tag_prompts
from core.errors import DataError


class SoundModel:
    """A `TemporalClap` with its front end, its tokenizer and the labels it knows.

    Args:
        net: the towers. front: the front end. tokenizer: of captions.
        labels: classes that `tag` offers by default. prompt: their wording.
        digest: SHA-256 of the weights.

    Attributes:
        rate: Hz that `embed_waves` expects. dim: width of the vectors.
    """

    def __init__(
        self,
        net: TemporalClap,
        front: FrontEnd,
        tokenizer: CaptionTokenizer,
        *,
        labels: Sequence[str] = (),
        prompt: str = TAG,
        digest: str = "",
    ) -> None:
        front.check_fits(net.max_frames, net.mels)
        self.net, self.front, self.tokenizer = net.eval(), front, tokenizer
        self.labels, self.prompt, self.digest = list(labels), prompt, digest

    @property
    def rate(self) -> int:
        """Samples a second of the front end."""
        return self.front.settings.sample_rate

    @property
    def seconds(self) -> float:
        """Length of the model's window."""
        return self.front.settings.seconds

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.net.dim

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) unit float32 rows of sentences."""
        if not texts or any(not text.strip() for text in texts):
            raise DataError("texts to embed", seen=list(texts)[:3], expected="at least one, none blank")
        rows = [
            self.net.text(*self.tokenizer(texts[start : start + 256])) for start in range(0, len(texts), 256)
        ]
        return torch.cat(rows).numpy()

    @torch.no_grad()
    def embed_waves(self, waves: Iterable[np.ndarray]) -> np.ndarray:
        """(n, dim) unit float32 rows of mono waveforms at `rate`, each cut to the model's window.

        A row depends on its own waveform, its neighbours in a batch change it by rounding only.
        """
        rows, chunk = [], []
        for wave in waves:
            chunk.append(wave)
            if len(chunk) == CHUNK:
                rows.append(self.net.audio(self.front(chunk)))
                chunk = []
        if chunk:
            rows.append(self.net.audio(self.front(chunk)))
        if not rows:
            raise DataError("waveforms to embed", seen=0, expected="at least one")
        return torch.cat(rows).numpy()

    def embed_wave(self, wave: np.ndarray, rate: int) -> np.ndarray:
        """(dim,) of a mono waveform at any rate and of any length: the mean over its windows, made unit."""
        if wave.ndim != 1:
            raise DataError(
                "waveform", seen=wave.shape, expected="(samples,), one channel", remedy="average the channels"
            )
        if not len(wave) or not np.isfinite(wave).all():
            raise DataError("waveform", seen=f"{len(wave)} samples", expected="finite samples, at least one")
        ready = resample(wave.astype(np.float32), rate, self.rate)
        return self._average(self.windows(iter([ready])))

    def embed_file(self, path: str | Path) -> np.ndarray:
        """(dim,) of a file of any length, in bounded memory. Raises `audio_language.audio_file.AudioError`."""
        return self._average(self.windows(stream(path, self.rate)))

    def windows(
        self, blocks: Iterator[np.ndarray], *, window: float | None = None, hop: float | None = None
    ) -> Iterator[tuple[float, float, np.ndarray]]:
        """(start in s, end in s, samples) of windows: the model's length every half of it by default."""
        size = round((window or self.seconds) * self.rate)
        step = max(1, round((hop or size / self.rate / 2) * self.rate))
        for start, wave in windows(blocks, size, step, least=max(1, step // 2)):
            yield start / self.rate, (start + len(wave)) / self.rate, wave

    def tag_scores(
        self, rows: np.ndarray, labels: Sequence[str] | None = None, prompt: str | None = None
    ) -> np.ndarray:
        """(n, labels) cosine of embeddings with the prompts of the labels."""
        chosen = list(labels or self.labels)
        if not chosen:
            raise DataError(
                "labels", seen=0, expected="at least one", remedy="give labels; the model has none"
            )
        return rows @ self.embed_texts(tag_prompts(chosen, prompt or self.prompt)).T  # type: ignore[no-any-return]

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Softmax of cosines at the model's own scale, over the last axis."""
        logits = scores * float(self.net.scale().detach())
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]

    def _average(self, found: Iterator[tuple[float, float, np.ndarray]]) -> np.ndarray:
        total = np.zeros(self.dim, np.float64)
        chunk: list[np.ndarray] = []
        for _, _, wave in found:
            chunk.append(wave)
            if len(chunk) == CHUNK:
                total += self.embed_waves(chunk).sum(axis=0, dtype=np.float64)
                chunk = []
        if chunk:
            total += self.embed_waves(chunk).sum(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(total))
        return (total / max(length, 1e-12)).astype(np.float32)

    def save(self, folder: str | Path) -> str:
        """Write the model's folder; see `audio_language.model.folder`."""
        from audio_language.model.folder import save_model

        return save_model(self, folder)


def describe(model: SoundModel) -> dict[str, Any]:
    """Plain facts for a report."""
    return {
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "temporal_head": model.net.head is not None,
        "window_seconds": model.seconds,
        "sample_rate": model.rate,
        "dim": model.dim,
    }
