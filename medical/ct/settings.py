"""The parameters of the pipeline, section by section, as its params files hold them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Settings, Trainer

Count = Field(ge=1)
Window = Literal["lung", "chest", "brain", "bone", "abdomen", "angio", "per_slice_minmax"]


class Demo(Settings):
    """The generated data set; see `medical.ct.demo.write_demo`."""

    patients: int = Field(default=24, ge=4)
    size: int = Field(default=64, ge=32)
    density: float = Field(default=0.5, gt=0, le=4)


class Data(Settings):
    """Where the slices come from; see `medical.ct.data.layouts.read_source` for the sources.

    ``window``: one for the whole run; ``per_slice_minmax`` is the published scaling. ``channel``: of 4-D
    NIfTI files. ``nifti_orientation``: whether their affine is believed. ``scheduler``: serial, processes,
    local (Dask on this machine) or the address of a Dask scheduler.
    """

    source: Literal["demo", "dicom", "nifti", "lidc", "autopet", "covid_ct_md", "manifest"] = "demo"
    root: str | None = None
    manifest: str | None = None
    window: Window = "chest"
    channel: int | None = Field(default=None, ge=0)
    nifti_orientation: Literal["auto", "header", "stored"] = "auto"
    fewest_slices: int = Field(default=10, ge=1)
    on_problem: Literal["quarantine", "stop"] = "quarantine"
    scheduler: str = "serial"
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _complete(self) -> Data:
        if self.source != "demo" and not self.root:
            raise ValueError(f"data.source: {self.source} needs data.root, the folder that holds the data")
        if self.source == "manifest" and not self.manifest:
            raise ValueError("data.source: manifest needs data.manifest, the CSV that lists the series")
        return self


class Hash(Settings):
    """The difference hash: 8 gives 64 bits, 16 gives 256. ``cache`` outlives the outputs.

    ``thresholds``: at which the kept share is reported.
    """

    size: Literal[8, 16] = 8
    cache: str = ".kindred/ct_hashes"
    scheduler: str = "serial"
    workers: int | None = Field(default=None, ge=1)
    thresholds: list[int] = Field(default_factory=lambda: list(range(17)))


class Select(Settings):
    """Which slices are duplicates; see `medical.ct.select.select`.

    ``target_ratio`` (a share) overrides ``threshold``, which is then found by bisection, to within
    ``tolerance``. ``encoder``: folder of a slice encoder, for the methods embedding and semdedup; without
    one they use the untrained encoder of the section model. ``compare_size``: side of the images that SSIM,
    mutual information and their like compare.
    """

    method: Literal[
        "dhash", "ssim", "nmi", "ncc", "mse", "embedding", "semdedup", "every_n", "entropy", "random"
    ] = "dhash"
    threshold: float = 6
    scope: Literal["volume", "dataset"] = "volume"
    target_ratio: float | None = Field(default=None, gt=0, le=1)
    tolerance: float = Field(default=0.02, ge=0)
    clusters: int = Field(default=100, ge=1)
    encoder: str | None = None
    compare_size: int = Field(default=64, ge=16)


class Model(Settings):
    """The slice encoder; sizes that are null are those of its name."""

    encoder: str = "resnet18"
    size: int = Field(default=48, ge=16)
    blocks: list[int] | None = None
    widths: list[int] | None = None
    small: bool | None = None

    @property
    def architecture(self) -> dict[str, Any]:
        """What `medical.ct.model.new_encoder` takes besides window and seed."""
        return self.model_dump()


class Pretrain(Settings):
    """Contrastive pretraining; see `medical.ct.learn.train.pretrain` for each value.

    ``epochs``: passes over the slices. ``match``: the reduced set gets as many epochs as the full one (the
    published comparison), or as many steps.
    """

    method: Literal["simclr", "moco", "swav"] = "simclr"
    epochs: float = Field(default=10, gt=0)
    match: Literal["epochs", "steps"] = "epochs"
    batch_size: int = Field(default=64, ge=2)
    dim: int = Count
    hidden: int = Count
    temperature: float = Field(default=0.1, gt=0)
    spare_volume: bool = False
    momentum: float = Field(default=0.99, ge=0, le=1)
    queue_size: int = Field(default=4096, ge=1)
    prototypes: int = Field(default=500, ge=2)
    freeze_prototypes: int = Field(default=0, ge=0)
    crop: list[float] = Field(default_factory=lambda: [0.4, 1.0], min_length=2, max_length=2)
    small_crops: int = Field(default=0, ge=0)
    small_crop: list[float] = Field(default_factory=lambda: [0.1, 0.33], min_length=2, max_length=2)
    strength: dict[str, float | bool] = Field(default_factory=dict)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)

    @property
    def training(self) -> dict[str, Any]:
        """What `medical.ct.learn.train.pretrain` takes, but for the steps."""
        values = self.model_dump(exclude={"epochs", "match"})
        return {**values, "crop": tuple(self.crop), "small_crop": tuple(self.small_crop)}


class Finetune(Settings):
    """Fine-tuning on slice labels; see `medical.ct.learn.train.finetune`. 0 epochs leave it out.

    ``regularisation``: inverse strength of the penalty of the linear probe.
    """

    epochs: float = Field(default=5, ge=0)
    batch_size: int = Field(default=64, ge=2)
    freeze: float = Field(default=0.15, ge=0, lt=1)
    balanced: bool = True
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    regularisation: float = Field(default=0.1, gt=0)

    @property
    def training(self) -> dict[str, Any]:
        """What `medical.ct.learn.train.finetune` takes, but for the steps."""
        return self.model_dump(exclude={"epochs", "regularisation"})


class Evaluate(Settings):
    """Resamples of the intervals, and how many groups the gallery shows."""

    bootstrap: int = Field(default=500, ge=50)
    gallery: int = Field(default=12, ge=1)


class Registry(Settings):
    """Which pretrained encoder is registered."""

    encoder: Literal["reduced", "full"] = "reduced"


class Evidence(Settings):
    """The comparison over seeds."""

    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    epochs: float = Field(default=10, gt=0)
    threshold: int = Field(default=6, ge=0)


class Params(Settings):
    """A params file. ``threads``: of torch; equal results need the same number."""

    seed: int = 0
    threads: int | None = Field(default=None, ge=1)
    data: Data = Data()
    hash: Hash = Hash()
    select: Select = Select()
    model: Model = Model()
    pretrain: Pretrain
    finetune: Finetune = Finetune()
    trainer: Trainer = Trainer()
    evaluate: Evaluate = Evaluate()
    registry: Registry = Registry()
    evidence: Evidence = Evidence()
