"""Branches and networks as folders: ``model.safetensors``, ``config.json`` with its SHA-256, ``prototypes.json``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from core.files import atomic_directory, read_json, write_json
from core.tracking.weights import load_weights, save_weights
from medical.ecg.model.branch import BranchConfig, PrototypeBranch
from medical.ecg.model.network import PrototypeNetwork
from medical.ecg.preprocess import Preprocessing

WEIGHTS, CONFIG, PROTOTYPES = "model.safetensors", "config.json", "prototypes.json"
BRANCH, NETWORK = "kindred-ecg-branch/1", "kindred-ecg-network/1"


def save_branch(
    branch: PrototypeBranch, folder: str | os.PathLike[str], *, facts: dict[str, Any] | None = None
) -> str:
    """Write a branch; returns the SHA-256 of its weights. ``facts`` are kept in the configuration."""
    with atomic_directory(folder) as target:
        digest = save_weights(target / WEIGHTS, branch.state_dict())
        config = {
            "format": BRANCH,
            "branch": branch.config.to_json(),
            "facts": facts or {},
            "weights_sha256": digest,
        }
        write_json(target / CONFIG, config)
    return digest


def load_branch(folder: str | os.PathLike[str], *, labels: Sequence[str] | None = None) -> PrototypeBranch:
    """Read a branch, in eval mode.

    Args:
        labels: what the data at hand are labelled with; refused where the branch has others.

    Raises:
        CheckpointError: missing, damaged, of another format or label set.
    """
    home = Path(folder)
    config = _config(home, BRANCH)
    branch = PrototypeBranch(BranchConfig.from_json(config["branch"]))
    if labels is not None and list(branch.config.labels) != list(labels):
        raise CheckpointError(
            f"labels of {home}",
            seen=list(branch.config.labels)[:8],
            expected=f"{list(labels)[:8]}, as the prepared data have",
            remedy="train the branch again with this label set",
        )
    branch.load_state_dict(load_weights(home / WEIGHTS, config["weights_sha256"]))
    return branch.eval()


def save_network(network: PrototypeNetwork, folder: str | os.PathLike[str], *, facts: dict[str, Any]) -> str:
    """Write a fused model with all it needs to run and to explain itself; returns the SHA-256 of its weights."""
    with atomic_directory(folder) as target:
        digest = save_weights(target / WEIGHTS, network.state_dict())
        write_json(
            target / CONFIG,
            {
                "format": NETWORK,
                "labels": network.labels,
                "branches": {name: branch.config.to_json() for name, branch in network.branches.items()},  # type: ignore[operator, union-attr]
                "preprocessing": network.preprocessing.to_json(),
                "facts": facts,
                "weights_sha256": digest,
            },
        )
        write_json(target / PROTOTYPES, network.prototypes)
    return digest


def load_network(folder: str | os.PathLike[str]) -> PrototypeNetwork:
    """Read a fused model, in eval mode, on the CPU.

    Raises:
        CheckpointError: missing, damaged, of another format, or a branch that was never projected.
    """
    home = Path(folder)
    config = _config(home, NETWORK)
    branches = {
        name: PrototypeBranch(BranchConfig.from_json(raw)) for name, raw in config["branches"].items()
    }
    network = PrototypeNetwork(
        branches,
        config["labels"],
        Preprocessing.from_json(config["preprocessing"]),
        read_json(home / PROTOTYPES),
    )
    network.load_state_dict(load_weights(home / WEIGHTS, config["weights_sha256"]))
    for branch in branches.values():
        branch.require_projected()
    return network.eval()


def _config(home: Path, wanted: str) -> dict[str, Any]:
    if not (home / CONFIG).is_file():
        raise CheckpointError(
            f"{home / CONFIG} is missing", remedy="run the stage that writes it (dvc repro)"
        )
    config = read_json(home / CONFIG)
    if not isinstance(config, dict) or config.get("format") != wanted:
        raise CheckpointError(f"{home / CONFIG}", seen=config, expected=f"a folder of the format {wanted}")
    return config
