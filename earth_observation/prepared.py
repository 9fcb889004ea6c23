"""From stage to stage: the encoder before training, the model around it, the scene that is mapped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.data.checks import Quarantine
from core.errors import DataError
from core.learning.determinism import seed_everything
from earth_observation.data.items import Item, Layout
from earth_observation.data.sources import Checking, check_enough, inspect, read_items
from earth_observation.data.store import ChipStore
from earth_observation.data.write import write_store
from earth_observation.model import Encoder, LandCover, build_encoder, start_from

OTHER_SEED = 1_000_000
"""Of the generated places that no seed of a comparison trains or tests on."""


def starting_model(
    store: ChipStore,
    *,
    product: str,
    architecture: Mapping[str, Any],
    crop: int,
    seed: int,
    start: str | None = None,
    input_init: str = "random",
    width: int = 32,
) -> LandCover:
    """A model without heads for the bands of a product, from random weights or a local checkpoint.

    Raises:
        DataError: the data have no such product. CheckpointError: a checkpoint that does not fit.
    """
    if product not in store.sensors:
        raise DataError("model.product", seen=product, expected=f"one of {', '.join(store.sensors)}")
    seed_everything(seed)
    model = LandCover(
        architecture,
        store.sensors[product],
        store.normalisations[product],
        store.table,
        size=crop,
        width=width,
    )
    if start is not None:
        print(start_from(model.encoder, start, model.sensor, input_init))
    return model


def untrained(model: LandCover, seed: int) -> Encoder:
    """The encoder of a model with fresh random weights, as the baseline."""
    seed_everything(seed)
    return build_encoder(len(model.sensor.bands), model.architecture, size=model.size)


def scene_of(items: Sequence[Item], product: str) -> Item | None:
    """The image that is mapped where none is named: of the test split if it has any, the largest, the third date."""
    able = [item for item in items if product in item.files]
    found = [item for item in able if item.split == "test"] or able
    if not found:
        return None
    return max(found, key=lambda item: (int(item.shape[0]) * int(item.shape[1]), item.season == 2, item.id))


def mapped_scene(
    model: Path,
    items: Sequence[Item],
    layout: Layout,
    product: str,
    folder: Path,
    *,
    path: str | None,
    mask: str | None = None,
    scale: str = "auto",
    tile: int,
    stride: int,
    batch_size: int,
    scheduler: str,
) -> list[dict[str, str]]:
    """Map a scene into ``folder / "scene"`` for the evaluation; returns its figure for the report.

    Args:
        path: the scene (a file, a folder of bands, a STAC item); None takes an image of the test split, with its own
            mask and scale. mask: scene classification of the named scene. scale: how its numbers are stored.
    """
    from earth_observation.data.own import scene_files
    from earth_observation.scene import Tiling, map_scene

    tiling = Tiling(tile, stride, batch_size, scheduler)
    if path is not None:
        files: Sequence[str] = scene_files(path, layout.sensors[product], Path(path).parent)
        rule, order, hidden = scale, None, mask or ""
    else:
        item = scene_of(items, product) if layout.georeferenced else None
        if item is None:
            return []
        files, rule, order = item.files[product], item.scale.get(product, "auto"), item.order.get(product)
        hidden = item.mask if layout.sensors[product].unit != "db" else ""
    report = map_scene(
        model, files, folder / "scene", tiling=tiling, scale=rule, order=order, mask=hidden, embedding=True
    )
    caption = f"{report['size'][0]} x {report['size'][1]} pixels in {report['crs']}, mapped in blended tiles"
    return [{"file": "evaluation/scene/scene_quicklook.png", "caption": caption}]


class EvidenceChips:
    """The chips of a comparison, read and checked as by the pipeline.

    On demo data every seed has generated places of its own, so that intervals over seeds are intervals over places
    too; elsewhere all seeds share the chips. One seed's chips are kept at a time.

    Args:
        scratch: an empty folder. data: the section of the settings. places: of the demo; None takes those of ``data``.
    """

    def __init__(
        self,
        scratch: Path,
        *,
        data: Any,
        prepare: Mapping[str, Any],
        places: int | None,
    ) -> None:
        self.source, self.scratch, self.data, self.prepare = data.source, scratch, data, prepare
        self.demo = data.demo.model_dump() | ({"places": places} if places else {})
        self.facts: dict[str, Any] = {}
        self._kept: tuple[int, ChipStore] | None = None
        self._other: ChipStore | None = None

    def __call__(self, seed: int) -> ChipStore:
        """The chips of a seed."""
        number = seed if self.source == "demo" else 0
        if self._kept is None or self._kept[0] != number:
            shutil.rmtree(self.scratch / "places", ignore_errors=True)
            self._kept = number, self._read("places", number, self.demo["places"])
        return self._kept[1]

    def other(self) -> ChipStore:
        """Chips of other places, generated from another seed; the chips themselves where nothing is generated."""
        if self.source != "demo":
            return self(0)
        if self._other is None:
            self._other = self._read("other", OTHER_SEED, max(6, self.demo["places"] // 2))
        return self._other

    def _read(self, name: str, number: int, places: int) -> ChipStore:
        from earth_observation.demo import write_demo

        data, quarantine, home = self.data, Quarantine(self.data.on_problem), str(self.data.root)
        if self.source == "demo":
            home = str(
                write_demo(self.scratch / name / "raw", **{**self.demo, "places": places}, seed=number)
            )
        items, layout = read_items(
            self.source,
            home,
            quarantine,
            manifest=data.manifest,
            product=data.product,
            fractions=data.fractions,
            seed=number,
            **(data.own if self.source == "manifest" else {}),
        )
        checking = Checking(layout, data.scale, data.align == "warp", data.limits)
        usable, self.facts = inspect(items, checking, quarantine, scheduler=data.scheduler)
        check_enough(usable)
        folder = self.scratch / name / "chips"
        folder.mkdir(parents=True)
        options = {"warp": data.align == "warp", "scheduler": data.scheduler}
        return write_store(usable, layout, folder, **self.prepare, **options)
