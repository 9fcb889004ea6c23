"""Branches and networks as folders: ``model.safetensors``, ``config.json`` with its SHA-256, ``prototypes.json``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from core.files import atomic_directory, read_json, write_json
from core.tracking.model_folder import read_model, write_model
from medical.ecg.model.branch import BranchConfig, PrototypeBranch
from medical.ecg.model.network import PrototypeNetwork
from medical.ecg.preprocess import Preprocessing

PROTOTYPES = "prototypes.json"
BRANCH, NETWORK = "kindred-ecg-branch/1", "kindred-ecg-network/1"


def save_branch(
    branch: PrototypeBranch, folder: str | os.PathLike[str], *, facts: dict[str, Any] | None = None
) -> str:
    """Write a branch; returns the SHA-256 of its weights. ``facts`` are kept in the configuration."""
    with atomic_directory(folder) as target:
        return write_model(
            target, BRANCH, branch.state_dict(), branch=branch.config.to_json(), facts=facts or {}
        )


def load_branch(folder: str | os.PathLike[str], *, labels: Sequence[str] | None = None) -> PrototypeBranch:
    """Read a branch, in eval mode.

    Args:
        labels: what the data at hand are labelled with; refused where the branch has others.

    Raises:
        CheckpointError: missing, damaged, of another format or label set.
    """
    with read_model(folder, BRANCH) as (config, state):
        branch = PrototypeBranch(BranchConfig.from_json(config["branch"]))
        if labels is not None and list(branch.config.labels) != list(labels):
            raise CheckpointError(
                f"labels of {folder}",
                seen=list(branch.config.labels)[:8],
                expected=f"{list(labels)[:8]}, as the prepared data have",
                remedy="train the branch again with this label set",
            )
        branch.load_state_dict(state)
    return branch.eval()


def save_network(network: PrototypeNetwork, folder: str | os.PathLike[str], *, facts: dict[str, Any]) -> str:
    """Write a fused model with all it needs to run and to explain itself; returns the SHA-256 of its weights."""
    with atomic_directory(folder) as target:
        write_json(target / PROTOTYPES, network.prototypes)
        return write_model(
            target,
            NETWORK,
            network.state_dict(),
            labels=network.labels,
            branches={name: branch.config.to_json() for name, branch in network.branches.items()},  # type: ignore[operator, union-attr]
            preprocessing=network.preprocessing.to_json(),
            facts=facts,
        )


def load_network(folder: str | os.PathLike[str]) -> PrototypeNetwork:
    """Read a fused model, in eval mode, on the CPU.

    Raises:
        CheckpointError: missing, damaged, of another format, or a branch that was never projected.
    """
    with read_model(folder, NETWORK) as (config, state):
        branches = {
            name: PrototypeBranch(BranchConfig.from_json(raw)) for name, raw in config["branches"].items()
        }
        network = PrototypeNetwork(
            branches,
            config["labels"],
            Preprocessing.from_json(config["preprocessing"]),
            read_json(Path(folder) / PROTOTYPES),
        )
        network.load_state_dict(state)
    for branch in branches.values():
        branch.require_projected()
    return network.eval()
