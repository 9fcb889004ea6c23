"""The folder of a model, and local CLAP weights in transformers' layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_language.model.clap import TemporalClap
from audio_language.model.frontend import FrontEnd, FrontEndSettings
from audio_language.model.tokenizer import CaptionTokenizer
from core.errors import CheckpointError
from core.files import atomic_directory, read_json
from core.tracking.model_folder import CONFIG, WEIGHTS, read_model, write_model

if TYPE_CHECKING:
    from audio_language.embed import SoundModel

FORMAT = "kindred-sound-model/1"
PREPROCESSOR = "preprocessor_config.json"


def save_model(model: SoundModel, folder: str | os.PathLike[str]) -> str:
    """Write ``model.safetensors``, ``config.json`` and ``tokenizer.json``; returns the weights' SHA-256."""
    net = model.net
    with atomic_directory(folder) as target:
        model.tokenizer.save(target)
        model.digest = write_model(
            target,
            FORMAT,
            net.state_dict(),
            clap=net.config,
            head=None if net.head is None else net.head.settings,
            front_end=model.front.settings.to_json(),
            text_length=model.tokenizer.length,
            labels=model.labels,
            prompt=model.prompt,
        )
    return model.digest


def load_model(folder: str | os.PathLike[str]) -> SoundModel:
    """A model from its own folder (`save_model`), or from CLAP weights as transformers saves them.

    The latter needs ``config.json``, ``model.safetensors``, ``preprocessor_config.json`` and
    ``tokenizer.json``; nothing is fetched.

    Raises:
        CheckpointError: a file is missing, damaged or of another format.
    """
    home = Path(folder).expanduser()
    if _is_transformers(home):
        return _from_transformers(home)
    from audio_language.embed import SoundModel

    with read_model(home, FORMAT) as (config, state):
        net = TemporalClap(config["clap"], head=config["head"])
        net.load_state_dict(state)
        front = FrontEnd(FrontEndSettings(**config["front_end"]))
        tokenizer = CaptionTokenizer.from_folder(home, length=config["text_length"])
        return SoundModel(
            net, front, tokenizer, labels=config["labels"], prompt=config["prompt"],
            digest=config["weights_sha256"],
        )  # fmt: skip


def _is_transformers(home: Path) -> bool:
    config = read_json(home / CONFIG) if (home / CONFIG).is_file() else {}
    return isinstance(config, dict) and config.get("model_type") == "clap"


def _from_transformers(home: Path) -> SoundModel:
    from transformers import ClapConfig

    from audio_language.embed import SoundModel
    from core.encoders.weight_files import read_state
    from core.encoders.weights import load_state

    for name in (WEIGHTS, PREPROCESSOR):
        if not (home / name).is_file():
            raise CheckpointError(
                f"CLAP folder {home}",
                seen=f"no {name}",
                expected="what save_pretrained of model and processor write",
            )
    config: dict[str, Any] = ClapConfig.from_pretrained(home, local_files_only=True).to_dict()
    kept = {key: config[key] for key in ("text_config", "audio_config", "projection_dim")}
    net = TemporalClap(kept)
    report = load_state(net.clap, read_state(home / WEIGHTS), source=str(home))
    # Positions that transformers makes anew are no weights; anything else that is missing is.
    lacking = [name for name in report.missing if not name.endswith("position_ids")]
    if lacking or report.mismatched:
        raise CheckpointError(f"{home} does not fill the model\n{report}")
    front = FrontEnd(FrontEndSettings.from_transformers(read_json(home / PREPROCESSOR)))
    length = min(net.text_length, 77)
    return SoundModel(net, front, CaptionTokenizer.from_folder(home, length=length), digest="")
