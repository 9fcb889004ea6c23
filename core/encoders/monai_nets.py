"""MONAI's networks without the packages that MONAI imports along and they do not need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

UNNEEDED = (
    "gdcm",
    "matplotlib",
    "mlflow",
    "pandas",
    "pydicom",
    "sklearn",
    "torchaudio",
    "torchvision",
    "transformers",
)
"""Most of the time of importing MONAI, and three quarters of its memory; what of MONAI uses them is not used here."""


def monai_net(module: str, name: str) -> Any:
    """The class ``name`` of ``monai.networks.nets.MODULE``.

    Where this is the first import of MONAI in the process, MONAI takes the packages of `UNNEEDED` for missing, as it
    does where they are not installed: its MLflow handler, say, then asks for MLflow, its reader of DICOM for pydicom.
    To have those, import monai first.

    >>> monai_net("resnet", "ResNet").__module__
    'monai.networks.nets.resnet'
    """
    with left_out(*UNNEEDED):
        return getattr(import_module(f"monai.networks.nets.{module}"), name)


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """For a block, packages that are not imported yet cannot be.

    >>> with left_out("wave"):
    ...     import_module("wave")
    Traceback (most recent call last):
    ModuleNotFoundError: import of wave halted; None in sys.modules
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
