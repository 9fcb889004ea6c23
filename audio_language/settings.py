"""The parameters of the pipeline, section by section, as its params files hold them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import Settings, Trainer

Count = Field(ge=1)


Split = Literal["train", "valid", "test"]


def _folds() -> dict[Split, list[int]]:
    return {"train": [1, 2, 3], "valid": [4], "test": [5]}


class Demo(Settings):
    """The generated data: classes, clips of each class in each of five folds, length and rate of a clip."""

    classes: int = Field(default=24, ge=3, le=24)
    clips: int = Field(default=4, ge=1)
    seconds: float = Field(default=1.0, ge=0.3, le=10)
    rate: int = Field(default=16_000, ge=8000)


class Data(Settings):
    """Where the clips come from; see `audio_language.data.sources.read_clips`.

    ``folds`` say which folds of ESC-50's layout are in which split; ``on_problem`` whether offenders are left
    out or stop the run; ``scheduler`` where files are checked: serial, processes, local (Dask) or an address.
    """

    source: Literal["demo", "esc50", "audiocaps", "clotho", "captions", "manifest"] = "demo"
    root: str | None = None
    manifest: str | None = None
    folds: dict[Split, list[int]] = Field(default_factory=_folds)
    on_problem: Literal["quarantine", "stop"] = "quarantine"
    scheduler: str = "serial"
    demo: Demo = Demo()

    @model_validator(mode="after")
    def _complete(self) -> Data:
        if self.source != "demo" and not self.root:
            raise ValueError(f"data.source: {self.source} needs data.root, the folder that holds the data")
        return self


class FrontEnd(Settings):
    """Of a model from scratch; see `audio_language.model.frontend.FrontEndSettings`."""

    sample_rate: int = Field(default=16_000, ge=4000)
    mels: int = Field(default=32, ge=8)
    window: int = Field(default=512, ge=16)
    hop: int = Field(default=256, ge=1)
    low: float = Field(default=30.0, ge=0)
    high: float = Field(default=8000.0, gt=0)
    seconds: float = Field(default=2.0, gt=0)
    filters: Literal["slaney", "htk"] = "slaney"
    padding: Literal["repeatpad", "repeat", "pad"] = "repeatpad"


class Head(Settings):
    """See `audio_language.model.head.TemporalHead`."""

    segments: int = Field(default=8, ge=2)
    inner: int = Field(default=64, ge=4)
    layers: int = Field(default=1, ge=1)
    heads: int = Field(default=4, ge=1)


class Model(Settings):
    """``base``: ``scratch`` (the sizes below), or a local folder of CLAP weights, which then rules."""

    base: str = "scratch"
    width: int = Field(default=16, ge=4)
    depths: list[int] = Field(default_factory=lambda: [1, 1, 1])
    spec_size: int = Field(default=64, ge=16)
    dim: int = Field(default=64, ge=4)
    text_width: int = Field(default=64, ge=4)
    text_layers: int = Field(default=3, ge=1)
    text_length: int = Field(default=32, ge=8)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    front_end: FrontEnd = FrontEnd()
    head: Head | None = Head()

    @property
    def architecture(self) -> dict[str, Any]:
        """What `audio_language.prepared.starting_model` takes."""
        kept = self.model_dump(exclude={"base", "front_end", "head"})
        return {**kept, "front_end": self.front_end.model_dump()}


class Pretrain(Settings):
    """CLAP on single clips; 0 steps keep the base as it is. See `audio_language.learn.train_base`."""

    steps: int = Field(ge=0)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    augment: bool = True
    every_n_steps: int | None = Field(default=None, ge=1)


class Adapt(Settings):
    """TeminAL: ``steps_single`` of stage A, ``steps_order`` of stage B; see `audio_language.learn.post_train`.

    ``pairs`` of training clips are composed; ``pair_fractions`` of the class pairs are for each split.
    """

    pairs: int = Field(ge=2)
    steps_single: int = Field(ge=0)
    steps_order: int = Field(ge=0)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    alpha_same: float = Field(default=1.0, ge=0)
    alpha_cross: float = Field(default=1.0, ge=0)
    overlap_alpha_same: float | None = Field(default=None, ge=0)
    overlap_alpha_cross: float | None = Field(default=None, ge=0)
    beta: float = Field(default=1.0, ge=0)
    rehearsal: float = Field(default=0.5, ge=0)
    paraphrase: float = Field(default=0.75, ge=0, le=1)
    part: Literal["all", "post"] = "post"
    text_layers: int = Field(default=2, ge=1)
    text_embeddings: bool = False
    train_share: float = Field(default=0.75, gt=0, lt=1)
    valid_share: float = Field(default=0.05, gt=0, lt=1)
    every_n_steps: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _leave_test_pairs(self) -> Adapt:
        if self.train_share + self.valid_share >= 1:
            raise ValueError("train_share + valid_share leave no class pair for the test; lower one of them")
        return self

    @property
    def fractions(self) -> dict[str, float]:
        """Share of the class pairs by split."""
        test = 1 - self.train_share - self.valid_share
        return {"train": self.train_share, "valid": self.valid_share, "test": test}

    @property
    def loss(self) -> dict[str, Any]:
        """Arguments of `TemporalContrastiveLoss`."""
        names = {"alpha_same", "alpha_cross", "overlap_alpha_same", "overlap_alpha_cross", "beta"}
        return self.model_dump(include=names)

    @property
    def training(self) -> dict[str, Any]:
        """Arguments of `post_train` that both stages share."""
        names = {"batch_size", "learning_rate", "weight_decay", "paraphrase", "every_n_steps"}
        names |= {"part", "text_layers", "text_embeddings"}
        return self.model_dump(include=names)


class Evaluate(Settings):
    """Pairs of test clips, and resamples of the intervals."""

    pairs: int = Field(default=300, ge=10)
    seed: int = 0
    bootstrap: int = Field(default=1000, ge=100)


class Evidence(Settings):
    """The comparison over seeds; ``None`` takes the value of the pipeline's own stage."""

    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    pretrain_steps: int | None = Field(default=None, ge=1)
    steps_order: int | None = Field(default=None, ge=1)
    pairs: int = Field(default=300, ge=10)


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
    evidence: Evidence = Evidence()
