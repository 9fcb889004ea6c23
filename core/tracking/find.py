"""Where the folder of a model is: a path, or a version in the registry."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import DataError
from core.tracking.model_folder import CONFIG, WEIGHTS

REGISTRY = "models:/"


def model_folder(reference: str | os.PathLike[str]) -> Path:
    """The folder with the weights of a model.

    Args:
        reference: that folder, or ``models:/NAME``, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``; the
            alias is champion where none is given.

    Raises:
        DataError: there is no such folder, or no model in it.  RegistryError: no such registered model.
    """
    name = os.fspath(reference)
    if name.startswith(REGISTRY):
        from core.tracking.catalog import local_model

        model, _, version = name.removeprefix(REGISTRY).replace("@", "/").partition("/")
        folder, _ = local_model(model, version or "champion")
    else:
        folder = Path(name).expanduser().absolute()
    for place in (folder, *sorted(folder.glob("artifacts/*"))):
        if (place / WEIGHTS).is_file() and (place / CONFIG).is_file():
            return place
    raise DataError(
        f"model {name}",
        seen=f"{folder} without {WEIGHTS} and {CONFIG}" if folder.is_dir() else "no such folder",
        expected="the folder of a model, or models:/NAME@ALIAS",
    )
