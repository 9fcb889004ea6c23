"""Where token vectors and weights start: a sentence encoder asked for each token, and counts of the pairs."""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from code_search.tokenize import CodeTokenizer
from code_search.tokenize.bpe import INSIDE

_BATCH = 256
_LONGEST = 16


def distilled_vectors(
    tokenizer: CodeTokenizer, teacher: str | os.PathLike[str], dim: int, *, precision: str = "bf16"
) -> Tensor:
    """(V, dim) unit rows: a sentence encoder's vector of each token alone, centred, in main directions.

    Args:
        teacher: a sentence-transformers folder, or ``minilm``.
        dim: at most the teacher's width; fewer are the leading principal components.
        precision: ``bf16`` or ``32``.

    Source: the distillation of Model2Vec (Tulkens & van Dongen, 2024), with weights learned later on instead
    of Zipf's law.
    """
    from core.encoders.text import PretrainedText, model_home
    from core.errors import ConfigError

    model = PretrainedText(teacher).eval()
    if not 1 <= dim <= model.dim:
        raise ConfigError("model.dim", seen=dim, expected=f"1 to {model.dim}, the teacher's width")
    reader, _ = CodeTokenizer.pretrained(model_home(teacher), [])
    words = [tokenizer.backend.id_to_token(number) or "" for number in range(tokenizer.size)]
    rows = [tuple(row) for row in reader.text_ids([_spelling(word) for word in words], _LONGEST)]
    # Many tokens read alike ("file" and "##file"): the teacher is asked once for all of them.
    distinct = sorted(dict.fromkeys(rows), key=len)
    asked = torch.zeros(len(distinct), model.dim)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        for start in range(0, len(distinct), _BATCH):
            tokens = reader.pad(distinct[start : start + _BATCH])
            found = model(torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask))
            asked[start : start + len(found)] = found.float()
    place = {row: number for number, row in enumerate(distinct)}
    vectors = asked[[place[row] for row in rows]]
    vectors -= vectors.mean(0)
    vectors = F.normalize(vectors)
    if dim < model.dim:
        _, directions = torch.linalg.eigh(vectors.T @ vectors)
        vectors = F.normalize(vectors @ directions.flip(1)[:, :dim])
    return vectors


def log_idf(flat: np.ndarray, ends: np.ndarray, size: int) -> Tensor:
    """(size,) log of ln(1 + (N + .5) / (df + .5)) of every token over N ragged rows."""
    rows = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    distinct = np.unique(rows * size + flat)
    frequency = np.bincount(distinct % size, minlength=size)
    return torch.from_numpy(np.log(np.log1p((len(ends) + 0.5) / (frequency + 0.5)))).float()


def _spelling(token: str) -> str:
    """What the teacher reads: pieces without their mark, type tokens by their name."""
    if token.startswith("<ty:"):
        return token[4:-1].replace("_", " ")
    return token.removeprefix(INSIDE)
