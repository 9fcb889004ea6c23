"""What each part of CoCoSoDa is worth: the same training with one part left out, over several seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from code_search.data.functions import Function
from code_search.evaluate import Vectors, sample_tasks
from code_search.learn.train import pretrain
from code_search.model import CodeEncoder
from code_search.prepared import Prepared
from core.evaluation.retrieval import ranks, retrieval_metrics

FULL = "full CoCoSoDa"
ARMS: dict[str, dict[str, Any]] = {
    FULL: {},
    "no queue": {"queue_size": 0},
    "no soft augmentation": {"augment": False},
    "no intra-modal terms": {"intra": False},
    "in-batch InfoNCE": {"keys": False, "intra": False, "augment": False, "queue_size": 0},
}
"""What is changed in the settings of `code_search.learn.train.pretrain`, by arm."""
CLAIM = "Queues, soft augmentation and intra-modal terms each make code search better"


def ablation_arms(
    prepared: Prepared,
    start: Callable[[int], CodeEncoder],
    valid: Sequence[Function],
    test: Sequence[Function],
    *,
    queries: int,
    settings: Mapping[str, Any],
    **fitting: Any,
) -> dict[str, Callable[[int], dict[str, float]]]:
    """A function seed -> metrics for each arm, as `core.evaluation.evidence.run_evidence` calls them.

    The seed decides the order of the pairs, all random numbers of the training, and which test functions
    are drawn; it is the same in every arm. Metrics are the MRR of the dense ranking alone, names shown and
    hidden: nothing lexical helps out.

    Args:
        prepared: training pairs.
        start: seed -> encoder before training.
        valid, test: functions.
        queries: test functions drawn a seed.
        settings: of `pretrain`, shared by all arms.
        **fitting: of `core.learning.fit.fit`.
    """

    def measure(changes: Mapping[str, Any], seed: int) -> dict[str, float]:
        encoder = start(seed)
        values = {**settings, **changes}
        pretrain(encoder, prepared.pairs, valid, seed=seed, **values, **fitting)
        vectors = Vectors(encoder)
        found = {}
        for task in sample_tasks(test, queries, seed)[:2]:
            asked, offered = vectors.queries(task.queries), vectors.functions(task.candidates)
            found[f"mrr_{task.name}"] = retrieval_metrics(ranks(asked @ offered.T, task.relevant))["mrr"]
        return found

    return {arm: partial(measure, changes) for arm, changes in ARMS.items()}


def fresh_copy(encoder: CodeEncoder) -> CodeEncoder:
    """An encoder with weights of its own, so that training it leaves the original as it is."""
    twin = copy.copy(encoder)
    twin.module = copy.deepcopy(encoder.module)
    return twin
