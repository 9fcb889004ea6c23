"""What the training reads: spectrograms of clips, and composed clips as deep as the frozen tower takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from audio_language.compose import RELATIONS, Relation, compose
from audio_language.data.store import AudioStore
from audio_language.model.clap import TemporalClap
from audio_language.model.frontend import FrontEnd

CHUNK = 32


def composed(store: AudioStore, pair: tuple[int, int], relation: Relation, samples: int) -> np.ndarray:
    """Two clips of the store put together so that the result fits a window of ``samples``.

    Each clip gives at most half a window, from its start: cutting the composed clip instead would lose the
    second sound, and with it the order.
    """
    half = samples // 2
    return compose(store[pair[0]][:half], store[pair[1]][:half], relation)


def single(store: AudioStore, index: int, samples: int) -> np.ndarray:
    """One clip, cut to the same half window, so that a single sound is no longer than one in a pair."""
    return store[index][: samples // 2]


def spectrograms(front: FrontEnd, waves: Iterable[np.ndarray]) -> Tensor:
    """(n, 1, frames, mels) of any number of waveforms, a few at a time."""
    return torch.cat([front(chunk) for chunk in _chunks(waves)])


@torch.no_grad()
def frames(model: TemporalClap, front: FrontEnd, waves: Iterable[np.ndarray]) -> Tensor:
    """(n, steps, width) frames of the audio tower; the model is used as it is, on its device."""
    device = next(model.parameters()).device
    return torch.cat([model.frames(front(chunk).to(device)).cpu() for chunk in _chunks(waves)])


def pair_frames(
    model: TemporalClap, front: FrontEnd, store: AudioStore, pairs: Sequence[tuple[int, int]]
) -> Tensor:
    """(3, pairs, steps, width) frames of every pair in every relation, in the order of `RELATIONS`."""
    samples = front.settings.samples
    waves = (composed(store, pair, relation, samples) for relation in RELATIONS for pair in pairs)
    return frames(model, front, waves).unflatten(0, (len(RELATIONS), len(pairs)))


def single_frames(model: TemporalClap, front: FrontEnd, store: AudioStore, indices: Sequence[int]) -> Tensor:
    """(n, steps, width) frames of single clips."""
    samples = front.settings.samples
    return frames(model, front, (single(store, index, samples) for index in indices))


def _chunks(waves: Iterable[np.ndarray]) -> Iterable[list[np.ndarray]]:
    chunk: list[np.ndarray] = []
    for wave in waves:
        chunk.append(wave)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
