"""ZSTE 1 to 5, order accuracy and retrieval of a model on test items, each with n, chance and an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from typing import Any

import numpy as np
import torch

from audio_language.compose import RELATIONS
from audio_language.embed import SoundModel
from audio_language.features import pair_frames, single_frames
from audio_language.prompts import CONNECTIVES, pair_caption, tag_prompts
from audio_language.scores import caption_retrieval, group_scores, slots_strict, top1, top2_set
from audio_language.tasks import TestItems, half_and_half, mixed_candidates, order_candidates, slot_prompts
from core.evaluation.bootstrap import bootstrap_interval
from core.learning.determinism import generator

ORDER = "order_text"
"""The number that post-training is for: swapped captions told apart by both clips of a pair."""


@dataclass(frozen=True)
class Score:
    """One number: its value, the values behind it, and what chance gives.

    Attributes:
        label: in words. values: one an item, in 0..1. groups: source recording of each item, or those of the
            two clips of each. chance: None where it is not known.
    """

    label: str
    values: np.ndarray
    groups: Sequence[Any]
    chance: float | None = None

    @property
    def value(self) -> float:
        """Mean over the items."""
        return float(np.mean(self.values))

    def interval(self, samples: int, seed: int = 0) -> tuple[float, float]:
        """95 % bootstrap over source recordings; an item of two counts as often as both were drawn."""
        if len(self.groups) and isinstance(self.groups[0], tuple):
            return pair_bootstrap(self.values, self.groups, samples=samples, seed=seed)
        return bootstrap_interval(self.values, self.groups, samples=samples, seed=seed)


@dataclass(frozen=True)
class Embedded:
    """Unit embeddings of the test items: single (S, d), pairs (3, M, d) in the order of `RELATIONS`."""

    single: np.ndarray
    pairs: np.ndarray
    texts: dict[str, np.ndarray] = field(default_factory=dict)


@torch.no_grad()
def embed_items(
    model: SoundModel, items: TestItems, frames: tuple[torch.Tensor, torch.Tensor] | None = None
) -> Embedded:
    """Embed the single and the composed clips; ``frames`` from `item_frames` saves the towers' work."""
    single, pairs = item_frames(model, items) if frames is None else frames
    rows = model.net.embed_frames(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])
    return Embedded(model.net.embed_frames(single).numpy(), rows.numpy())


def item_frames(model: SoundModel, items: TestItems) -> tuple[torch.Tensor, torch.Tensor]:
    """What the audio tower makes of the items: the same for all models that share a frozen tower."""
    model.net.eval()
    return (
        single_frames(model.net, model.front, items.store, items.single),
        pair_frames(model.net, model.front, items.store, items.pairs),
    )


def evaluate(
    model: SoundModel, items: TestItems, *, seed: int = 0, embedded: Embedded | None = None
) -> dict[str, Score]:
    """Every task that the items allow: those of classes need labels.

    Returns:
        name -> `Score`. ``zste1`` single clips among all classes; ``zste2_before``, ``_reversed``,
        ``_while`` both classes of a composed clip are the two best; ``zste3`` which of "a before b", "b before
        a", "a while b"; ``zste4`` the same among up to 50 captions; ``zste5`` first and second sound;
        ``order_text``, ``order_audio``, ``order_group`` swapped captions and clips told apart;
        ``order_then`` and the like, other wordings; ``retrieval_*`` between single clips and captions.
    """
    found = embedded or embed_items(model, items)
    scores: dict[str, Score] = {}
    if items.labels:
        scores |= _tagging(model, items, found)
    scores |= _order(model, items, found, seed)
    if items.labels:
        scores |= _mixed(model, items, found, seed)
    scores |= _retrieval(model, items, found)
    return scores


def _tagging(model: SoundModel, items: TestItems, found: Embedded) -> dict[str, Score]:
    classes = len(items.labels)
    prompts = model.embed_texts(tag_prompts(items.labels))
    single = Score(
        "ZSTE1: class of a single clip", top1(found.single @ prompts.T, items.single_targets),
        items.single_groups, 1 / classes,
    )  # fmt: skip
    scores = {"zste1": single}
    for relation, rows in zip(RELATIONS, found.pairs):
        scores[f"zste2_{relation}"] = Score(
            f"ZSTE2: both classes of a composed clip ({relation})", top2_set(rows @ prompts.T, items.pair_targets),
            items.pair_groups, 1 / comb(classes, 2),
        )  # fmt: skip
    return scores


def _order(model: SoundModel, items: TestItems, found: Embedded, seed: int) -> dict[str, Score]:
    groups, count = items.pair_groups, len(items.pairs)
    candidates = _embed_lists(model, [order_candidates(*names) for names in items.names])
    played = half_and_half(count, seed)
    clips = found.pairs[played, np.arange(count)]
    scores = {
        "zste3": Score(
            "ZSTE3: before, reversed or while",
            top1(np.einsum("md,mcd->mc", clips, candidates), played),
            groups,
            1 / 3,
        )
    }
    for connective in CONNECTIVES:
        texts = _embed_lists(
            model,
            [
                [pair_caption(*names, relation, connective) for relation in RELATIONS[:2]]
                for names in items.names
            ],
        )
        parts = group_scores(np.einsum("kmd,mcd->mkc", found.pairs[:2], texts))
        if connective == "before":
            scores[ORDER] = Score("order accuracy, text side", parts["order"], groups, 0.5)
            scores["order_audio"] = Score("order accuracy, audio side", parts["order_audio"], groups, 0.5)
            scores["order_group"] = Score("order, all four comparisons", parts["group"], groups, 1 / 6)
        else:
            name = connective.replace(" ", "_")
            scores[f"order_{name}"] = Score(f'order accuracy, "{connective}"', parts["order"], groups, 0.5)
    return scores


def _mixed(model: SoundModel, items: TestItems, found: Embedded, seed: int) -> dict[str, Score]:
    groups, before = items.pair_groups, found.pairs[0]
    rng = generator(seed, "zste4")
    lists = [mixed_candidates(*names, items.labels, rng) for names in items.names]
    shortest = min(map(len, lists))
    captions = _embed_lists(model, [one[:shortest] for one in lists])
    similarity = np.einsum("md,mcd->mc", before, captions)
    slots = before @ model.embed_texts(slot_prompts(items.labels)).T
    classes = len(items.labels)
    wanted = items.pair_targets + np.array([0, classes])
    return {
        "zste4": Score(
            f"ZSTE4: the right one of {shortest} captions of two sounds", top1(similarity, np.zeros(len(lists), int)),
            groups, 1 / shortest,
        ),
        "zste5": Score("ZSTE5: first and second sound", top2_set(slots, wanted), groups, 1 / comb(2 * classes, 2)),
        "zste5_strict": Score(
            "ZSTE5, best of each slot", slots_strict(slots, items.pair_targets), groups, 1 / classes**2
        ),
    }  # fmt: skip


def _retrieval(model: SoundModel, items: TestItems, found: Embedded) -> dict[str, Score]:
    """Composed clips (before and reversed) and their captions; and single clips, where they have captions."""
    texts = [pair_caption(*names, relation) for relation in RELATIONS[:2] for names in items.names]
    unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    # one clip a caption: several pairs of the same classes would all be right
    chosen = [texts.index(text) for text in unique]
    rows = found.pairs[:2].reshape(-1, found.pairs.shape[-1])[chosen]
    similarity = rows @ model.embed_texts(list(unique)).T
    groups = [(items.pair_groups * 2)[index] for index in chosen]
    scores = _retrieval_scores("composed", similarity, list(range(len(chosen))), groups, groups)
    clips = [items.store.clips[index] for index in items.single]
    kept = [row for row, clip in enumerate(clips) if clip.captions]
    if len(kept) > 1:
        captions = [(place, text) for place, row in enumerate(kept) for text in clips[row].captions]
        similarity = found.single[kept] @ model.embed_texts([text for _, text in captions]).T
        owner = [place for place, _ in captions]
        sources = [clips[row].group for row in kept]
        scores |= _retrieval_scores(
            "captions", similarity, owner, sources, [sources[place] for place in owner]
        )
    return scores


def _retrieval_scores(
    name: str,
    similarity: np.ndarray,
    owner: Sequence[int],
    clip_groups: Sequence[Any],
    text_groups: Sequence[Any],
) -> dict[str, Score]:
    found = caption_retrieval(similarity, owner)
    ways = {"t2a": ("text to sound", text_groups), "a2t": ("sound to text", clip_groups)}
    scores = {}
    for key, values in found.items():
        way, measure = key.split("_", 1)
        words, groups = ways[way]
        shown = measure.replace("r@", "R@").replace("map@", "mAP@")
        scores[f"retrieval_{name}_{key}"] = Score(f"{name}: {words}, {shown}", values, groups)
    return scores


def pair_bootstrap(
    values: np.ndarray,
    groups: Sequence[tuple[Any, Any]],
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean of items that each involve two source recordings.

    Sources are drawn with replacement; an item counts as often as its first was drawn times its second.

    >>> low, high = pair_bootstrap(np.array([1.0, 1.0, 1.0]), [("a", "b"), ("b", "c"), ("a", "c")])
    >>> low, high
    (1.0, 1.0)
    """
    names = {name: index for index, name in enumerate(sorted({str(g) for pair in groups for g in pair}))}
    first, second = (np.array([names[str(pair[side])] for pair in groups]) for side in (0, 1))
    numbers = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(samples):
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        weight = drawn[first] * drawn[second]
        if weight.sum():
            means.append(float((weight * numbers).sum() / weight.sum()))
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail]) if means else (numbers.mean(), numbers.mean())
    return float(low), float(high)


def as_metrics(
    scores: Mapping[str, Score],
    *,
    prefix: str = "",
    suffix: str = "",
    bootstrap: int = 1000,
    baseline: bool = False,
) -> dict[str, dict[str, Any]]:
    """Scores as `core.tracking.result.Metric` fields."""
    metrics = {}
    for name, score in scores.items():
        low, high = score.interval(bootstrap)
        metrics[f"{prefix}{name}"] = {
            "label": score.label + suffix, "value": score.value, "low": low, "high": high,
            "n": len(score.values), "baseline": baseline,
        }  # fmt: skip
    return metrics


def _embed_lists(model: SoundModel, lists: Sequence[Sequence[str]]) -> np.ndarray:
    """(M, C, d) of M lists of C captions; each different caption is embedded once."""
    unique = {text: row for row, text in enumerate(dict.fromkeys(text for one in lists for text in one))}
    rows = model.embed_texts(list(unique))
    return rows[np.array([[unique[text] for text in one] for one in lists])]  # type: ignore[no-any-return]
