"""What all tests share: one random state at their start, so that a failure repeats, and one thread a process."""

from __future__ import annotations

import os
import random

# Workers and the processes that tests start share the cores; before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _same_random_state() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries still draw from the global state)
    torch.manual_seed(0)
