"""The folder of a space: ``model.safetensors``, ``config.json`` with its SHA-256, ``tokenizer.json``, ``adapters``."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from core.encoders.text import TransformerText
from core.errors import CheckpointError
from core.files import atomic_directory, read_json, write_json
from core.tracking.weights import load_weights, save_weights
from medical.alignment.findings import FindingHead
from medical.alignment.model.lora import has_lora, merge_lora, save_adapters
from medical.alignment.model.towers import Architecture, Towers
from medical.alignment.objective import Alignment
from medical.alignment.preprocess import Preprocessing
from medical.alignment.space import Space
from medical.alignment.tokens import ReportTokenizer

FORMAT = "kindred-alignment/1"
WEIGHTS, CONFIG, ADAPTERS = "model.safetensors", "config.json", "adapters"


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
        digest = save_weights(target / WEIGHTS, modules.state_dict())
        space.tokenizer.save(target)
        alignment = space.alignment
        config = {
            "format": FORMAT,
            "architecture": space.towers.architecture.to_json(),
            "text": text.settings,
            "text_length": space.tokenizer.length,
            "preprocessing": space.preprocessing.to_json(),
            "objective": {
                "method": alignment.method,
                "edge": alignment.edge,
                "smoothing": alignment.smoothing,
                "negatives": alignment.negatives,
            },
            "labels": space.head.labels if space.head is not None else None,
            "prompts": space.prompts,
            "calibration": space.calibration,
            "facts": {name: value for name, value in space.facts.items() if name != "adapters"},
            "weights_sha256": digest,
        }
        write_json(target / CONFIG, config)
    space.digest = digest
    return digest


def load_space(folder: str | os.PathLike[str]) -> Space:
    """Read a space from its folder, in eval mode, on the CPU.

    Raises:
        CheckpointError: a file is missing, damaged or of another format.
    """
    home = Path(folder)
    if not (home / CONFIG).is_file():
        raise CheckpointError(
            f"model folder {home}", seen=f"no {CONFIG}", expected="what the pretrain stage writes"
        )
    config = read_json(home / CONFIG)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{home / CONFIG}", seen=config, expected=f"format {FORMAT}")
    try:
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
        space.modules().load_state_dict(load_weights(home / WEIGHTS, config["weights_sha256"]))
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{home / CONFIG} does not describe its weights", seen=str(error), remedy="run the training again"
        ) from None
    if (home / ADAPTERS).is_dir():
        space.facts["adapters"] = str(home / ADAPTERS)
    for module in space.modules().values():
        module.eval()
    return space
