"""The parameters of the pipeline, section by section, as its params files hold them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Settings, Trainer
from medical.ecg.data.scp import LabelSet

Count = Field(ge=1)


def _folds() -> dict[str, list[int]]:
    return {"train": [1, 2, 3, 4, 5, 6, 7, 8], "valid": [9], "test": [10]}


class Demo(Settings):
    """The generated data; see `medical.ecg.demo.write_demo`."""

    records: int = Field(default=1200, ge=40)
    noise: float = Field(default=0.06, ge=0)
    strength: float = Field(default=1.0, gt=0)


class Data(Settings):
    """Where the recordings come from.

    ``demo``: generated, in PTB-XL's layout. ``ptbxl``: ``root`` is the folder of PTB-XL. ``cinc``: ``root`` holds
    .hea/.mat pairs of the PhysioNet challenges. ``manifest``: ``manifest`` lists recordings below ``root``.
    ``branches``: a branch map (YAML); by default the shipped one for SCP codes, and a single branch elsewhere.
    """

    source: Literal["demo", "ptbxl", "cinc", "manifest"] = "demo"
    root: str | None = None
    manifest: str | None = None
    rate: Literal[100, 500] = 100
    labels: LabelSet = "all"
    min_likelihood: float = Field(default=0.0, ge=0, le=100)
    unknown_codes: Literal["error", "ignore"] = "error"
    folds: dict[str, list[int]] = Field(default_factory=_folds)
    min_positives: int = Field(default=1, ge=1)
    branches: str | None = None
    verify_checksum: bool = False
    on_problem: Literal["quarantine", "stop"] = "quarantine"
    scheduler: str = "serial"
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _complete(self) -> Data:
        if self.source != "demo" and not self.root:
            raise ValueError(f"data.source: {self.source} needs data.root, the folder that holds the data")
        if self.source == "manifest" and not self.manifest:
            raise ValueError("data.source: manifest needs data.manifest, the CSV that lists the recordings")
        if set(self.folds) != {"train", "valid", "test"} or not all(self.folds.values()):
            raise ValueError("data.folds needs the splits train, valid and test, each with folds")
        flat = [fold for chosen in self.folds.values() for fold in chosen]
        if len(flat) != len(set(flat)):
            raise ValueError("data.folds names a fold in two splits")
        return self


class Signal(Settings):
    """What recordings are brought to; see `medical.ecg.data.conform.Form` and `medical.ecg.preprocess`."""

    fs: float = Field(default=100.0, gt=0)
    seconds: float = Field(default=10.0, gt=0)
    highpass: float = Field(default=0.5, ge=0)
    standardise: bool = False
    length: Literal["fit", "refuse"] = "fit"
    flat: Literal["quarantine", "mask"] = "quarantine"
    gap_ms: float = Field(default=50.0, ge=0)
    default_unit: str | None = None


class Model(Settings):
    """The networks; ``prototypes`` of a label by branch, at most one for each training recording with it."""

    blocks: list[int] = Field(default_factory=lambda: [2, 2, 2, 2], min_length=4, max_length=4)
    widths: list[int] = Field(default_factory=lambda: [64, 128, 256, 512], min_length=4, max_length=4)
    bottleneck: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    addon: Literal["linear", "identity"] = "linear"
    classifier: Literal["published", "balanced"] = "published"
    prototypes: dict[str, int] = Field(default_factory=lambda: {"rhythm": 5, "morphology": 18, "global": 7})
    pairs: int = Field(default=0, ge=0)
    window: int = Field(default=3, ge=1)
    pool: Literal["mean", "topk", "max"] = "mean"
    scale: float | None = Field(default=None, gt=0)

    @property
    def backbone(self) -> dict[str, Any]:
        """What `medical.ecg.model.branch.Backbone` takes."""
        found = self.model_dump(include={"blocks", "widths", "bottleneck", "dropout"})
        return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}


class Training(Trainer):
    """What all trainings share; ``weighting`` is that of the positives in the cross entropy."""

    batch_size: int = Field(default=32, ge=2)
    weight_decay: float = Field(default=1.7e-4, ge=0)
    weighting: Literal["none", "published", "standard"] = "published"
    shift: float = Field(default=0.0, ge=0, lt=1)
    scale: float = Field(default=0.0, ge=0, lt=1)
    noise: float = Field(default=0.0, ge=0)

    @property
    def fitting(self) -> dict[str, Any]:
        """What `core.learning.fit.fit` takes."""
        return self.model_dump(include=set(Trainer.model_fields))

    @property
    def learning(self) -> dict[str, Any]:
        """What the trainings on labels take."""
        augment = self.model_dump(include={"shift", "scale", "noise"})
        chosen = self.model_dump(include={"batch_size", "weight_decay", "weighting"})
        return {**chosen, "augment": augment if any(augment.values()) else None}


class Pretrain(Settings):
    """The backbone before there are prototypes: contrastive views (0 steps: none), then labels through a head."""

    contrastive_steps: int = Field(default=0, ge=0)
    contrastive_batch: int = Field(default=64, ge=2)
    temperature: float = Field(default=0.1, gt=0)
    steps: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    head: Literal["mean", "mean_max"] = "mean"


class Joint(Settings):
    """Backbone, add-on layers and prototypes together; factors of the loss terms."""

    steps: int = Count
    learning_rate: float = Field(default=1e-3, gt=0)
    start: Literal["data", "normal"] = "data"
    contrastive_term: bool = True
    separation_mode: Literal["published", "absent_only"] = "published"
    cluster: float = Field(default=0.004, ge=0)
    separation: float = Field(default=0.0004, ge=0)
    sparsity: float = Field(default=0.0, ge=0)
    diversity: float = Field(default=250.0, ge=0)
    contrastive: float = Field(default=300.0, ge=0)

    @property
    def options(self) -> dict[str, Any]:
        """What `medical.ecg.learn.supervised.joint` takes."""
        from medical.ecg.losses import LossWeights

        names = {"cluster", "separation", "sparsity", "diversity", "contrastive"}
        chosen = self.model_dump(include={"steps", "learning_rate", "start", "separation_mode"})
        loss = LossWeights(**self.model_dump(include=names))
        return {**chosen, "contrastive": self.contrastive_term, "loss": loss}


class Project(Settings):
    """Projection, classifier and fusion.

    The fusion's penalty is chosen on the validation records among ``l1`` (few prototypes a label) and ``l2`` (all
    vote, better where labels have few recordings).
    """

    distinct: bool = True
    l1: list[float] = Field(default_factory=lambda: [1e-3, 3e-4, 1e-4, 3e-5, 1e-5], min_length=1)
    l2: list[float] = Field(default_factory=list)
    classifier_l1: float = Field(default=1e-4, ge=0)
    iterations: int = Field(default=1000, ge=1)
    prune: str | None = None


class Baseline(Settings):
    """The black box with the same backbones; by default as many steps as pretraining and joint training."""

    steps: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)


class Evaluate(Settings):
    """The report: resamples, cases that are drawn, the threshold of what counts as predicted."""

    bootstrap: int = Field(default=1000, ge=100)
    cases: int = Field(default=3, ge=0)
    sheets: int = Field(default=3, ge=0)
    threshold: float = Field(default=0.5, gt=0, lt=1)


class Evidence(Settings):
    """The comparison over seeds."""

    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    contrastive_steps: int = Field(default=100, ge=1)


class Params(Settings):
    """A params file. ``threads``: of torch; equal results need the same number."""

    seed: int = 42
    threads: int | None = Field(default=None, ge=1)
    data: Data = Data()
    signal: Signal = Signal()
    model: Model = Model()
    training: Training = Training()
    pretrain: Pretrain = Pretrain()
    joint: Joint
    project: Project = Project()
    baseline: Baseline = Baseline()
    evaluate: Evaluate = Evaluate()
    evidence: Evidence = Evidence()
