"""Generated studies, prepared once for all tests of the alignment package."""

from __future__ import annotations

import pytest
import torch

from core.data.checks import Quarantine
from medical.alignment.data.sources import Checks, check_items, read_items
from medical.alignment.demo import write_demo
from medical.alignment.learn.train import new_space
from medical.alignment.phantom import FINDINGS
from medical.alignment.prepared import load_prepared, prepare
from medical.alignment.preprocess import Preprocessing

FRACTIONS = {"train": 0.6, "valid": 0.2, "test": 0.2}
ARCHITECTURE = {
    "patch": 12, "ecg_patch": 100, "ecg_window": 1, "ecg_stem": 8, "width": 16, "depth": 2, "heads": 2,
    "attention_drop": (0.1, 0.0), "dim": 8, "head_hidden": 16, "head_norm": "layer", "pool": "patches",
}  # fmt: skip


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory):
    """Forty-five generated studies in MIMIC's layout, 30 % of the modalities missing."""
    return write_demo(tmp_path_factory.mktemp("alignment") / "demo", studies=45, missing=0.3)


@pytest.fixture(scope="session")
def demo_items(demo_root):
    """The items that validation leaves."""
    listed = read_items("demo", str(demo_root), findings=FINDINGS, fractions=FRACTIONS)
    return check_items(listed, Quarantine(), Checks())[0]


@pytest.fixture(scope="session")
def demo_prepared(demo_items, tmp_path_factory):
    """The items as arrays."""
    folder = tmp_path_factory.mktemp("alignment") / "prepared"
    prepare(demo_items, folder, preprocessing=Preprocessing(image_size=24, mean=0.5, std=0.25))
    return load_prepared(folder)


@pytest.fixture
def make_space(demo_prepared):
    """An untrained space: ``make_space(method, **architecture)``."""

    def make(method="more", *, lora=None, seed=0, **changes):
        torch.manual_seed(0)
        return new_space(
            demo_prepared, encoder="tiny", length=48, text_width=16, text_layers=1, text_heads=2, lora=lora,
            architecture=ARCHITECTURE | changes, objective={"method": method}, seed=seed,
        )  # fmt: skip

    return make
