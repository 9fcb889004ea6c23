"""The data sets of the three trainings; items are drawn by step, captions and augmentation by the step's seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audio_language.compose import RELATIONS, Relation
from audio_language.data.clip import Clip, clause, meaning
from audio_language.data.store import AudioStore
from audio_language.features import composed, single
from audio_language.model.frontend import FrontEnd
from audio_language.model.tokenizer import CaptionTokenizer
from audio_language.prompts import CAPTIONS, COMBINED, CONNECTIVES, ORDER_PREFIX, SINGLE, pair_caption, words
from core.learning.determinism import derive_seed

# Global generators are reseeded by the loader for every step, in whatever process makes the batch.


def caption_of(clip: Clip) -> str:
    """One of the sentences about a clip, drawn: its captions, or its label in one of several wordings."""
    if clip.captions and (not clip.label or np.random.random() < 0.5):  # noqa: NPY002
        return clip.captions[np.random.randint(len(clip.captions))]  # noqa: NPY002
    return CAPTIONS[np.random.randint(len(CAPTIONS))].format(words(clip.label))  # noqa: NPY002


def name_of(clip: Clip) -> str:
    """What stands for the clip in a caption of several sounds; one of its captions where it has no label."""
    if clip.label:
        return words(clip.label)
    return clause(clip.captions[np.random.randint(len(clip.captions))])  # noqa: NPY002


def key(*parts: str) -> int:
    """A number for what a caption means, the same in every process."""
    return derive_seed(0, *parts)


def sense(clip: Clip) -> str:
    """What two clips share that may be called the same: the label, else the first caption's words."""
    return clip.label or meaning(clip.captions[0])


class SingleClips:
    """Clips with captions, for the base: spectrograms in ``mels``, ``ids``, ``mask``, ``senses``.

    Augmented, unless ``augment`` is False, by shifting in time (around the window) and by a change of level.

    Args:
        mels: (n, 1, frames, mels) spectrograms in dB, in the order of ``clips``.
    """

    def __init__(
        self, clips: Sequence[Clip], mels: Tensor, tokenizer: CaptionTokenizer, *, augment: bool = True
    ) -> None:
        self.clips, self.mels, self.tokenizer, self.augment = list(clips), mels, tokenizer, augment

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        mels = self.mels[torch.as_tensor(indices)]
        if self.augment:
            shifts = np.random.randint(0, mels.shape[2], len(mels))  # noqa: NPY002
            mels = torch.stack([torch.roll(one, int(shift), 1) for one, shift in zip(mels, shifts)])
            mels = mels + (12 * torch.rand(len(mels), 1, 1, 1) - 9)  # -9 to +3 dB
        chosen = [self.clips[index] for index in indices]
        ids, mask = self.tokenizer([caption_of(clip) for clip in chosen])
        senses = torch.tensor([key(sense(clip)) for clip in chosen])
        return {"mels": mels, "ids": ids, "mask": mask, "senses": senses}


class Pairs:
    """Pairs of clips for both stages of post-training.

    ================  =================  =================================================================
    key               shape              meaning
    ================  =================  =================================================================
    sounds            (K, N, ...)        frames (steps, width), or spectrograms (1, frames, mels)
    ids, mask         (K N, L)           their captions, in that order
    meanings          (K, N) int64       equal where captions mean the same
    ================  =================  =================================================================

    Stage ``single`` (A) has K = 2 kinds of sounds: one clip of each pair alone ("Single sound of a"), and both
    at the same time ("Combined sound of a and b"). Stage ``order`` (B) has K = 4: before, reversed, while,
    and one clip alone in any wording.

    Args:
        store: the clips. pairs: (a, b) indices.
        tokenizer: of the captions.
        paraphrase: share of order captions worded with a connective drawn from `CONNECTIVES`; the rest say
            "before".
        stage: see above.
        cached: (3, P, steps, width) frames of the pairs, {index: row}, and (n, steps, width) frames of single
            clips, where the tower is frozen; else spectrograms are computed by ``front``.
    """

    def __init__(
        self,
        store: AudioStore,
        pairs: Sequence[tuple[int, int]],
        tokenizer: CaptionTokenizer,
        front: FrontEnd,
        *,
        stage: str,
        paraphrase: float = 0.5,
        cached: tuple[Tensor, dict[int, int], Tensor] | None = None,
    ) -> None:
        self.store, self.pairs, self.tokenizer, self.front = store, list(pairs), tokenizer, front
        self.stage, self.paraphrase, self.cached = stage, paraphrase, cached

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        pairs = [self.pairs[index] for index in indices]
        sides = np.random.randint(0, 2, len(pairs))  # noqa: NPY002
        chosen = [pair[side] for pair, side in zip(pairs, sides)]
        alone = [self.store.clips[index] for index in chosen]
        clips = [(self.store.clips[a], self.store.clips[b]) for a, b in pairs]
        senses = [key(sense(clip)) for clip in alone]
        if self.stage == "single":
            texts = [SINGLE.format(name_of(clip)) for clip in alone]
            texts += [COMBINED.format(name_of(a), name_of(b)) for a, b in clips]
            meanings = senses + [_order_key("while", sense(a), sense(b)) for a, b in clips]
            sounds = torch.stack([self._single(chosen), self._views(indices, pairs, ("while",))[0]])
        else:
            texts, meanings = [], []
            for relation in RELATIONS:
                for a, b in clips:
                    caption = pair_caption(name_of(a), name_of(b), relation, self._connective())
                    texts.append(caption if np.random.random() < 0.5 else ORDER_PREFIX + caption)  # noqa: NPY002
                    meanings.append(_order_key(relation, sense(a), sense(b)))
            texts += [caption_of(clip) for clip in alone]
            meanings += senses
            sounds = torch.cat([self._views(indices, pairs, RELATIONS), self._single(chosen)[None]])
        ids, mask = self.tokenizer(texts)
        kinds = torch.tensor(meanings).reshape(len(sounds), len(pairs))
        return {"sounds": sounds, "ids": ids, "mask": mask, "meanings": kinds}

    def _connective(self) -> str:
        if np.random.random() >= self.paraphrase:  # noqa: NPY002
            return "before"
        return list(CONNECTIVES)[np.random.randint(len(CONNECTIVES))]  # noqa: NPY002

    def _views(
        self, indices: Sequence[int], pairs: Sequence[tuple[int, int]], relations: Sequence[Relation]
    ) -> Tensor:
        if self.cached is not None:
            kept = self.cached[0][:, torch.as_tensor(indices)]
            return kept[[RELATIONS.index(relation) for relation in relations]]
        samples = self.front.settings.samples
        waves = [composed(self.store, pair, relation, samples) for relation in relations for pair in pairs]
        return self.front(waves).unflatten(0, (len(relations), len(pairs)))

    def _single(self, chosen: Sequence[int]) -> Tensor:
        if self.cached is not None:
            _, rows, kept = self.cached
            return kept[torch.tensor([rows[index] for index in chosen])]
        return self.front([single(self.store, index, self.front.settings.samples) for index in chosen])


def _order_key(relation: str, a: str, b: str) -> int:
    if relation == "while":
        return key("while", *sorted((a, b)))
    return key("before", a, b) if relation == "before" else key("before", b, a)
