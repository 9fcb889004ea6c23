"""A tiny generated copy of SSL4EO-S12 read and cut once, and an untrained model, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from eo_rasters import FRACTIONS

from core.data.checks import Quarantine
from earth_observation.data.checks import Limits
from earth_observation.data.items import Item, Layout
from earth_observation.data.sources import Checking, inspect, read_items
from earth_observation.data.store import ChipStore
from earth_observation.data.write import write_store
from earth_observation.demo import write_demo
from earth_observation.prepared import starting_model

ARCHITECTURE = {"backbone": "resnet", "widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1], "small": True}


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory) -> Path:
    """Six places of two dates, 48 pixels a side."""
    return write_demo(tmp_path_factory.mktemp("eo") / "demo", places=6, side=48, seasons=2, seed=1)


@pytest.fixture(scope="session")
def listed(demo_folder) -> tuple[list[Item], Layout]:
    """The usable images and their layout."""
    quarantine = Quarantine()
    items, layout = read_items("demo", demo_folder, quarantine, fractions=FRACTIONS)
    usable, _ = inspect(items, Checking(layout, {}, False, Limits()), quarantine)
    assert len(usable) == 12, quarantine.table()
    return usable, layout


@pytest.fixture(scope="session")
def store(listed, tmp_path_factory) -> ChipStore:
    """Four chips of 24 pixels of each image."""
    return write_store(*listed, tmp_path_factory.mktemp("chips"), size=24)


@pytest.fixture(scope="session")
def untrained(store):
    """A model with random weights and all heads; not to be trained in place."""
    model = starting_model(store, product="s2", architecture=ARCHITECTURE, crop=16, seed=0, width=8)
    for head in ("classify", "decoder", "changes"):
        model.add_head(head)
    return model.eval()
