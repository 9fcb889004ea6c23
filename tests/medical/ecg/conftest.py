"""Generated recordings, their prepared form and a small trained network, made once for all tests here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from medical.ecg.data.branches import read_branches
from medical.ecg.data.ptbxl import read_ptbxl
from medical.ecg.demo import write_demo
from medical.ecg.prepared import load_prepared, prepare
from medical.ecg.preprocess import Preprocessing

TINY = {"blocks": (1, 1, 1, 1), "widths": (4, 4, 6, 8)}


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory) -> Path:
    return write_demo(tmp_path_factory.mktemp("ecg") / "demo", records=80, seed=3)


@pytest.fixture(scope="session")
def prepared(demo_root):
    folder = demo_root.parent / "prepared"
    prepare(read_ptbxl(demo_root), folder, branches=read_branches(), preprocessing=Preprocessing())
    return load_prepared(folder)


@pytest.fixture(scope="session")
def trained(prepared):
    """Branches after two joint steps, projected and fused: correct in every equation, good at nothing."""
    from medical.ecg.learn.stages import branch_configs, project_and_fuse, train_branches

    configs = branch_configs(
        prepared, **TINY, addon="identity", classifier="balanced", pool="max",
        prototypes={"rhythm": 2, "morphology": 2, "global": 2},
    )  # fmt: skip
    learning = {"batch_size": 16, "weighting": "published", "augment": None, "weight_decay": 1e-4}
    branches, _ = train_branches(
        prepared, configs, None, options={"steps": 2}, learning=learning, seed=0, progress=False
    )
    network, report = project_and_fuse(prepared, branches, l1=(1e-3,), iterations=50)
    return SimpleNamespace(network=network, report=report, prepared=prepared)


@pytest.fixture
def signal() -> np.ndarray:
    """(1000, 12) in mV: limb leads that add up, nothing constant."""
    from medical.ecg.demo import make_record

    return make_record(np.random.default_rng(0)).signal.T.astype(np.float32)
