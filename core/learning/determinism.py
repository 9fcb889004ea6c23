"""Seeds: one number fixes a run, and every step's randomness is a function of (seed, step) alone."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """A seed for one purpose: a hash of ``seed`` and ``names`` in [0, 2**63), the same on every machine.

    >>> derive_seed(0, "augment", 3) == derive_seed(0, "augment", 3) != derive_seed(0, "augment", 4)
    True
    """
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_light(seed: int) -> None:
    """Seed the generators of Python and numpy; does not import torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that draw from the global state must be covered


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch (all devices)."""
    import torch

    seed_light(seed)
    torch.manual_seed(seed)


def set_threads(count: int | None) -> None:
    """Let torch and the BLAS libraries use ``count`` threads; None leaves them as they are.

    Sums are grouped by thread: bit-equal results need the same count.
    """
    if count is None:
        return
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count)


def generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy generator for one purpose.

    >>> float(generator(0, "x").random()) == float(generator(0, "x").random())
    True
    """
    return np.random.default_rng(derive_seed(seed, *names))


def torch_generator(seed: int, *names: object) -> Any:
    """A torch generator (CPU) for one purpose."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *names))
