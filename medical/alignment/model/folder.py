"""The folder of a space: ``model.safetensors``, ``config.json`` with its SHA-256, ``tokenizer.json``, ``adapters``."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from core.encoders.text import TransformerText
from core.files import atomic_directory
from core.tracking.model_folder import read_model, write_model
from medical.alignment.findings import FindingHead
from medical.alignment.model.lora import has_lora, merge_lora, save_adapters
from medical.alignment.model.towers import Architecture, Towers
from medical.alignment.objective import Alignment
from medical.alignment.preprocess import Preprocessing
from medical.alignment.space import Space
from medical.alignment.tokens import ReportTokenizer

FORMAT = "kindred-alignment/1"
ADAPTERS = "adapters"


def save_space(space: Space, folder: str | os.PathLike[str]) -> str:
    """Write a space, whole or not at all; returns the SHA-256 of its weights.

    Adapters are merged into the weights, so that using the model needs no peft, and are also written by themselves
    to ``adapters/``. The space itself stays as it is.
    """
    modules = space.modules()
    with atomic_directory(folder) as target:
        if has_lora(space.towers.text):
            save_adapters(space.towers.text, target / ADAPTERS)  # type: ignore[arg-type]
            modules = copy.deepcopy(modules)
            merge_lora(modules["towers"].text)  # type: ignore[arg-type]
        elif (known := space.facts.get("adapters")) and Path(known).is_dir():
            import shutil

            shutil.copytree(known, target / ADAPTERS)
        text: Any = modules["towers"].text
        space.tokenizer.save(target)
        alignment = space.alignment
        space.digest = write_model(
            target,
            FORMAT,
            modules.state_dict(),
            architecture=space.towers.architecture.to_json(),
            text=text.settings,
            text_length=space.tokenizer.length,
            preprocessing=space.preprocessing.to_json(),
            objective={
                "method": alignment.method,
                "edge": alignment.edge,
                "smoothing": alignment.smoothing,
                "negatives": alignment.negatives,
            },
            labels=space.head.labels if space.head is not None else None,
            prompts=space.prompts,
            calibration=space.calibration,
            facts={name: value for name, value in space.facts.items() if name != "adapters"},
        )
    return space.digest


def load_space(folder: str | os.PathLike[str]) -> Space:
    """Read a space from its folder, in eval mode, on the CPU.

    Raises:
        CheckpointError: a file is missing, damaged or of another format.
    """
    home = Path(folder)
    with read_model(home, FORMAT) as (config, state):
        architecture = Architecture.from_json(config["architecture"])
        towers = Towers(architecture, TransformerText.from_settings(config["text"]))
        objective = config["objective"]
        alignment = Alignment(objective.pop("method"), width=architecture.dim, **objective)
        head = None if config["labels"] is None else FindingHead(architecture.dim, config["labels"])
        space = Space(
            towers,
            alignment,
            ReportTokenizer.from_folder(home, length=config["text_length"]),
            Preprocessing.from_json(config["preprocessing"]),
            head=head,
            prompts=config["prompts"],
            calibration=config["calibration"],
            facts=config["facts"],
            digest=config["weights_sha256"],
        )
        space.modules().load_state_dict(state)
    if (home / ADAPTERS).is_dir():
        space.facts["adapters"] = str(home / ADAPTERS)
    for module in space.modules().values():
        module.eval()
    return space
