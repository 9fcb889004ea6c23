"""The parameters of the pipeline, section by section, as its params files hold them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Settings, Trainer

Count = Field(ge=1)
One = Field(default=1, ge=1)


def _fractions() -> dict[str, float]:
    return {"train": 0.7, "valid": 0.1, "test": 0.2}


class Demo(Settings):
    """Size of the generated data: studies, and the share of modalities that are missing at random."""

    studies: int = Field(default=900, ge=30)
    missing: float = Field(default=0.3, ge=0, le=0.9)


class Link(Settings):
    """Which ECG goes with which film; see `medical.alignment.data.link.Rule`. MoRE: all, 60, dates_only."""

    policy: Literal["nearest", "earliest", "all"] = "nearest"
    days: float = Field(default=1.0, ge=0)
    before_only: bool = False
    dates_only: bool = False
    most: int | None = Field(default=None, ge=1)


class Data(Settings):
    """Where films, ECGs and reports come from.

    ``demo``: generated, in MIMIC's layout. ``mimic``: ``root`` holds MIMIC-CXR-JPG, MIMIC-CXR's reports and
    MIMIC-IV-ECG. ``symile_mimic``, ``chexpert``, ``actualmed``, ``indiana``: their folders. ``manifest``: own data.
    ``findings``: label columns; empty: all that a manifest names. ``empty_reports``: drop the text of a study
    without a usable report, or make one of its labels. ``uncertain``: what the label -1 becomes.
    """

    source: Literal["demo", "mimic", "symile_mimic", "chexpert", "actualmed", "indiana", "manifest"] = "demo"
    root: str | None = None
    manifest: str | None = None
    findings: list[str] = Field(default_factory=list)
    link: Link = Link()
    keep_unlinked: bool = True
    empty_reports: Literal["drop", "labels"] = "drop"
    official_split: bool = False
    fractions: dict[str, float] = Field(default_factory=_fractions)
    uncertain: Literal["ignore", "one", "zero"] = "ignore"
    mask_same_text: bool = True
    bits: int | None = Field(default=None, ge=8, le=16)
    smallest: int = Field(default=128, ge=1)
    on_problem: Literal["quarantine", "stop"] = "quarantine"
    largest_share: float = Field(default=0.5, ge=0, le=1)
    scheduler: str = "serial"
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _complete(self) -> Data:
        if self.source != "demo" and not self.root:
            raise ValueError(f"data.source: {self.source} needs data.root, the folder that holds the data")
        if self.source == "manifest" and not self.manifest:
            raise ValueError("data.source: manifest needs data.manifest, the CSV that lists the cases")
        return self


class Prepare(Settings):
    """Form of the inputs; see `medical.alignment.preprocess.Preprocessing`."""

    image_size: int = Field(default=224, ge=8)
    equalize: bool = False
    mean: float = 0.499
    std: float = Field(default=0.293, gt=0)
    fs: float = Field(default=100.0, gt=0)
    seconds: float = Field(default=10.0, gt=0)
    removal: Literal["none", "highpass", "median"] = "highpass"
    scale: Literal["mv_clip", "per_record", "per_lead_minmax"] = "mv_clip"
    flat: Literal["quarantine", "mask"] = "quarantine"
    default_unit: str | None = None


class Lora(Settings):
    """Low-rank adapters of the text encoder; see `medical.alignment.model.lora.add_lora`."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=8.0, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    targets: list[str] = Field(default_factory=lambda: ["query", "value"])
    bias: Literal["none", "all", "lora_only"] = "all"


class Model(Settings):
    """The towers; see `medical.alignment.model.towers.Architecture` for the sizes.

    ``text``: ``minilm``, ``tiny`` (random weights of text_width, text_layers, text_heads) or a local transformers
    folder. ``lora``: null trains the text encoder whole.
    """

    text: str = "minilm"
    text_length: int = Field(default=128, ge=4)
    text_width: int = Count
    text_layers: int = Count
    text_heads: int = Count
    lora: Lora | None = Lora()
    patch: int = Count
    ecg_patch: int = Count
    ecg_window: int = Count
    ecg_stem: int = Count
    width: int = Count
    depth: int = Count
    heads: int = Count
    attention_drop: list[float] = Field(default_factory=lambda: [0.3, 0.3], min_length=2, max_length=2)
    dim: int = Count
    head_hidden: int = Count
    head_norm: Literal["batch", "layer"] = "batch"
    pool: Literal["cls", "patches"] = "cls"

    @property
    def towers(self) -> dict[str, Any]:
        """Sizes, as `medical.alignment.model.towers.Architecture` names them."""
        text = {"text", "text_length", "text_width", "text_layers", "text_heads", "lora"}
        return self.model_dump(exclude=text)

    @property
    def language(self) -> dict[str, Any]:
        """The text side, as `medical.alignment.learn.train.new_space` names it."""
        return {
            "encoder": self.text,
            "length": self.text_length,
            "text_width": self.text_width,
            "text_layers": self.text_layers,
            "text_heads": self.text_heads,
            "lora": None if self.lora is None else self.lora.model_dump(),
        }


class Objective(Settings):
    """One of ``more``, ``pairwise``, ``symile``, ``gram``; see `medical.alignment.objective.Alignment`."""

    method: Literal["more", "pairwise", "symile", "gram"] = "more"
    temperature: float = Field(default=0.07, gt=0)
    learnable: bool = True
    edge: float = Field(default=0.0, ge=0)
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    negatives: Literal["n", "n_squared"] = "n"


class Augment(Settings):
    """Random views; see `medical.alignment.augment.Augmentation`."""

    crop: float = Field(default=0.85, gt=0, le=1)
    flip: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)
    warp: float = Field(default=0.1, ge=0, lt=1)
    noise: float = Field(default=0.0, ge=0)


class Pretrain(Settings):
    """The training of the space."""

    steps: int = Count
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)
    augment: Augment | None = None
    validate_every: int | None = Field(default=None, ge=1)
    gradient_clip: float | None = Field(default=None, gt=0)
    every_n_steps: int | None = Field(default=None, ge=1)

    @property
    def optimization(self) -> dict[str, Any]:
        """What `core.learning.module.ContrastiveModule` takes."""
        return self.model_dump(include={"learning_rate", "weight_decay", "warmup", "schedule"})


class Adapt(Settings):
    """The findings head; see `medical.alignment.findings.fit_findings`."""

    steps: int = Count
    learning_rate: float = Field(default=0.05, gt=0)
    weight_decay: float = Field(default=0.001, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)


class Evaluate(Settings):
    """``prompts``: a packaged set (demo, chest) or a YAML file. ``explained``: test cases that are drawn."""

    prompts: str = "chest"
    bootstrap: int = Field(default=1000, ge=50)
    explained: int = Field(default=3, ge=1)


class Evidence(Settings):
    """The comparison over seeds: how long each arm trains, and which share of modalities it lacks."""

    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    steps: int = Count
    missing: list[float] = Field(default_factory=lambda: [0.0, 0.3, 0.6])
    studies: int = Field(default=900, ge=30)
    modality_dropout: float = Field(default=0.3, ge=0, lt=1)
    temperature: dict[str, float] = Field(default_factory=dict)


class Params(Settings):
    """A params file. ``threads``: of torch; equal results need the same number."""

    seed: int = 0
    threads: int | None = Field(default=None, ge=1)
    data: Data
    prepare: Prepare
    model: Model
    objective: Objective
    pretrain: Pretrain
    adapt: Adapt
    trainer: Trainer
    evaluate: Evaluate
    evidence: Evidence
