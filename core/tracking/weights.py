"""Weight files: safetensors with a SHA-256, read without ever unpickling anything."""

from __future__ import annotations

import hashlib
import hmac
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CheckpointError
from core.files import atomic_write
from core.tracking.pickles import refuse_pickle_stream

if TYPE_CHECKING:
    from torch import Tensor


def save_weights(path: str | os.PathLike[str], state_dict: Mapping[str, Tensor]) -> str:
    """Write tensors to a safetensors file, whole or not at all, and return the file's SHA-256.

    Equal tensors give equal bytes. Tensors that share memory (tied weights) are written once each.

    Args:
        path: target, by convention ``model.safetensors``.
        state_dict: name -> tensor of any shape and dtype that safetensors knows; moved to the CPU.

    Raises:
        CheckpointError: an entry is not a tensor.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digest = save_weights(f"{folder}/model.safetensors", {"w": torch.ones(2)})
    ...     load_weights(f"{folder}/model.safetensors", digest)["w"].tolist()
    [1.0, 1.0]
    """
    import torch
    from safetensors.torch import save

    tensors = {}
    for name, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"entry {name!r} of the weights",
                seen=value,
                expected="a tensor",
                remedy="keep it in config.json",
            )
        tensors[name] = value.detach().cpu().contiguous().clone()
    content = save(tensors, metadata={"format": "pt"})
    atomic_write(path, content)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: str | os.PathLike[str], sha256: str) -> dict[str, Tensor]:
    """Read a safetensors file whose content has the given SHA-256; tensors arrive on the CPU.

    The bytes that are hashed are the bytes that are parsed: the file is read once.

    Raises:
        CheckpointError: the file is missing, its digest differs, or it is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"weights {file.name} cannot be read", seen=error.strerror, remedy="run the training stage again"
        ) from None
    refuse_pickle_stream(file.name, io.BytesIO(content))
    found = hashlib.sha256(content).hexdigest()
    if not hmac.compare_digest(found, sha256):
        raise CheckpointError(
            f"SHA-256 of {file.name}",
            seen=found[:16] + "...",
            expected=f"{sha256[:16]}...",
            remedy="the file was damaged or replaced: fetch it again or run the training stage again",
        )
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{file.name} is not a safetensors file", seen=str(error)) from None
