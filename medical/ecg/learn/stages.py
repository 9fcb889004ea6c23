"""The stages in one place, as functions of prepared data: what the pipeline and the evidence both call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import ConfigError
from core.learning.determinism import seed_everything
from core.learning.fit import FitResult
from medical.ecg.evaluate import macro_auroc
from medical.ecg.learn.contrastive import contrastive_start
from medical.ecg.learn.project import fixed_auroc, project_branch, projection_report
from medical.ecg.learn.sparse import fit_sparse
from medical.ecg.learn.supervised import black_box, extract, joint
from medical.ecg.model.branch import Backbone, BranchConfig, PrototypeBranch
from medical.ecg.model.network import BlackBox, PrototypeNetwork
from medical.ecg.prepared import Prepared

WINDOWS = {"rhythm": 0, "global": -1}


def branch_configs(
    prepared: Prepared,
    *,
    blocks: Sequence[int],
    widths: Sequence[int],
    bottleneck: bool = False,
    dropout: float = 0.0,
    addon: Any = "linear",
    classifier: Any = "published",
    prototypes: Mapping[str, int],
    pairs: int = 0,
    window: int = 3,
    pool: Any = "mean",
    scale: float | None = None,
) -> dict[str, BranchConfig]:
    """The configuration of each branch; a label gets at most as many prototypes as training recordings."""
    backbone = Backbone(tuple(blocks), tuple(widths), bottleneck, dropout)
    positives = prepared.facts["counts"]
    return {
        name: BranchConfig(
            name,
            tuple(labels),
            tuple(min(prototypes.get(name, 5), positives[label]["train"]) for label in labels),
            WINDOWS.get(name, window),
            samples=prepared.preprocessing.samples,
            pairs=pairs,
            pool=pool,
            scale=scale,
            addon=addon,
            classifier=classifier,
            backbone=backbone,
        )
        for name, labels in prepared.branches.items()
    }


def pretrain(
    prepared: Prepared,
    backbone: Backbone,
    *,
    contrastive_steps: int,
    contrastive_batch: int,
    temperature: float,
    steps: int,
    learning_rate: float,
    head: Any = "mean",
    learning: Mapping[str, Any],
    seed: int,
    checkpoint_dir: Path | None = None,
    **fitting: Any,
) -> tuple[PrototypeBranch, dict[str, FitResult]]:
    """One backbone for all branches to start from: contrastive views first, then all labels through a head.

    Either part may have 0 steps; with both 0 the weights are random. Returns a branch over all labels, of which
    the others take the backbone and what its head learnt (`start_weights`).
    """
    seed_everything(seed)
    config = BranchConfig(
        "all", tuple(prepared.labels), (1,) * len(prepared.labels), 0, samples=prepared.preprocessing.samples,
        addon="identity", head=head, backbone=backbone,
    )  # fmt: skip
    shared = PrototypeBranch(config)
    train, found = prepared.subset("train"), {}
    if contrastive_steps:
        found["contrastive"] = contrastive_start(
            shared.backbone, train, steps=contrastive_steps, batch_size=contrastive_batch, temperature=temperature,
            seed=seed, checkpoint_dir=_below(checkpoint_dir, "contrastive"), **fitting,
        )  # fmt: skip
    if steps:
        found["extract"] = extract(
            shared, train, prepared.subset("valid"), steps=steps, learning_rate=learning_rate, seed=seed,
            checkpoint_dir=_below(checkpoint_dir, "extract"), **learning, **fitting,
        )  # fmt: skip
    return shared.eval(), found


def start_weights(shared: PrototypeBranch, *, extracted: bool) -> dict[str, torch.Tensor]:
    """What branches start from: weights ``backbone.*``, and where the head was trained ``evidence`` (C, D)."""
    found = {f"backbone.{name}": value for name, value in shared.backbone.state_dict().items()}
    if extracted:
        dim = shared.backbone.width
        weight = shared.head.weight.detach()
        found["evidence"] = weight[:, :dim] + (weight[:, dim:] if weight.shape[1] > dim else 0)
    return found


def train_branches(
    prepared: Prepared,
    configs: Mapping[str, BranchConfig],
    start: Mapping[str, torch.Tensor] | None,
    *,
    options: Mapping[str, Any],
    learning: Mapping[str, Any],
    seed: int,
    checkpoint_dir: Path | None = None,
    **fitting: Any,
) -> tuple[dict[str, PrototypeBranch], dict[str, FitResult]]:
    """Joint training of every branch; ``start`` is what `start_weights` gives."""
    branches, found = {}, {}
    start = start or {}
    backbone = {n.removeprefix("backbone."): v for n, v in start.items() if n.startswith("backbone.")}
    for name, config in configs.items():
        seed_everything(seed)
        branch = PrototypeBranch(config)
        evidence = None
        if backbone:
            branch.backbone.load_state_dict(backbone)
        if "evidence" in start:
            evidence = start["evidence"][[prepared.labels.index(label) for label in config.labels]]
        found[name] = joint(
            branch, prepared.subset("train", config.labels), prepared.subset("valid", config.labels), seed=seed,
            evidence=evidence, checkpoint_dir=_below(checkpoint_dir, name), **options, **learning, **fitting,
        )  # fmt: skip
        branches[name] = branch
    return branches, found


def project_and_fuse(
    prepared: Prepared,
    branches: Mapping[str, PrototypeBranch],
    *,
    distinct: bool = True,
    l1: Sequence[float] = (1e-4,),
    l2: Sequence[float] = (),
    classifier_l1: float | None = 1e-4,
    iterations: int = 1000,
) -> tuple[PrototypeNetwork, dict[str, Any]]:
    """Project every branch, fit its classifier, and fuse all; the branches are changed in place.

    Without ``classifier_l1`` the branches keep the linear layers of the joint training; the fusion does not use
    them. Its penalty is the one of ``l1`` and ``l2`` with the best macro AUROC on the validation records.

    Returns:
        the network, and a report: per branch the numbers of `projection_report`, and the choice of the penalty.
    """
    prototypes: list[dict[str, Any]] = []
    report: dict[str, Any] = {"branches": {}}
    for name, branch in branches.items():
        train = prepared.subset("train", branch.config.labels)
        valid = prepared.subset("valid", branch.config.labels)
        branch.eval()
        before = fixed_auroc(branch, valid)
        found = project_branch(
            branch, train, ids=prepared.of("train", "id"), patients=prepared.of("train", "patient"),
            names=prepared.of("train", "labels"), distinct=distinct,
        )  # fmt: skip
        report["branches"][name] = projection_report(branch, found, before, fixed_auroc(branch, valid))
        if classifier_l1 is not None:
            classify(branch, train, l1=classifier_l1, iterations=iterations)
            report["branches"][name]["auroc_classifier"] = fixed_auroc(branch, valid)
        prototypes += [{"branch": name, **match.to_json()} for match in found]
    network = PrototypeNetwork(dict(branches), prepared.labels, prepared.preprocessing, prototypes).eval()
    report["fusion"] = fuse(network, prepared, l1=l1, l2=l2, iterations=iterations)
    return network, report


@torch.no_grad()
def classify(branch: PrototypeBranch, data: Any, *, l1: float, iterations: int) -> None:
    """Fit the linear layer of a projected branch: BCE + l1 times the weights to other classes' prototypes."""
    branch.require_projected()
    similar = torch.cat([branch.similar(data.x(part)).pooled for part in _parts(len(data))])
    found = fit_sparse(
        similar, data.targets, l1=l1, start=branch.classifier, penalised=1 - branch.identity.T,
        bias=branch.config.classifier == "balanced",
        iterations=iterations,
    )  # fmt: skip
    branch.classifier.copy_(found.weight)
    branch.bias.copy_(found.bias)


@torch.no_grad()
def fuse(
    network: PrototypeNetwork,
    prepared: Prepared,
    *,
    l1: Sequence[float],
    l2: Sequence[float] = (),
    iterations: int,
) -> dict[str, Any]:
    """Fit the fusion layer in place with the best of the penalties; returns the curve and the choice."""
    for branch in network.branches.values():
        branch.require_projected()  # type: ignore[operator]
    train, valid = (similarities_of(network, prepared.subset(split)) for split in ("train", "valid"))
    targets = torch.from_numpy(prepared.truth("train"))
    truth, curve, best = prepared.truth("valid"), {}, -1.0
    penalties = [(one, 0.0) for one in sorted(l1, reverse=True)]
    penalties += [(0.0, one) for one in sorted(l2, reverse=True)]
    for lasso, ridge in penalties:
        found = fit_sparse(train, targets, l1=lasso, l2=ridge, iterations=iterations)
        value, _ = macro_auroc(truth, (valid.double() @ found.weight.T + found.bias).numpy())
        value = -0.5 if np.isnan(value) else value
        name = f"L2 {ridge:g}" if ridge else f"L1 {lasso:g}"
        curve[name] = value
        if value > best + 1e-4:  # of equals, the sparser
            best, chosen = value, name
            network.weight.copy_(found.weight)
            network.bias.copy_(found.bias)
    used = int((network.weight.abs() > 1e-9).sum())
    return {
        "penalty": chosen,
        "valid_auroc": best,
        "curve": curve,
        "weights_used": used,
        "weights": network.weight.numel(),
    }


@torch.no_grad()
def similarities_of(network: PrototypeNetwork, data: Any) -> torch.Tensor:
    """Similarities of all recordings of a `SignalSet`, (N, P)."""
    return torch.cat([network.similarities(data.x(part))[0] for part in _parts(len(data))])


def train_black_box(
    prepared: Prepared,
    backbone: Backbone,
    *,
    steps: int,
    learning_rate: float,
    learning: Mapping[str, Any],
    seed: int,
    checkpoint_dir: Path | None = None,
    **fitting: Any,
) -> tuple[BlackBox, FitResult]:
    """The black box: one backbone a branch, trained together on all labels."""
    seed_everything(seed)
    network = BlackBox([backbone.build() for _ in prepared.branches], len(prepared.labels), backbone.dropout)
    result = black_box(
        network, prepared.subset("train"), prepared.subset("valid"), steps=steps, learning_rate=learning_rate,
        seed=seed, checkpoint_dir=checkpoint_dir, **learning, **fitting,
    )  # fmt: skip
    return network.eval(), result


def prune(network: PrototypeNetwork, bad: Sequence[int]) -> tuple[PrototypeNetwork, list[str]]:
    """A network without some prototypes (numbers over all branches); its fusion layer must be fitted again.

    A label keeps at least its best-used prototype: what cannot be removed is returned as sentences.

    Raises:
        ConfigError: a number that no prototype has.
    """
    total = sum(place.stop - place.start for place in network.places().values())
    unknown = [number for number in bad if not 0 <= number < total]
    if unknown:
        raise ConfigError(
            "prototypes to prune",
            seen=unknown,
            expected=f"numbers from 0 to {total - 1}",
            remedy="review this model again",
        )
    branches, kept_facts, problems = {}, [], []
    for name, place in network.places().items():
        old: Any = network.branches[name]
        local = [number - place.start for number in bad if place.start <= number < place.stop]
        keep = torch.ones(old.count, dtype=torch.bool)
        keep[local] = False
        counts, singles = [], old.identity.sum(1) == 1
        for c, label in enumerate(old.config.labels):
            own = (old.identity[:, c] > 0) & singles
            if not bool((keep & own).any()):
                first = int(torch.nonzero(own).flatten()[0])
                keep[first] = True
                problems.append(f"{label}: all its prototypes were to go; number {place.start + first} stays")
            counts.append(int((keep & own).sum()))
        keep[~singles] &= old.config.pairs > 0
        config = BranchConfig.from_json({**old.config.to_json(), "counts": counts, "pairs": 0})
        keep &= singles  # a part of the pairs cannot be described by a number a pair
        branch = PrototypeBranch(config)
        state = old.state_dict()
        for key in ("prototypes", "identity"):
            state[key] = state[key][keep]
        state["classifier"] = state["classifier"][:, keep]
        branch.load_state_dict(state)
        branches[name] = branch.eval()
        kept_facts += [network.prototypes[place.start + i] for i in torch.nonzero(keep).flatten().tolist()]
    return PrototypeNetwork(branches, network.labels, network.preprocessing, kept_facts).eval(), problems


def _parts(count: int, size: int = 256) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _below(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else Path(folder) / name
