"""A small generated set of hearts in ACDC's layout, and its prepared slices, for the whole session."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medical.mri.data.case import draw_splits
from medical.mri.data.layouts import read_acdc
from medical.mri.data.nifti import Geometry
from medical.mri.demo import write_demo
from medical.mri.model import Architecture
from medical.mri.prepared import prepare


@pytest.fixture(scope="session")
def hearts(tmp_path_factory):
    """Folder of nine small patients, two of them without a mask."""
    place = tmp_path_factory.mktemp("hearts")
    return write_demo(place, patients=9, unlabelled=2, broken=False, pixels=24)


@pytest.fixture(scope="session")
def prepared(hearts):
    """Their slices, 16 x 24."""
    listing = draw_splits(read_acdc(hearts), {"train": 0.5, "valid": 0.2, "test": 0.3})
    return prepare(listing, spacing=6.0, size=(16, 24))


@pytest.fixture(scope="session")
def architecture(prepared):
    """The smallest network for them."""
    return Architecture(
        prepared.size, prepared.classes, widths=(4, 6, 8), head_hidden=8, head_dim=8, momentum=0.1
    )


@pytest.fixture
def unlabelled(prepared):
    """The same slices, no case of which has a mask."""
    return replace(prepared, cases=tuple(replace(case, label="") for case in prepared.cases))


@pytest.fixture(scope="session")
def upright():
    """Geometry of a volume of 10 x 12 x 6 voxels, 2 x 2 x 8 mm, axes as the patient's."""
    return Geometry((10, 12, 6), tuple(map(tuple, np.diag([2.0, 2.0, 8.0, 1.0]).tolist())))
