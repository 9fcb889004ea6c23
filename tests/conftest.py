"""What all tests share: every test starts from the same random state, so that a failure repeats."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _same_random_state() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries still draw from the global state)
    torch.manual_seed(0)
