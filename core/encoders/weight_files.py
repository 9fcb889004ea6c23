"""Weight files read without running code: safetensors, torch state dicts, training checkpoints."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from core.errors import CheckpointError


def read_state(path: str | os.PathLike[str], *, key: str | None = None) -> dict[str, torch.Tensor]:
    """Read the tensors of a weight file onto the CPU; nothing in the file is executed.

    Safetensors and ``torch.save`` files are told apart by content, not by name. A torch file may hold the
    state dict itself or a training checkpoint with one state dict inside (Lightning, MoCo, DINO).

    Args:
        path: a file, or a folder that holds ``model.safetensors``.
        key: which entry of a training checkpoint to take, where it holds several state dicts.

    Raises:
        CheckpointError: the file is missing, damaged, holds objects other than tensors and plain values
            (such a pickle could run code), or holds no or several state dicts.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, f"{folder}/a.pt")
    ...     read_state(f"{folder}/a.pt")
    {'w': tensor([1., 1.])}
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.safetensors"
    if not file.is_file():
        raise CheckpointError(f"weights {file}", seen="no such file", expected="a safetensors or torch file")
    loaded = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
    return _pick_state(loaded, file, key)


def _is_safetensors(file: Path) -> bool:
    """A safetensors file opens with the length of its header (8 bytes, little endian) and then a brace."""
    if file.suffix == ".safetensors":
        return True
    with file.open("rb") as stream:
        start = stream.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < file.stat().st_size


def _read_safetensors(file: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file, device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"weights {file} are damaged", seen=str(error), remedy="copy the file again"
        ) from None


def _read_torch(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its broken opcodes lead to
        # torch's own text advises to switch the protection off, so only the refused name is taken from it
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            raise CheckpointError(
                f"weights {file} are refused: a pickle that may run code",
                seen=refused.group(1).rstrip("."),
                expected="tensors, numbers, text, lists and dicts only",
                remedy="save the state dict alone, as safetensors, where you trust the file",
            ) from None
        raise CheckpointError(
            f"weights {file} are unreadable or refused",
            seen=type(error).__name__,
            expected="a safetensors file or a torch state dict",
            remedy="copy the file again, or save its state dict as safetensors where you trust it",
        ) from None


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(item, torch.Tensor) for name, item in value.items())
    )


def _pick_state(loaded: Any, file: Path, key: str | None) -> dict[str, torch.Tensor]:
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"weights {file}", seen=type(loaded).__name__, expected="a state dict")
    if key is None and _is_state(loaded):
        return dict(loaded)
    inside = [name for name, value in loaded.items() if _is_state(value)]
    if key is None and len(inside) == 1:
        key = inside[0]
    if key not in inside:
        raise CheckpointError(
            f"weights {file} hold {'no' if not inside else 'several'} state dicts"
            if key is None
            else f"{key} in {file}",
            seen=inside or list(loaded)[:8],
            expected="one mapping of names to tensors",
            remedy="pass key= with one of the names seen" if inside else "",
        )
    return dict(loaded[key])
