"""The folder of an encoder: ``model.safetensors``, ``config.json`` with its SHA-256, ``tokenizer.json``, the ranker."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_search.model.fields import FieldedText
from code_search.ranker import load_ranker
from code_search.tokenize import CodeTokenizer
from core.encoders.text import TransformerText
from core.files import atomic_directory
from core.tracking.model_folder import read_model, write_model

if TYPE_CHECKING:
    from code_search.model.encoder import CodeEncoder

FORMAT = "kindred-code-encoder/1"


@dataclass(frozen=True)
class _Kind:
    name: str
    module: type


_KINDS = (_Kind("static", FieldedText), _Kind("transformer", TransformerText))


def save_encoder(encoder: CodeEncoder, folder: str | os.PathLike[str]) -> str:
    """Write an encoder's folder, whole or not at all; returns the SHA-256 of its weights."""
    kind = next(kind.name for kind in _KINDS if isinstance(encoder.module, kind.module))
    with atomic_directory(folder) as target:
        settings: Any = encoder.module.settings
        encoder.digest = write_model(
            target,
            FORMAT,
            encoder.module.state_dict(),
            encoder={"kind": kind, "settings": settings},
            markers=encoder.tokenizer.save(target),
            code_length=encoder.code_length,
            text_length=encoder.text_length,
            ranker=None if encoder.ranker is None else encoder.ranker.save(target),
        )
    return encoder.digest


def load_encoder(folder: str | os.PathLike[str], *, precision: str = "32") -> CodeEncoder:
    """Read an encoder from its folder, in eval mode, on the CPU.

    Args:
        precision: ``32`` or ``bf16``, see `CodeEncoder`.

    Raises:
        CheckpointError: a file is missing, damaged or of another format; the weights are not those of the
            configuration.
    """
    from code_search.model.encoder import CodeEncoder

    home = Path(folder)
    with read_model(home, FORMAT) as (config, state):
        kind, settings = config["encoder"]["kind"], config["encoder"]["settings"]
        module: Any = FieldedText(**settings) if kind == "static" else TransformerText.from_settings(settings)
        module.load_state_dict(state)
        tokenizer = CodeTokenizer.load(home, config["markers"])
        return CodeEncoder(
            module.eval(), tokenizer, code_length=config["code_length"], text_length=config["text_length"],
            digest=config["weights_sha256"], ranker=load_ranker(home), precision=precision,
        )  # fmt: skip
