"""The parameters of the pipeline, section by section, as its params files hold them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

import core.config
from core.config import Settings

Share = Field(ge=0, le=1)
Count = Field(ge=1)


class Data(Settings):
    """Where the functions come from.

    ``installed``: train and valid from the distributions that pip installed, test from the standard library.
    ``codesearchnet``: ``root`` holds one folder a language with train, valid, test and codebase ``.jsonl``.
    ``manifest``: ``manifest`` lists own repositories below ``root``.
    ``languages``: only these, of ``codesearchnet`` and ``manifest``; ``valid_fraction``: of ``installed``.
    ``scheduler``: ``processes``, ``local`` (Dask on this machine) or the address of a Dask scheduler; not for
    ``codesearchnet``.
    """

    source: Literal["installed", "codesearchnet", "manifest"] = "installed"
    root: str | None = None
    manifest: str | None = None
    languages: list[str] = Field(default_factory=list)
    max_train: int | None = Field(default=None, ge=100)
    max_valid: int | None = Field(default=None, ge=100)
    max_test: int | None = Field(default=None, ge=100)
    valid_fraction: float = Field(default=0.1, gt=0, lt=0.9)
    on_problem: Literal["quarantine", "stop"] = "quarantine"
    scheduler: str = "processes"

    @model_validator(mode="after")
    def _complete(self) -> Data:
        if self.source != "installed" and not self.root:
            raise ValueError(f"data.source: {self.source} needs data.root, the folder that holds the data")
        if self.source == "manifest" and not self.manifest:
            raise ValueError("data.source: manifest needs data.manifest, the CSV that lists the repositories")
        if self.source == "installed" and self.languages:
            raise ValueError("data.languages: installed packages are read for Python only; leave it out")
        if self.source != "installed" and "valid_fraction" in self.model_fields_set:
            raise ValueError(
                f"data.valid_fraction: {self.source} brings its own splits or makes them by group; leave it out"
            )
        if self.source == "codesearchnet" and self.scheduler != "processes":
            raise ValueError("data.scheduler: rows of codesearchnet are read in one process; leave it out")
        return self


class Model(Settings):
    """The encoder: ``static``, ``transformer`` (both with an own vocabulary), ``minilm``, or a local folder.

    ``vectors`` says where the token vectors of the first two start: ``minilm``, a sentence-transformers
    folder, or ``random``.
    """

    encoder: str = "static"
    dim: int = Field(default=256, ge=1)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    vectors: str = "minilm"
    dropout: float = Field(default=0.1, ge=0, lt=1)
    vocabulary: int = Field(default=20_000, ge=300)
    min_frequency: int = Field(default=3, ge=1)
    code_length: int = Field(default=256, ge=8)
    text_length: int = Field(default=48, ge=8)

    @property
    def reading(self) -> dict[str, Any]:
        """What `code_search.prepared.prepare` takes."""
        return self.model_dump(
            include={"encoder", "vocabulary", "min_frequency", "code_length", "text_length"}
        )

    @property
    def architecture(self) -> dict[str, Any]:
        """What `code_search.prepared.starting_encoder` takes."""
        return self.model_dump(include={"encoder", "dim", "layers", "heads", "vectors", "dropout"})


class Pretrain(Settings):
    """CoCoSoDa; see `code_search.learn.train.pretrain` for each value."""

    steps: int = Count
    batch_size: int = Field(ge=2)
    queue_size: int = Field(ge=0)
    momentum: float = Share
    temperature: float = Field(default=0.07, gt=0)
    logit_scale_extra: float = Field(default=1.0, gt=0)
    intra: bool = True
    keys: bool = True
    augment: bool = True
    augment_rate: float = Field(default=0.1, ge=0, le=1)
    hide_name: float = Field(default=0.3, ge=0, le=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    chunks: int = Field(default=1, ge=1)
    validation_queries: int = Field(default=500, ge=10)
    every_n_steps: int | None = Field(default=None, ge=1)


class Adapt(Settings):
    """Fine-tuning on text to code; see `code_search.learn.train.adapt` for each value."""

    steps: int = Count
    batch_size: int = Field(ge=2)
    scale: float = Field(default=20.0, gt=0)
    hide_name: float = Field(default=0.3, ge=0, le=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    chunks: int = Field(default=1, ge=1)
    validation_queries: int = Field(default=500, ge=10)
    every_n_steps: int | None = Field(default=None, ge=1)
    fusion_queries: int = Field(default=1000, ge=10)


class Trainer(core.config.Trainer):
    """That of `core.config`, and what follows from it."""

    @property
    def encoding(self) -> str:
        """Precision of an encoder that is validated during training, as `CodeEncoder` names it."""
        return "bf16" if self.precision == "bf16-mixed" else "32"


def _counts() -> list[int | Literal["all"]]:
    return [0, 1, 2, 4, 8, "all"]


class Robustness(Settings):
    """Renaming of variables: on how many functions, how much of it, how often drawn."""

    functions: int = Field(default=300, ge=10)
    counts: list[int | Literal["all"]] = Field(default_factory=_counts)
    rates: list[float] = Field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])
    draws: int = Field(default=3, ge=1)


class Evaluate(Settings):
    """The evaluation sample, and further benchmarks: CodeSearchNet or CodeXGLUE language folders."""

    queries: int = Field(default=1000, ge=10)
    sample_seed: int = 0
    bootstrap: int = Field(default=1000, ge=100)
    precision: Literal["32", "bf16"] = "32"
    benchmarks: list[str] = Field(default_factory=list)
    robustness: Robustness = Robustness()


class Registry(Settings):
    """The repository whose index travels with the model (null: the standard library without its tests)."""

    index_root: str | None = None
    index_exclude: list[str] = Field(default_factory=list)


class Evidence(Settings):
    """The comparison over seeds: on how many pairs, how long each arm trains, what it is tested on."""

    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    steps: int = Field(default=300, ge=1)
    max_train: int | None = Field(default=20_000, ge=100)
    queries: int = Field(default=1000, ge=10)


class Params(Settings):
    """A params file. ``threads``: of torch; equal results need the same number."""

    seed: int = 0
    threads: int | None = Field(default=None, ge=1)
    data: Data
    model: Model
    pretrain: Pretrain
    adapt: Adapt
    trainer: Trainer = Trainer()
    evaluate: Evaluate = Evaluate()
    registry: Registry = Registry()
    evidence: Evidence = Evidence()
