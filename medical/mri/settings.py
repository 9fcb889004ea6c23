"""The parameters of the pipeline, section by section, as its params files hold them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Settings, Trainer

Count = Field(ge=1)
Rate = Field(default=0.001, gt=0)
Temperature = Field(default=0.1, gt=0)


Turn = Literal["rotate", "scale", "flip", "eighths", "none"]


def _turns() -> list[Turn]:
    return ["rotate", "scale", "flip", "eighths", "none"]


def _fractions() -> dict[str, float]:
    return {"train": 0.6, "valid": 0.1, "test": 0.3}


class Demo(Settings):
    """The generated hearts; see `medical.mri.demo.write_demo`."""

    patients: int = Field(default=48, ge=6)
    unlabelled: int = Field(default=14, ge=0)
    pixels: int = Field(default=64, ge=16)
    broken: bool = True


class Data(Settings):
    """Where the volumes come from.

    ``demo`` is generated in ACDC's layout; ``acdc``, ``msd`` (any task, with ``dataset.json``) and ``mmwhs``
    read ``root``; ``manifest`` is own data: a CSV with the columns of `medical.mri.data.layouts.FORM`, whose mask
    values 1, 2, ... are named in ``structures``. ``channel`` is of 4D files, ``official_split`` of ACDC.
    """

    source: Literal["demo", "acdc", "msd", "mmwhs", "manifest"] = "demo"
    root: str | None = None
    manifest: str | None = None
    structures: list[str] = Field(default_factory=list)
    channel: int | None = Field(default=None, ge=0)
    fractions: dict[str, float] = Field(default_factory=_fractions)
    split_seed: int = 0
    official_split: bool = False
    bias_correction: bool = False
    on_problem: Literal["quarantine", "stop"] = "quarantine"
    largest_share: float = Field(default=0.2, ge=0, le=1)
    oblique: Literal["warn", "reject"] = "warn"
    largest_angle: float = Field(default=20.0, gt=0, le=55)
    non_finite: Literal["reject", "fill"] = "reject"
    strays: Literal["reject", "background"] = "reject"
    scheduler: str = "serial"
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _complete(self) -> Data:
        if self.source != "demo" and not self.root:
            raise ValueError(f"data.source: {self.source} needs data.root, the folder that holds the data")
        if self.source == "manifest" and not (self.manifest and self.structures):
            raise ValueError("data.source: manifest needs data.manifest and data.structures")
        if list(self.fractions) != ["train", "valid", "test"]:
            raise ValueError("data.fractions needs train, valid and test, in this order")
        if self.official_split and self.source != "acdc":
            raise ValueError(f"data.official_split is that of acdc; {self.source} has none: set it to false")
        if self.official_split and "fractions" in self.model_fields_set:
            raise ValueError("data.official_split leaves nothing to data.fractions: give one of the two")
        if self.channel is not None and self.source not in ("msd", "manifest"):
            raise ValueError(
                f"data.channel is of msd and manifest; {self.source} has no 4D files: leave it out"
            )
        return self


class Prepare(Settings):
    """In-plane target spacing in mm (null: as in the files), and size (right, anterior) of the slices."""

    spacing: float | None = Field(default=None, gt=0)
    size: list[int] = Field(min_length=2, max_length=2)


class Model(Settings):
    """The network; see `medical.mri.model.Architecture`."""

    widths: list[int] = Field(default_factory=lambda: [16, 32, 64, 128, 128, 128], min_length=2)
    head: Literal["flatten", "mean"] = "flatten"
    head_hidden: int = Field(default=1024, ge=1)
    head_dim: int = Field(default=128, ge=1)
    momentum: float = Field(default=0.01, gt=0, le=1)


class Pretrain(Settings):
    """Batches of both pretraining stages: so many volumes, one slice from each of so many partitions."""

    volumes: int = Field(default=3, ge=1)
    parts: int = Field(default=4, ge=1)
    partition: Literal["balanced", "official"] = "balanced"
    brightness: float = Field(default=0.3, ge=0)
    contrast: float = Field(default=0.3, ge=0, lt=1)


class Global(Settings):
    """Stage 1; see `medical.mri.learn.train.pretrain_global`."""

    kind: Literal["gr", "gd-", "gd", "gd-official", "pcl"] = "gd"
    steps: int = Count
    temperature: float = Temperature
    threshold: float = Field(default=0.1, gt=0)
    base_temperature: float | None = Field(default=None, gt=0)
    learning_rate: float = Rate
    crop: float = Field(default=100 / 192, gt=0, le=1)

    @model_validator(mode="after")
    def _of_pcl(self) -> Global:
        if self.base_temperature is not None and self.kind != "pcl":
            raise ValueError(f"pretrain_global.base_temperature is of kind pcl; {self.kind} does not use it")
        return self


class Local(Settings):
    """Stage 2; see `medical.mri.learn.train.pretrain_local`."""

    kind: Literal["lr", "ld"] = "lr"
    steps: int = Count
    blocks: int = Field(default=3, ge=1)
    kernel: Literal[1, 3] = 3
    anchors: Literal[9, 13] = 13
    negatives: Literal["table", "all"] = "table"
    projection_dim: int | None = Field(default=None, ge=1)
    temperature: float = Temperature
    learning_rate: float = Rate


class FineTune(Settings):
    """Stage 3; see `medical.mri.learn.train.finetune`.

    ``labelled`` lists the numbers of labelled volumes; each is trained from the pretrained and from random
    weights. ``extras``: ``mixup`` with the fewest labels, and ``self_training`` with every number of them: the
    network's own masks of the unlabelled rest are trained on too, and answered anew in each of ``rounds``. Of the
    networks that were pretrained and have the most labels, the best on the validation volumes is the one that is
    served.
    """

    labelled: list[int] = Field(min_length=1)
    steps: int = Count
    batch_size: int = Field(default=20, ge=1)
    learning_rate: float = Rate
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    loss: Literal["dice", "dice_ce"] = "dice_ce"
    mixup_alpha: float = Field(default=0.1, gt=0)
    rounds: int = Field(default=2, ge=1)
    extras: list[Literal["mixup", "self_training"]] = Field(default_factory=list)
    turns: list[Turn] = Field(default_factory=_turns, min_length=1)
    elastic: float = Field(default=5 / 192, ge=0, lt=0.5)
    brightness: float = Field(default=0.1, ge=0)
    contrast: float = Field(default=0.2, ge=0, lt=1)
    validate_every: int = Field(default=50, ge=1)

    @property
    def fitting(self) -> dict[str, Any]:
        """What `medical.mri.learn.train.finetune` takes in every run."""
        kept = {"steps", "batch_size", "learning_rate", "schedule", "warmup", "loss", "validate_every"}
        changes = self.model_dump(include={"brightness", "contrast"})
        return {
            **self.model_dump(include=kept),
            "augmentation": {"turns": tuple(self.turns), "sigma": self.elastic, **changes},
        }


class Evaluate(Settings):
    """Bootstrap resamples of patients."""

    bootstrap: int = Field(default=1000, ge=100)


class Evidence(Settings):
    """The comparison over seeds; steps of fine-tuning and of the two losses as in their sections unless given here.

    ``draws``: of labelled volumes a seed, over which its Dice is averaged.
    """

    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    labelled: list[int] = Field(default_factory=lambda: [1, 2, 8], min_length=1)
    draws: int = Field(default=1, ge=1)
    steps: int | None = Field(default=None, ge=1)
    global_steps: int | None = Field(default=None, ge=1)
    local_steps: int | None = Field(default=None, ge=1)


class Params(Settings):
    """A params file. ``threads``: of torch; equal results need the same number."""

    seed: int = 0
    threads: int | None = Field(default=None, ge=1)
    data: Data
    prepare: Prepare
    model: Model = Model()
    pretrain: Pretrain = Pretrain()
    pretrain_global: Global
    pretrain_local: Local
    finetune: FineTune
    trainer: Trainer = Trainer()
    evaluate: Evaluate = Evaluate()
    evidence: Evidence = Evidence()
