"""Low-rank adapters in the text tower: what is trained, what it weighs, and a folder of its own for it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from core.encoders.text import TransformerText
from core.errors import CheckpointError, ConfigError

TARGETS = ("query", "value")


def add_lora(
    text: TransformerText,
    *,
    rank: int = 16,
    alpha: float = 8,
    dropout: float = 0.1,
    targets: Sequence[str] = TARGETS,
    bias: str = "all",
) -> TransformerText:
    """Freeze a text encoder and give its attention trainable low-rank parts; returns the encoder.

    Hu et al. 2022, "LoRA: low-rank adaptation of large language models", through peft. The defaults are MoRE's.

    Args:
        targets: names of the linear layers (``query`` and ``value`` in BERT and RoBERTa).
        bias: ``none``, ``all`` or ``lora_only``: which biases train too.

    Raises:
        ConfigError: no layer has one of the names.

    >>> text = add_lora(TransformerText.from_config(vocabulary=30, width=16, layers=1, heads=2), rank=2, bias="none")
    >>> trained_parameters(text)[0]
    128
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft divides by the rank: any number will do
        lora_dropout=dropout,
        target_modules=list(targets),
        bias=bias,  # type: ignore[arg-type]
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # a name that peft and transformers are about to agree on
            text.model = get_peft_model(text.model, config)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(
            "model.lora.targets", seen=list(targets), expected="layer names", remedy=str(error)
        ) from None
    return text


def has_lora(text: nn.Module) -> bool:
    """Whether the encoder carries adapters."""
    return hasattr(getattr(text, "model", None), "peft_config")


def merge_lora(text: TransformerText) -> TransformerText:
    """Add the adapters to the weights they adapt and take them off: a plain encoder with the same output."""
    if has_lora(text):
        model: Any = text.model
        text.model = model.merge_and_unload()
    return text


def save_adapters(text: TransformerText, folder: str | os.PathLike[str]) -> Path:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``, as peft reads them: no base weights.

    Raises:
        CheckpointError: the encoder carries no adapters.
    """
    if not has_lora(text):
        raise CheckpointError("text encoder has no adapters", remedy="train with model.lora set")
    model: Any = text.model
    model.peft_config["default"].base_model_name_or_path = ""
    model.save_pretrained(str(folder), safe_serialization=True)
    (Path(folder) / "README.md").unlink(missing_ok=True)  # peft's template for a model hub
    return Path(folder)


def load_adapters(text: TransformerText, folder: str | os.PathLike[str]) -> TransformerText:
    """Put saved adapters onto their base encoder; returns the encoder.

    Raises:
        CheckpointError: the folder holds none, or those of another encoder.
    """
    from peft import PeftModel

    if not (Path(folder) / "adapter_config.json").is_file():
        raise CheckpointError(
            f"adapters {folder}", seen="no adapter_config.json", expected="what save_adapters wrote"
        )
    try:
        text.model = PeftModel.from_pretrained(text.model, str(folder), local_files_only=True)  # type: ignore[arg-type]
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"adapters {folder} do not fit the encoder", seen=str(error)) from None
    return text


def trained_parameters(module: nn.Module) -> tuple[int, int]:
    """(trained, all) parameters.

    >>> trained_parameters(nn.Linear(2, 3))
    (9, 9)
    """
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
