"""The encoder behind the vectors: where it comes from, and the few things an index asks of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

import numpy as np

from code_search.ranker import Ranker, load_ranker
from core.errors import DataError, KindredError
from core.tracking.find import REGISTRY, model_folder

REGISTERED = "models:/code_search@champion"
"""The model that `kindred index` takes when none is named and one was registered."""


class Encoder(Protocol):
    """Texts to unit rows of ``dim`` numbers; vectors of another ``digest`` (of the weights) never mix."""

    @property
    def digest(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode_queries(self, queries: list[str], /) -> np.ndarray: ...

    def encode_functions(self, functions: list[str], /) -> np.ndarray: ...


def ranker_of(encoder: Encoder | None, reference: str) -> Ranker:
    """What the model learnt about ranking; the general ranking where it learnt nothing, or is not at hand.

    Args:
        encoder: the encoder, where it is loaded.
        reference: else its folder; only the ranker is read from it.

    Raises:
        CheckpointError: the ranker is damaged.
    """
    if encoder is not None:
        found = getattr(encoder, "ranker", None)
    else:
        here = bool(reference) and (Path(reference) / "config.json").is_file()
        found = load_ranker(reference) if here else None
    return Ranker() if found is None else found


def registered_model() -> str | None:
    """`REGISTERED`, where there is a registry to look it up in; does not open it, so it costs nothing."""
    from core.tracking.store import database_file, tracking_uri

    file = database_file(tracking_uri())
    return REGISTERED if file is None or file.is_file() else None


def keep_model(reference: str, folder: Path) -> str:
    """A reference that is quick to follow: a folder's path, or a copy of the registered model in ``folder``.

    The copy spares a search the registry, which takes seconds to ask and may be out of reach.
    """
    source = model_folder(reference)
    if not reference.startswith(REGISTRY):
        return str(source)
    from core.files import atomic_directory

    with atomic_directory(folder / "encoder") as copy:
        for path in sorted(source.iterdir()):
            if path.is_file():
                shutil.copyfile(path, copy / path.name)
    return str(folder / "encoder")


def open_encoder(reference: str) -> Encoder:
    """Load the encoder behind ``reference``.

    Raises:
        DataError: it is not there.  CheckpointError: its weights are damaged.
    """
    try:
        folder = model_folder(reference)
    except KindredError as error:
        raise DataError(f"{error}. To search without it: --mode lexical") from None
    from code_search.model import load_encoder

    return load_encoder(folder)
