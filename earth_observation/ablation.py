"""What pretraining is worth: arms that differ in objective, sensor and start, over several seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core.learning.determinism import seed_everything
from core.tracking.weights import save_weights
from earth_observation.bands import SENSORS
from earth_observation.data.store import ChipStore
from earth_observation.evaluate import embed, linear_probes
from earth_observation.learn.pretrain import pretrain
from earth_observation.model import build_encoder, start_from

CLAIM = "Soft labels from free land cover make contrastive pretraining better, and that beats no pretraining"
RANDOM, MOCO, SOFTCON, SUPERVISED = "random init", "MoCo hard", "SoftCon", "supervised by free labels"
ARMS: dict[str, dict[str, Any]] = {
    RANDOM: {"steps": 0},
    MOCO: {"objective": "moco"},
    SOFTCON: {},
    SUPERVISED: {"objective": "supervised"},
    "SoftCon ViT": {"backbone": "vit"},
    "SoftCon ViT, RGB start": {"backbone": "vit", "start": True},
    "S1 random init": {"product": "s1", "steps": 0},
    "S1 MoCo hard": {"product": "s1", "objective": "moco"},
    "S1 SoftCon": {"product": "s1"},
}
"""What is changed in the settings, by arm."""


def comparisons(arms: Sequence[str] = tuple(ARMS)) -> list[tuple[str, str]]:
    """The pairs of arms whose difference the claim is about, of those that are run."""
    pairs = [
        (MOCO, RANDOM),
        (SOFTCON, MOCO),
        (SOFTCON, RANDOM),
        (SOFTCON, SUPERVISED),
        ("SoftCon ViT, RGB start", "SoftCon ViT"),
        ("S1 MoCo hard", "S1 random init"),
        ("S1 SoftCon", "S1 MoCo hard"),
    ]
    return [(a, b) for a, b in pairs if a in arms and b in arms]


class Comparison:
    """Pretrains each arm and probes it at every share of labels.

    Args:
        store: the chips. other: chips of other places, whose colour bands alone the RGB start is trained on.
        architectures: backbone -> what `build_encoder` takes. backbone, product: of the arms that name none.
        settings: of `pretrain`. shares: of the labels. start_steps: of the RGB start.
    """

    def __init__(
        self,
        store: ChipStore,
        other: ChipStore,
        *,
        architectures: Mapping[str, Mapping[str, Any]],
        backbone: str,
        product: str,
        settings: Mapping[str, Any],
        shares: Sequence[float],
        start_steps: int,
        **fitting: Any,
    ) -> None:
        self.store, self.other, self.architectures = store, other, architectures
        self.backbone, self.product, self.settings = backbone, product, dict(settings)
        self.shares, self.start_steps, self.fitting = shares, start_steps, fitting

    def arms(self) -> dict[str, Callable[[int], dict[str, float]]]:
        """A function seed -> metrics for each arm that the data allow.

        The seed decides the weights, the order, the views, and which chips are labelled.
        """
        return {
            arm: partial(self.run, changes)
            for arm, changes in ARMS.items()
            if changes.get("product", self.product) in self.store.sensors
        }

    def run(self, changes: Mapping[str, Any], seed: int) -> dict[str, float]:
        """Pretrain with ``changes`` and probe."""
        product = changes.get("product", self.product)
        sensor = self.store.sensors[product]
        crop = int(self.settings["crop"])
        seed_everything(seed)
        architecture = self.architectures[changes.get("backbone", self.backbone)]
        encoder = build_encoder(len(sensor.bands), architecture, size=crop)
        if changes.get("start"):
            with tempfile.TemporaryDirectory() as scratch:
                start_from(
                    encoder, str(self._colour_start(architecture, seed, Path(scratch))), sensor, "random"
                )
        settings = {**self.settings, **{k: v for k, v in changes.items() if k in ("steps", "objective")}}
        if settings["steps"]:
            pretrain(encoder, self.store, product=product, seed=seed, **settings, **self.fitting)
        scores = linear_probes(embed(encoder.eval(), self.store, product), self.store, self.shares, seed=seed)
        return {f"map_{share:g}": score.value for share, score in scores.items()}

    def _colour_start(self, architecture: Mapping[str, Any], seed: int, folder: Path) -> Path:
        """Weights of an RGB encoder trained without any label on the colours of other places."""
        seed_everything(seed + 1000)
        encoder = build_encoder(3, architecture, size=int(self.settings["crop"]))
        settings = {**self.settings, "objective": "moco", "steps": self.start_steps}
        pretrain(
            encoder, Colours(self.other, self.product), product="rgb", seed=seed, **settings, **self.fitting
        )
        save_weights(folder / "rgb.safetensors", encoder.state_dict())
        return folder / "rgb.safetensors"


class Colours(ChipStore):
    """A store that shows the red, green and blue bands of a product, as the product "rgb"."""

    def __init__(self, store: ChipStore, product: str) -> None:
        super().__init__(store.folder)
        self.product = product
        self.bands = [store.sensors[product].index(band) for band in ("B4", "B3", "B2")]
        self.sensors = {"rgb": SENSORS["rgb"]}

    def indices(self, split: str, product: str | None = None) -> Any:
        """As in `ChipStore`."""
        return super().indices(split, self.product if product else None)

    def read(self, product: str, indices: Any) -> Any:
        """(n, 3, size, size) uint8."""
        return super().read(self.product, indices)[:, self.bands]
