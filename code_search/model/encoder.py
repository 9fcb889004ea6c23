"""Vectors of queries and functions."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from code_search.data.functions import Function
from code_search.ranker import Ranker
from code_search.tokenize import CodeTokenizer

_BATCH_TOKENS = 8192


class CodeEncoder:
    """A trained encoder with its tokenizer.

    Args:
        module: (ids, mask) -> (B, d).
        tokenizer: made its ids.
        code_length, text_length: tokens read of a function and of a query.
        digest: SHA-256 of the weights; "" before they are saved.
        ranker: what was learnt about ranking with this encoder; None if nothing was.
        precision: ``32``, or ``bf16`` (about twice as fast for a transformer on processors that have it).

    Attributes: the arguments, and ``dim``.
    """

    def __init__(
        self,
        module: nn.Module,
        tokenizer: CodeTokenizer,
        *,
        code_length: int,
        text_length: int,
        digest: str = "",
        ranker: Ranker | None = None,
        precision: str = "32",
    ) -> None:
        self.module, self.tokenizer = module, tokenizer
        self.code_length, self.text_length = code_length, text_length
        self.digest, self.ranker, self.precision = digest, ranker, precision
        self.dim = int(module.dim)  # type: ignore[arg-type]

    def encode_queries(self, queries: Sequence[str]) -> np.ndarray:
        """Unit rows float32 (n, dim) of natural-language queries."""
        return self._encode(self.tokenizer.text_ids(queries, self.text_length))

    def encode_functions(self, functions: Sequence[Function | str]) -> np.ndarray:
        """Unit rows float32 (n, dim) of functions (their ``code``) or of source texts."""
        codes = [item if isinstance(item, str) else item.code for item in functions]
        return self._encode(self.tokenizer.code_ids(codes, self.code_length))

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Write the folder that `load_encoder` reads; returns the digest of the weights."""
        from code_search.model.folder import save_encoder

        return save_encoder(self, folder)

    def _encode(self, rows: list[list[int]]) -> np.ndarray:
        vectors = np.zeros((len(rows), self.dim), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        training = self.module.training
        self.module.eval()
        start = 0
        with (
            torch.inference_mode(),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            while start < len(order):
                stop = self._stop(rows, order, start)
                part = order[start:stop]
                tokens = self.tokenizer.pad([rows[row] for row in part])
                found = self.module(torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask))
                vectors[part] = F.normalize(found.float(), dim=-1).numpy()
                start = stop
        self.module.train(training)
        return vectors

    def _stop(self, rows: list[list[int]], order: list[int], start: int) -> int:
        """End of the batch from ``start``: as many rows as stay within the token budget with padding."""
        low, high = start + 1, len(order)
        while low < high:
            middle = (low + high + 1) // 2
            if (middle - start) * max(1, len(rows[order[middle - 1]])) <= _BATCH_TOKENS:
                low = middle
            else:
                high = middle - 1
        return low
