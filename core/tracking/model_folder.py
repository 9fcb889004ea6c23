"""The folder of a model: ``model.safetensors``, and ``config.json`` with its format and the weights' SHA-256."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import CheckpointError
from core.files import read_json, write_json
from core.tracking.weights import load_weights, save_weights

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def write_model(target: Path, form: str, state_dict: Mapping[str, Tensor], **facts: Any) -> str:
    """Write weights and configuration into ``target``, as a rule the one of `core.files.atomic_directory`.

    Args:
        form: name and version of the folder's format, by which `read_model` knows it again.
        facts: what it takes to build the module again, as plain JSON values.

    Returns:
        SHA-256 of the weights.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digest = write_model(Path(folder), "probe/1", {"w": torch.ones(2)}, width=2)
    ...     with read_model(folder, "probe/1") as (config, state):
    ...         config["width"], state["w"].tolist(), config["weights_sha256"] == digest
    (2, [1.0, 1.0], True)
    """
    digest = save_weights(target / WEIGHTS, state_dict)
    write_json(target / CONFIG, {"format": form, **facts, "weights_sha256": digest})
    return digest


@contextmanager
def read_model(
    folder: str | os.PathLike[str], form: str
) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Configuration and weights (on the CPU) of a folder, for a block that builds the module from them.

    What goes wrong in the block because the two do not belong together is told as the folder's fault.

    Raises:
        CheckpointError: a file is missing, damaged or of another format, or the weights do not fit.
    """
    home = Path(folder).expanduser()
    if not (home / CONFIG).is_file():
        raise CheckpointError(
            f"{home} holds no {CONFIG}",
            expected=f"a model folder of the format {form}",
            remedy="run the stage that trains it (dvc repro)",
        )
    config = read_json(home / CONFIG)
    seen = config.get("format") if isinstance(config, dict) else config
    if not isinstance(config, dict) or seen != form:
        raise CheckpointError(
            f"{home / CONFIG}: format", seen=seen, expected=form, remedy="give the folder of such a model"
        )
    try:
        yield config, load_weights(home / WEIGHTS, config["weights_sha256"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{home / CONFIG} does not describe its weights",
            seen=str(error),
            remedy="run the stage that trains it again",
        ) from error
