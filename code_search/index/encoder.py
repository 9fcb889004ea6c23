"""The encoder behind the vectors: where it comes from, and the few things an index asks of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from code_search.fuse import DENSE_WEIGHT
from core.errors import DataError, KindredError

REGISTRY = "models:/"


class Encoder(Protocol):
    """Texts to unit vectors of ``dim`` numbers; ``digest`` names the weights, so that vectors of two models never mix."""

    digest: str
    dim: int

    def encode_queries(self, queries: list[str]) -> np.ndarray: ...

    def encode_functions(self, functions: list[str]) -> np.ndarray: ...


def dense_weight(encoder: Encoder) -> float:
    """The fusion weight that was chosen with this encoder on its validation data, else the general one."""
    weight = getattr(encoder, "dense_weight", None)
    return float(weight) if weight is not None else DENSE_WEIGHT


def model_folder(reference: str | os.PathLike[str]) -> Path:
    """The folder of an encoder: ``reference`` itself, or the files behind ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        DataError: there is no such folder or registered model, or it holds no encoder.
    """
    name = os.fspath(reference)
    folder = _from_registry(name) if name.startswith(REGISTRY) else Path(name).expanduser()
    if not folder.is_dir():
        raise DataError(f"model {name}", seen="no such folder", expected="a folder with model.safetensors, or models:/NAME@ALIAS")
    for place in (folder, folder / "encoder", folder / "artifacts" / "encoder"):
        if (place / "model.safetensors").is_file() and (place / "config.json").is_file():
            return place
    raise DataError(
        f"model {name}", seen=f"no model.safetensors and config.json in {folder}", expected="the folder of an encoder"
    )


def _from_registry(uri: str) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        raise DataError(
            f"model {uri}", seen=str(error).splitlines()[0], remedy="look at the names in `kindred models`"
        ) from None


def open_encoder(reference: str | os.PathLike[str]) -> Encoder:
    """Load the encoder behind ``reference``. Raises DataError where it is missing, CheckpointError where it is damaged."""
    try:
        folder = model_folder(reference)
        from code_search.model import load_encoder
    except KindredError as error:
        raise DataError(f"{error}. To search without it: --mode lexical") from None
    return load_encoder(folder)


def encode_in_batches(encoder: Encoder, texts: Sequence[str], batch: int) -> np.ndarray:
    """float16 unit vectors of ``texts`` in their order; batches hold texts of like length, which wastes no padding.

    Raises:
        DataError: the encoder returned NaN, infinity or another shape.
    """
    vectors = np.zeros((len(texts), encoder.dim), dtype=np.float16)
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        found = np.asarray(encoder.encode_functions([texts[index] for index in chosen]))
        if found.shape != (len(chosen), encoder.dim) or not np.isfinite(found).all():
            raise DataError("vectors of the encoder", seen=found.shape, expected=f"finite, ({len(chosen)}, {encoder.dim})")
        vectors[chosen] = found
    return vectors
