"""The parameters of the pipeline, section by section, as its params files hold them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Settings, Trainer
from earth_observation.data.checks import Limits

Count = Field(ge=1)
Split = Literal["train", "valid", "test"]
Rule = Literal["auto", "dn", "dn_offset", "reflectance", "db", "power", "amplitude", "raw"]


def _fractions() -> dict[Split, float]:
    return {"train": 0.6, "valid": 0.1, "test": 0.3}


class Demo(Settings):
    """The generated data; see `earth_observation.demo.write_demo`."""

    places: int = Field(default=40, ge=3)
    side: int = Field(default=96, ge=24, multiple_of=6)
    seasons: int = Field(default=4, ge=1, le=4)
    nuisance: float = Field(default=1.0, ge=0)
    label_noise: float = Field(default=0.15, ge=0, lt=1)


class Data(Settings):
    """Where the images come from; see `earth_observation.data.sources.read_items`.

    ``product`` is of SSL4EO-S12; ``sensor``, ``bands``, ``gsd``, ``classes`` and ``georeferenced`` are of own
    data. ``scale``: product -> how its numbers are stored; "auto" finds out. ``align``: what to do with partners
    and labels on another grid: refuse, or warp. ``label_offset`` is added to the classes of rasters.
    """

    source: Literal["demo", "ssl4eo", "bigearthnet", "eurosat", "eurosat_rgb", "manifest"] = "demo"
    root: str | None = None
    manifest: str | None = None
    product: Literal["s2c", "s2a"] = "s2c"
    sensor: Literal["s2_l1c", "s2_l2a", "s1", "rgb", "own"] = "s2_l1c"
    bands: list[str] = Field(default_factory=list)
    gsd: float = Field(default=10.0, gt=0)
    classes: list[str] = Field(default_factory=list)
    label_offset: int = 0
    georeferenced: bool = True
    scale: dict[str, Rule] = Field(default_factory=dict)
    align: Literal["refuse", "warp"] = "refuse"
    fractions: dict[Split, float] = Field(default_factory=_fractions)
    on_problem: Literal["quarantine", "stop"] = "quarantine"
    limits: Limits = Limits()
    scheduler: str = "serial"
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _complete(self) -> Data:
        if self.source != "demo" and not self.root:
            raise ValueError(f"data.source: {self.source} needs data.root, the folder that holds the data")
        if self.source == "manifest" and self.sensor == "own" and not self.bands:
            raise ValueError("data.sensor: own needs data.bands, the names of the bands in order")
        return self

    @property
    def own(self) -> dict[str, Any]:
        """What `read_own` takes besides."""
        names = {"sensor", "bands", "gsd", "classes", "label_offset", "georeferenced"}
        return self.model_dump(include=names) if self.source == "manifest" else {}


class Prepare(Settings):
    """How chips are cut and normalised; see `earth_observation.data.store.write_store`."""

    size: int = Field(default=48, ge=8)
    stride: int | None = Field(default=None, ge=1)
    statistics: Literal["data", "ssl4eo_50k", "ssl4eo_full"] = "ssl4eo_50k"
    min_fraction: float = Field(default=0.0, ge=0, lt=1)
    min_valid: float = Field(default=0.5, ge=0, le=1)
    blocks: int | None = Field(default=None, ge=1)


class Model(Settings):
    """The encoder; see `earth_observation.model.build_encoder`. ``start``: a local checkpoint, or null."""

    product: str = "s2"
    backbone: Literal["resnet", "vit"] = "resnet"
    widths: list[int] = Field(default_factory=lambda: [16, 32, 64, 128])
    blocks: list[int] = Field(default_factory=lambda: [1, 1, 1, 1])
    bottleneck: bool = False
    small: bool = True
    patch: int = Field(default=8, ge=1)
    dim: int = Field(default=96, ge=1)
    depth: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    start: str | None = None
    input_init: Literal["random", "inflate", "copy"] = "random"

    @property
    def stride(self) -> int:
        """Pixels a cell of the encoder's map."""
        return self.patch if self.backbone == "vit" else 8 if self.small else 32

    @property
    def architecture(self) -> dict[str, Any]:
        """What decides the shapes of the encoder's weights."""
        names = ("widths", "blocks", "bottleneck", "small") if self.backbone == "resnet" else (
            "patch", "dim", "depth", "heads"
        )  # fmt: skip
        return {"backbone": self.backbone, **self.model_dump(include=set(names))}


class Pretrain(Settings):
    """SoftCon; ``weight`` 0 is MoCo v3. See `earth_observation.learn.pretrain.pretrain` for each value."""

    steps: int = Field(ge=0)
    batch_size: int = Field(ge=2)
    crop: int = Field(default=32, ge=8)
    objective: Literal["softcon", "moco", "supervised"] = "softcon"
    weight: float = Field(default=0.1, ge=0)
    form: Literal["sigmoid", "softmax", "mse"] = "sigmoid"
    similarity: Literal["cosine", "jaccard"] = "cosine"
    temperature: float = Field(default=0.2, gt=0)
    momentum: float = Field(default=0.99, ge=0, le=1)
    mask_ratio: float = Field(default=0.5, ge=0, lt=1)
    mask_mode: Literal["drop", "token"] = "drop"
    hidden: int = Field(default=256, ge=1)
    projection: int = Field(default=64, ge=1)
    projector_layers: int = Field(default=3, ge=1)
    least_area: float = Field(default=0.2, gt=0, le=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    every_n_steps: int | None = Field(default=None, ge=1)


class Adapt(Settings):
    """The heads on few labels: ``labelled`` share of the training chips; steps of the dense heads.

    ``finetune`` steps train encoder and class head together afterwards; 0 keeps the encoder frozen.
    """

    labelled: float = Field(default=0.1, gt=0, le=1)
    regularisation: float = Field(default=1.0, gt=0)
    map_steps: int = Field(default=200, ge=0)
    change_steps: int = Field(default=100, ge=0)
    finetune_steps: int = Field(default=0, ge=0)
    batch_size: int = Field(default=16, ge=1)
    width: int = Field(default=32, ge=4)
    learning_rate: float = Field(default=3e-3, gt=0)
    every_n_steps: int | None = Field(default=None, ge=1)


class Scene(Settings):
    """Whole-scene inference; see `earth_observation.scene.map_scene`.

    ``path`` null: a test image is mapped, with its own mask. ``mask``: scene classification of the named scene.
    """

    path: str | None = None
    mask: str | None = None
    tile: int = Field(default=48, ge=8)
    stride: int = Field(default=32, ge=1)
    batch_size: int = Field(default=32, ge=1)
    scheduler: str = "serial"

    @model_validator(mode="after")
    def _complete(self) -> Scene:
        if self.mask is not None and self.path is None:
            raise ValueError(
                "scene.mask belongs to scene.path; masks of the images of a manifest stand in its column mask"
            )
        if self.stride > self.tile:
            raise ValueError(f"scene.stride: {self.stride} leaves gaps between tiles of {self.tile} pixels")
        return self


class Evaluate(Settings):
    """Shares of labels of the linear probe, neighbours of kNN, resamples of the intervals."""

    shares: list[float] = Field(default_factory=lambda: [0.01, 0.1, 1.0])
    neighbours: int = Field(default=20, ge=1)
    bootstrap: int = Field(default=200, ge=50)
    sample_seed: int = 0


class Evidence(Settings):
    """The comparison over seeds. ``None`` takes the value of the pipeline's own stage.

    ``draws``: of the labelled chips of each share, over which a seed's score is averaged.
    """

    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    steps: int | None = Field(default=None, ge=1)
    start_steps: int = Field(default=100, ge=1)
    draws: int = Field(default=10, ge=1)
    places: int | None = Field(default=None, ge=3)


class Params(Settings):
    """A params file. ``threads``: of torch; equal results need the same number."""

    seed: int = 0
    threads: int | None = Field(default=None, ge=1)
    data: Data
    prepare: Prepare = Prepare()
    model: Model = Model()
    pretrain: Pretrain
    adapt: Adapt = Adapt()
    trainer: Trainer = Trainer()
    scene: Scene = Scene()
    evaluate: Evaluate = Evaluate()
    evidence: Evidence = Evidence()

    @model_validator(mode="after")
    def _fitting(self) -> Params:
        stride, sizes = self.model.stride, {"scene.tile": self.scene.tile, "scene.stride": self.scene.stride}
        if self.model.backbone == "vit":  # a ResNet takes chips of any size
            sizes |= {"prepare.size": self.prepare.size, "pretrain.crop": self.pretrain.crop}
        if wrong := {name: size for name, size in sizes.items() if size % stride}:
            name, size = next(iter(wrong.items()))
            near = f"{size - size % stride} or {size + stride - size % stride}"
            raise ValueError(
                f"{name}: {size} is no multiple of {stride}, the pixels a cell of the {self.model.backbone}: "
                f"use {near}" + (f" (also {', '.join(list(wrong)[1:])})" if len(wrong) > 1 else "")
            )
        if self.model.backbone == "resnet" and self.pretrain.mask_mode != "drop":
            raise ValueError(
                "pretrain.mask_mode: token needs model.backbone vit; a ResNet sees hidden patches as zeros"
            )
        return self
