"""A trained space: films, ECGs and texts in, unit vectors out, one call a modality."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import DataError
from medical.alignment.findings import FindingHead
from medical.alignment.model.towers import Towers
from medical.alignment.objective import Alignment
from medical.alignment.preprocess import Preprocessing
from medical.alignment.scores import Rows, likeness, score, towards, unit
from medical.alignment.tokens import ReportTokenizer

BATCH = 64


class Space:
    """Towers, tokenizer and preprocessing as one thing.

    Attributes:
        towers, alignment: the networks, and the objective with its learned scale.
        tokenizer, preprocessing: what stands before them.
        head: probabilities of findings from any subset of modalities; None before it is fitted.
        prompts: the finding prompts the model was evaluated with.
        calibration: finding -> (mean, standard deviation) of its zero-shot score on validation items.
        facts: plain values to keep beside the weights.
    """

    def __init__(
        self,
        towers: Towers,
        alignment: Alignment,
        tokenizer: ReportTokenizer,
        preprocessing: Preprocessing,
        *,
        head: FindingHead | None = None,
        prompts: dict[str, Any] | None = None,
        calibration: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
        digest: str = "",
    ) -> None:
        self.towers, self.alignment, self.tokenizer, self.preprocessing = (
            towers,
            alignment,
            tokenizer,
            preprocessing,
        )
        self.head, self.prompts, self.calibration = head, prompts or {}, calibration or {}
        self.facts, self.digest = facts or {}, digest

    @property
    def method(self) -> str:
        """The objective that it was trained with, which says how to compare its vectors."""
        return self.alignment.method

    @property
    def missing(self) -> np.ndarray | None:
        """Unit embeddings of absence (3, dim), of a Symile space."""
        rows = self.alignment.missing
        return None if rows is None else unit(rows.detach().cpu().numpy())

    @property
    def signs(self) -> np.ndarray | None:
        """Which way modalities of one item point (3, 3), of a GRAM space; see `medical.alignment.scores.pair_signs`."""
        signs = self.alignment.signs
        return None if signs is None else signs.cpu().numpy()

    @property
    def dim(self) -> int:
        """Width of the space."""
        return self.towers.architecture.dim

    def score(self, query: Rows, target: str, candidates: np.ndarray) -> np.ndarray:
        """(N, C) fit of candidates of one modality to queries of others; see `medical.alignment.scores.score`."""
        return score(self.method, query, target, candidates, missing=self.missing, signs=self.signs)

    def likeness(self, query: Rows, cases: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(N, C) likeness to whole cases; see `medical.alignment.scores.likeness`."""
        return likeness(self.method, query, cases, present, missing=self.missing, signs=self.signs)

    def towards(self, name: str, other: str, vector: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """(d,) whose product with embeddings of ``name`` is explained; see `medical.alignment.scores.towards`."""
        return towards(self.method, name, other, vector, own=own, missing=self.missing, signs=self.signs)

    def embed_films(self, films: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """(n, dim) unit rows of films as `Preprocessing.film` makes them, (S, S) uint8."""
        return self._embed(films, lambda part: self.towers.encode_films(_tensor(part)))

    def embed_signals(self, signals: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """(n, dim) unit rows of ECGs as `Preprocessing.signal` makes them, (12, T) float32."""
        return self._embed(signals, lambda part: self.towers.encode_signals(_tensor(part)))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) unit rows. Raises DataError for an empty text."""

        def encode(part: Sequence[str]) -> Tensor:
            ids, mask = self.tokenizer(part)
            return self.towers.encode_texts(_tensor(ids), _tensor(mask))

        if not len(texts):
            return np.zeros((0, self.dim), np.float32)
        order = np.argsort(
            [len(text) for text in texts], kind="stable"
        )  # like lengths together: less padding
        found = self._embed([texts[place] for place in order], encode)
        return found[np.argsort(order)]

    def patches(self, films: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """(n, h, w, dim) of the patches of prepared films, as the towers give them: not of unit length."""
        self.towers.eval()
        with torch.inference_mode():
            parts = [
                self.towers.patches(_tensor(films[start : start + BATCH]))
                for start in range(0, len(films), BATCH)
            ]
            return torch.cat(parts).float().numpy()

    def shares(self, film: np.ndarray) -> np.ndarray:
        """(h, w, dim) what each patch adds to the film's embedding beyond the average film's patch in its place.

        Their mean times a vector is the cosine of film and vector, less what the average film has of it.
        """
        (found,) = self.patches([film])
        length = float(np.linalg.norm(found.mean(axis=(0, 1))))
        return np.asarray((found - self.towers.background.numpy()) / max(length, 1e-12))

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Write its folder; returns the SHA-256 of the weights."""
        from medical.alignment.model.folder import save_space

        return save_space(self, folder)

    def modules(self) -> nn.ModuleDict:
        """Everything with weights, under the names that the weight file uses."""
        parts: dict[str, nn.Module] = {"towers": self.towers, "alignment": self.alignment}
        if self.head is not None:
            parts["head"] = self.head
        return nn.ModuleDict(parts)

    def _embed(self, values: Any, encode: Callable[[Any], Tensor]) -> np.ndarray:
        if not len(values):
            return np.zeros((0, self.dim), np.float32)
        self.towers.eval()
        with torch.inference_mode():
            parts = [encode(values[start : start + BATCH]) for start in range(0, len(values), BATCH)]
            rows = torch.nn.functional.normalize(torch.cat(parts).float(), dim=1)
        if not bool(torch.isfinite(rows).all()):
            raise DataError("embeddings hold NaN", remedy="the weights are damaged: train again")
        return rows.numpy()


def _tensor(values: Any) -> Tensor:
    # a copy where the array is part of a read-only file: torch knows no read-only tensors
    array = np.asarray(values)
    return torch.from_numpy(np.ascontiguousarray(array) if array.flags.writeable else array.copy())
