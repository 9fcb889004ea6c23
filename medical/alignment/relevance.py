"""What a score looked at: patches of the film, moments and leads of the ECG, words of the report."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.encoders.transformer import recorded_attention
from core.errors import DataError
from medical.alignment.scores import unit
from medical.alignment.space import Space


def film_relevance(space: Space, film: np.ndarray, against: np.ndarray) -> np.ndarray:
    """(h, w) relevance of the film's patches, in 0..1, for its similarity with a vector of the space.

    Attention relevance (Chefer et al. 2021, "Generic attention-model explainability"): R = 1; for each block
    R += mean over heads of relu(dA * A) R; the row of the CLS token, or the mean over patches where these make the
    embedding.

    Args:
        film: (S, S) uint8, prepared. against: (dim,) what `Space.towards` makes of a phrase or another modality.
    """
    towers = space.towers.eval()
    values = torch.from_numpy(np.array(film))[None]
    row = _attention_rows(towers.xray, lambda: towers.encode_films(values), against, towers.architecture.pool)
    side = towers.architecture.image_size // towers.architecture.patch
    return _unit_range(row.reshape(side, side))


def signal_relevance(space: Space, signal: np.ndarray, against: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) relevance of the ECG's tokens in 0..1, and (n,) the seconds of their middles; see `film_relevance`."""
    towers = space.towers.eval()
    values = torch.from_numpy(np.array(signal))[None]
    row = _attention_rows(towers.ecg, lambda: towers.encode_signals(values), against, "cls")
    return _unit_range(row), towers.ecg.centres().numpy() / space.preprocessing.fs


def lead_relevance(space: Space, signal: np.ndarray, against: np.ndarray) -> np.ndarray:
    """(12,) how much the similarity falls when a lead is silenced, in units of the similarity."""
    silenced = np.repeat(signal[None], 13, axis=0)
    for lead in range(12):
        silenced[lead + 1, lead] = 0
    cosines = space.embed_signals(silenced) @ against
    return np.asarray(cosines[0] - cosines[1:])


def word_relevance(space: Space, text: str, against: np.ndarray) -> list[tuple[str, float]]:
    """(word, relevance) in the order of the text: how much the similarity falls without the word."""
    words = space.tokenizer.words(text)
    if not words:
        raise DataError("text", seen=text, expected="words")
    ids, mask = space.tokenizer([text])
    shown = np.repeat(mask, len(words) + 1, axis=0)
    for number, (_, places) in enumerate(words, start=1):
        shown[number, places] = False
    with torch.inference_mode():
        space.towers.eval()
        tokens = torch.from_numpy(np.repeat(ids, len(shown), axis=0))
        rows = unit(space.towers.encode_texts(tokens, torch.from_numpy(shown)).numpy())
    cosines = rows @ against
    return [(word, float(cosines[0] - cosine)) for (word, _), cosine in zip(words, cosines[1:], strict=True)]


def _attention_rows(encoder: torch.nn.Module, forward, against: np.ndarray, pool: str) -> np.ndarray:  # type: ignore[no-untyped-def]
    """(n,) relevance of the patches of one item."""
    target = torch.from_numpy(np.asarray(against, dtype=np.float32))
    with torch.enable_grad(), recorded_attention(encoder) as layers:
        similarity = torch.nn.functional.cosine_similarity(forward(), target[None]).sum()
        maps: list[Tensor] = [layer.recorded for layer in layers]  # type: ignore[misc]
        slopes = torch.autograd.grad(similarity, maps)
        tokens = maps[0].shape[-1]
        total = torch.eye(tokens)
        for attention, slope in zip(maps, slopes, strict=True):
            total = total + (attention * slope).clamp_min(0).mean(1)[0].detach() @ total
    total = total - torch.eye(tokens)
    row = total[0, 1:] if pool == "cls" else total[1:, 1:].mean(0)
    return row.numpy()


def _unit_range(values: np.ndarray) -> np.ndarray:
    largest = float(values.max())
    return values / largest if largest > 0 else np.zeros_like(values)
