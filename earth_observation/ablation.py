"""What pretraining is worth: arms that differ in objective, sensor and start, over several seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from core.learning.determinism import seed_everything
from core.tracking.weights import save_weights
from earth_observation.bands import SENSORS, Sensor
from earth_observation.data.store import ChipStore
from earth_observation.evaluate import Embedded, accuracy_score, embed, linear_probes, one_class_each
from earth_observation.learn.pretrain import pretrain
from earth_observation.model import build_encoder, start_from

CLAIM = "Soft labels from free land cover make contrastive pretraining better, and that beats no pretraining"
RANDOM, MOCO, SOFTCON, SUPERVISED = "random init", "MoCo hard", "SoftCon", "supervised by free labels"
PIXELS, STARTED = "raw pixels", "SoftCon, RGB start"
ARMS: dict[str, dict[str, Any]] = {
    PIXELS: {"objective": "pixels"},
    RANDOM: {"steps": 0},
    MOCO: {"objective": "moco"},
    SOFTCON: {},
    SUPERVISED: {"objective": "supervised"},
    STARTED: {"start": True},
    "S1 random init": {"product": "s1", "steps": 0},
    "S1 MoCo hard": {"product": "s1", "objective": "moco"},
    "S1 SoftCon": {"product": "s1"},
    "ResNet random init": {"backbone": "resnet", "steps": 0},
    "ResNet MoCo hard": {"backbone": "resnet", "objective": "moco"},
    "ResNet SoftCon": {"backbone": "resnet"},
}
"""What is changed in the settings, by arm."""
PAIRS = [
    (MOCO, RANDOM),
    (SOFTCON, MOCO),
    (SOFTCON, RANDOM),
    (SOFTCON, SUPERVISED),
    (STARTED, SOFTCON),
    ("S1 MoCo hard", "S1 random init"),
    ("S1 SoftCon", "S1 MoCo hard"),
    ("S1 SoftCon", "S1 random init"),
    ("ResNet MoCo hard", "ResNet random init"),
    ("ResNet SoftCon", "ResNet MoCo hard"),
    (SOFTCON, "ResNet SoftCon"),
    (MOCO, PIXELS),
]
RAW_SIDE = 8
"""Pixels a side to which a chip is averaged where its pixels themselves are the features."""
COLOURS = ("B4", "B3", "B2")
"""Red, green and blue, as Sentinel-2 calls them."""


def comparisons(arms: Sequence[str] = tuple(ARMS)) -> list[tuple[str, str]]:
    """The pairs of arms whose difference the claim is about, of those that are run."""
    return [(a, b) for a, b in PAIRS if a in arms and b in arms]


def raw_pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C * 64): what any pretraining should beat."""
    return F.adaptive_avg_pool2d(x, RAW_SIDE).flatten(1)


def has_colours(sensor: Sensor) -> bool:
    """Whether red, green and blue can be taken from a product for the RGB start."""
    return set(COLOURS) <= set(sensor.bands)


class Comparison:
    """Pretrains each arm and probes it at every share of labels.

    Args:
        chips: seed -> the chips. other: chips of other places, whose colour bands alone the RGB start is trained on.
        architectures: backbone -> what `build_encoder` takes. backbone, product: of the arms that name none; a
            product that the data lack is replaced by their first.
        settings: of `pretrain`. shares: of the labels. draws: of the labelled chips, over which the scores of a share
            are averaged (a few labels drawn once say more of the draw than of the encoder).
        start_steps: of the RGB start.
    """

    def __init__(
        self,
        chips: Callable[[int], ChipStore],
        other: Callable[[], ChipStore],
        *,
        architectures: Mapping[str, Mapping[str, Any]],
        backbone: str,
        product: str,
        settings: Mapping[str, Any],
        shares: Sequence[float],
        draws: int,
        start_steps: int,
        **fitting: Any,
    ) -> None:
        self.chips, self.other, self.architectures = chips, other, architectures
        self.backbone, self.product, self.settings = backbone, product, dict(settings)
        self.shares, self.draws, self.start_steps, self.fitting = shares, draws, start_steps, fitting

    def arms(self, first: int) -> dict[str, Callable[[int], dict[str, float]]]:
        """A function seed -> metrics for each arm that the data of the seed ``first`` allow.

        The seed decides the weights, the order, the views, and which chips are labelled. Arms that read free labels
        are left out where these are the labels that the probe is scored on: that would be no comparison. So are those
        of the ResNet where all arms are, and the RGB start of a product without red, green and blue.
        """
        store = self.chips(first)
        if self.product not in store.sensors:
            self.product = next(iter(store.sensors))
        free = not np.array_equal(store.soft, store.classes)
        return {
            arm: partial(self.run, changes)
            for arm, changes in ARMS.items()
            if changes.get("product", self.product) in store.sensors
            and changes.get("backbone") != self.backbone
            and (not changes.get("start") or has_colours(store.sensors[self.product]))
            and (free or "steps" in changes or changes.get("objective") in ("moco", "pixels"))
        }

    def run(self, changes: Mapping[str, Any], seed: int) -> dict[str, float]:
        """Pretrain with ``changes`` and probe."""
        store, product = self.chips(seed), changes.get("product", self.product)
        if changes.get("objective") == "pixels":
            return self._probe(embed(raw_pixels, store, product), store, seed)
        sensor = store.sensors[product]
        seed_everything(seed)
        architecture = self.architectures[changes.get("backbone", self.backbone)]
        encoder = build_encoder(len(sensor.bands), architecture, size=int(self.settings["crop"]))
        if changes.get("start"):
            with tempfile.TemporaryDirectory() as scratch:
                weights = self._colour_start(architecture, seed, Path(scratch))
                start_from(encoder, str(weights), sensor, "random")
        settings = {**self.settings, **{k: v for k, v in changes.items() if k in ("steps", "objective")}}
        if settings["steps"]:
            pretrain(encoder, store, product=product, seed=seed, **settings, **self.fitting)
        return self._probe(embed(encoder.eval(), store, product), store, seed)

    def _probe(self, found: Embedded, store: ChipStore, seed: int) -> dict[str, float]:
        """Scores by share, averaged over draws of the labelled chips, which are the same for all arms."""
        out: dict[str, list[float]] = {}
        for draw in range(self.draws):
            shares = [share for share in self.shares if share < 1 or draw == 0]
            for share, score in linear_probes(found, store, shares, seed=1000 * draw + seed).items():
                out.setdefault(f"map_{share:g}", []).append(score.value)
                if one_class_each(store):
                    right = accuracy_score(store.classes[found.test], score.scores, [], 0)
                    out.setdefault(f"accuracy_{share:g}", []).append(right.value)
        return {name: float(np.mean(values)) for name, values in out.items()}

    def _colour_start(self, architecture: Mapping[str, Any], seed: int, folder: Path) -> Path:
        """Weights of an RGB encoder trained without any label on the colours of other places."""
        seed_everything(seed + 1000)
        encoder = build_encoder(3, architecture, size=int(self.settings["crop"]))
        settings = {**self.settings, "objective": "moco", "steps": self.start_steps}
        colours = Colours(self.other(), self.product)
        pretrain(encoder, colours, product="rgb", seed=seed, **settings, **self.fitting)
        save_weights(folder / "rgb.safetensors", encoder.state_dict())
        return folder / "rgb.safetensors"


class Colours(ChipStore):
    """A store that shows the red, green and blue bands of a product, as the product "rgb"."""

    def __init__(self, store: ChipStore, product: str) -> None:
        super().__init__(store.folder)
        self.product = product
        self.bands = [store.sensors[product].index(band) for band in COLOURS]
        self.sensors = {"rgb": SENSORS["rgb"]}

    def indices(self, split: str, product: str | None = None) -> Any:
        """As in `ChipStore`."""
        return super().indices(split, self.product if product else None)

    def read(self, product: str, indices: Any) -> Any:
        """(n, 3, size, size) uint8."""
        return super().read(self.product, indices)[:, self.bands]
