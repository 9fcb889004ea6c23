"""What the parts of the method are worth: the same data and seeds with one part changed, beside the black box."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from medical.ecg.evaluate import macro_auroc
from medical.ecg.learn.project import fixed_auroc
from medical.ecg.learn.stages import (
    branch_configs,
    pretrain,
    project_and_fuse,
    start_weights,
    train_black_box,
    train_branches,
)
from medical.ecg.learn.supervised import scores
from medical.ecg.model.branch import Backbone
from medical.ecg.model.network import PrototypeNetwork
from medical.ecg.prepared import Prepared
from medical.ecg.windows import Events, window_rows, window_summary

FULL, BLACK_BOX = "prototypes", "black box"
ARMS: dict[str, dict[str, Any]] = {
    FULL: {},
    "no contrastive term": {"joint": {"contrastive": False}},
    "contrastive start": {"pretrain": {"contrastive_steps": None}},
}
"""What is changed in the settings, by arm; None takes the number of the evidence section."""
CLAIM = "Prototypes classify as well as a black box with the same backbones, and show where the evidence lies"


def ablation_arms(
    prepared: Callable[[int], tuple[Prepared, Events]],
    *,
    model: Mapping[str, Any],
    backbone: Mapping[str, Any],
    learning: Mapping[str, Any],
    pretraining: Mapping[str, Any],
    joint: Mapping[str, Any],
    projection: Mapping[str, Any],
    baseline: Mapping[str, Any],
    contrastive_steps: int,
    **fitting: Any,
) -> dict[str, Callable[[int], dict[str, float]]]:
    """A function seed -> metrics for each arm, as `core.evaluation.evidence.run_evidence` calls them.

    The seed makes the data (where they are generated), the first weights and the order of the batches; it is the
    same in every arm. Metrics on the test recordings: ``auroc`` (macro, fused), ``before`` and ``after``
    projection (mean over the branches, linear layers as fixed in the joint training), and on true positives with
    known events ``covered``, ``chance``, ``lowered``, ``lowered_more`` (`medical.ecg.windows.window_summary`),
    ``sum_error`` (largest difference between a logit and the sum of its contributions).

    Args:
        prepared: seed -> data and known events.
        model: of `branch_configs`. backbone: of `Backbone`. learning: shared by all trainings on labels.
        pretraining, joint, projection: of the stages of these names. baseline: of the black box: steps and rate.
        contrastive_steps: of the arm with a contrastive start.
        **fitting: of `core.learning.fit.fit`.
    """
    network = Backbone(**backbone)
    data = lru_cache(maxsize=1)(prepared)

    def start_from(own: Prepared, settings: Mapping[str, Any], seed: int) -> dict[str, torch.Tensor]:
        shared, _ = pretrain(own, network, **settings, learning=learning, seed=seed, **fitting)
        return start_weights(shared, extracted=bool(settings["steps"]))

    @lru_cache(maxsize=1)
    def started(seed: int) -> dict[str, torch.Tensor]:
        return start_from(data(seed)[0], pretraining, seed)

    def measure(changes: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, float]:
        own, events = data(seed)
        if "pretrain" in changes:
            start = start_from(own, {**pretraining, "contrastive_steps": contrastive_steps}, seed)
        else:
            start = started(seed)
        branches, _ = train_branches(
            own,
            branch_configs(own, **{**model, **changes.get("model", {})}),
            start,
            options={**joint, **changes.get("joint", {})},
            learning=learning,
            seed=seed,
            **fitting,
        )
        tests = {name: own.subset("test", branch.config.labels) for name, branch in branches.items()}
        before = [fixed_auroc(branch, tests[name]) for name, branch in branches.items()]
        fused, report = project_and_fuse(own, branches, **{**projection, "classifier_l1": None})
        after = [fixed_auroc(branch, tests[name]) for name, branch in branches.items()]
        return {
            **network_metrics(fused, own, events),
            "before": float(np.mean(before)),
            "after": float(np.mean(after)),
            "weights_used": float(report["fusion"]["weights_used"]),
        }

    def measure_black_box(seed: int) -> dict[str, float]:
        own, _ = data(seed)
        trained, _ = train_black_box(own, network, **baseline, learning=learning, seed=seed, **fitting)
        return {"auroc": macro_auroc(own.truth("test"), scores(trained, own.subset("test")))[0]}

    arms: dict[str, Callable[[int], dict[str, float]]] = {
        arm: partial(measure, changes) for arm, changes in ARMS.items()
    }
    return {**arms, BLACK_BOX: measure_black_box}


def network_metrics(network: PrototypeNetwork, prepared: Prepared, events: Events) -> dict[str, float]:
    """Test AUROC of a fused network, the check of its windows, and how exactly logits are sums."""
    signals, truth = np.asarray(prepared.signals[prepared.rows("test")]), prepared.truth("test")
    found = network.predict(signals, raw=False)
    parts = network.contributions(torch.from_numpy(found["similarities"])).sum(-1) + network.bias
    metrics = {
        "auroc": macro_auroc(truth, found["logits"])[0],
        "sum_error": float(np.abs(parts.numpy() - found["logits"]).max()),
    }
    summary = window_summary(window_rows(network, signals, truth, prepared.of("test", "id"), events=events))
    kept = ("covered", "chance", "lowered", "lowered_more", "drop", "control_drop", "n")
    return metrics | {
        ("true_positives" if key == "n" else key): summary[key] for key in kept if key in summary
    }
