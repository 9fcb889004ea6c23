"""Scores of the temporal zero-shot tasks and of retrieval, from similarities alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import DataError
from core.evaluation.retrieval import ranks


def top1(similarity: Any, target: Any) -> np.ndarray:
    """(M,) whether the best of (M, C) similarities is the target's; a tie counts as wrong.

    ZSTE1 (classes), ZSTE3 (three captions), ZSTE4 (captions with distractors).

    >>> top1([[0.9, 0.1], [0.3, 0.3]], [0, 0]).tolist()
    [True, False]
    """
    return ranks(similarity, target, ties="pessimistic") <= 1


def top2_set(similarity: Any, pairs: Any) -> np.ndarray:
    """(M,) whether the two best of (M, C) similarities are the two of ``pairs`` (M, 2), in any order.

    ZSTE2; and ZSTE5 over 2 C slot prompts, with pairs (a, C + b). Ties with a third count as wrong.

    >>> top2_set([[0.9, 0.1, 0.8], [0.9, 0.8, 0.1]], [[2, 0], [2, 0]]).tolist()
    [True, False]
    """
    scores, wanted = _scores(similarity, 2), np.asarray(pairs, dtype=np.int64)
    if wanted.shape != (len(scores), 2) or bool((wanted[:, 0] == wanted[:, 1]).any()):
        raise DataError("top-2 pairs", seen=wanted.shape, expected="(M, 2), two different columns a row")
    own = np.take_along_axis(scores, wanted, axis=1).min(axis=1)
    rest = scores.copy()
    np.put_along_axis(rest, wanted, -np.inf, axis=1)
    return own > rest.max(axis=1)


def slots_strict(similarity: Any, pairs: Any) -> np.ndarray:
    """(M,) whether the best "first sound is c" is a and the best "second sound is c" is b.

    Args:
        similarity: (M, 2 C), columns "first" for every class, then "second" for every class.
        pairs: (M, 2) classes a, b.

    >>> slots_strict([[0.9, 0.1, 0.2, 0.8]], [[0, 1]]).tolist()
    [True]
    """
    scores, wanted = _scores(similarity, 2), np.asarray(pairs, dtype=np.int64)
    if scores.shape[1] % 2:
        raise DataError("slot prompts", seen=scores.shape, expected="(M, 2 C) similarities")
    first, second = np.split(scores, 2, axis=1)
    return top1(first, wanted[:, 0]) & top1(second, wanted[:, 1])


def group_scores(similarity: Any) -> dict[str, np.ndarray]:
    """Order accuracy of captions and their swapped versions: one value an item.

    Args:
        similarity: (M, 2, 2), [item, clip, caption]; index 0 is the pair, 1 its reverse.

    Returns:
        ``text``: both clips prefer their own caption; ``audio``: both captions prefer their own clip;
        ``group``: both of these (bool); ``order``: the mean of the two comparisons on the text side (0,
        0.5, 1), ``order_audio`` on the audio side. Only a strictly higher similarity counts.

    Source: CompA (Ghosh et al., ICLR 2024); ``order`` is the accuracy of "Test of Time" (CVPR 2023).

    >>> {name: value.tolist() for name, value in group_scores([[[0.9, 0.1], [0.2, 0.3]]]).items()}
    {'text': [True], 'audio': [True], 'group': [True], 'order': [1.0], 'order_audio': [1.0]}
    """
    s = _scores(similarity, 3)
    if s.shape[1:] != (2, 2):
        raise DataError("group score: similarities", seen=s.shape, expected="(M, 2 clips, 2 captions)")
    own_text = np.stack([s[:, 0, 0] > s[:, 0, 1], s[:, 1, 1] > s[:, 1, 0]])
    own_clip = np.stack([s[:, 0, 0] > s[:, 1, 0], s[:, 1, 1] > s[:, 0, 1]])
    text, audio = own_text.all(axis=0), own_clip.all(axis=0)
    return {
        "text": text,
        "audio": audio,
        "group": text & audio,
        "order": own_text.mean(axis=0),
        "order_audio": own_clip.mean(axis=0),
    }


def caption_retrieval(
    similarity: Any, clip_of_caption: Any, *, cutoffs: tuple[int, ...] = (1, 5, 10), depth: int = 10
) -> dict[str, np.ndarray]:
    """Retrieval both ways between clips and their captions (several each): one value a query.

    Args:
        similarity: (clips, captions).
        clip_of_caption: (captions,) index of the clip that each caption describes.
        cutoffs: k of R@k. depth: of mAP.

    Returns:
        ``t2a_r@k`` and ``t2a_map@10`` over captions (rank of the clip); ``a2t_r@k`` over clips by the best
        of their captions, and ``a2t_map@10``, the average precision over own captions within the first 10.

    The protocol of AudioCaps and Clotho. Ties count half a place each.

    >>> found = caption_retrieval([[0.9, 0.8, 0.1], [0.2, 0.1, 0.7]], [0, 0, 1])
    >>> found["t2a_r@1"].tolist(), found["a2t_map@10"].tolist()
    ([1.0, 1.0, 1.0], [1.0, 1.0])
    """
    scores, owner = _scores(similarity, 2), np.asarray(clip_of_caption, dtype=np.int64)
    if owner.shape != (scores.shape[1],) or set(owner.tolist()) != set(range(len(scores))):
        raise DataError(
            "clips of the captions", seen=owner.shape, expected="one index a caption, and a caption a clip"
        )
    t2a = ranks(scores.T, owner)
    found = {f"t2a_r@{k}": (t2a <= k).astype(float) for k in cutoffs}
    found[f"t2a_map@{depth}"] = np.where(t2a <= depth, 1 / t2a, 0.0)
    own = []
    for clip, row in enumerate(scores):
        mine = np.flatnonzero(owner == clip)
        own.append(np.sort(ranks(np.broadcast_to(row, (len(mine), len(row))), mine)))
    best = np.array([r[0] for r in own])
    found |= {f"a2t_r@{k}": (best <= k).astype(float) for k in cutoffs}
    found[f"a2t_map@{depth}"] = np.array(
        [(np.arange(1, len(r) + 1) / r)[r <= depth].sum() / len(r) for r in own]
    )
    return found


def _scores(similarity: Any, rank: int) -> np.ndarray:
    scores = np.asarray(similarity, dtype=np.float64)
    if scores.ndim != rank or np.isnan(scores).any():
        raise DataError("similarities", seen=scores.shape, expected=f"{rank} axes, no NaN")
    return scores
