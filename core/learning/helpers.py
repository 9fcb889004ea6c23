"""The processes that help the first one train: it alone runs on between trainings, and calls them to the next.

A helper reaches its first training by the same script as the first process. From then on it waits for trainings,
sent to it with module and batches, until the first process ends. What a script does between and after its trainings
(decisions, files) is so done once.
"""

from __future__ import annotations

import atexit
import datetime
import io
import mmap
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch.distributed as dist

from core.distributed import work_alone
from core.errors import KindredError

_PATIENCE = datetime.timedelta(days=30)  # a helper that waits notices at once when the first process dies

_line: Any = None
_waiting = False


def call_helpers(title: str, training: Any) -> None:
    """In the first process, before a training: send it to the helpers, where some wait for one.

    Raises:
        KindredError: what is to be sent holds something that cannot be.
    """
    global _waiting
    if not _waiting:
        return
    stream = io.BytesIO()
    try:
        _Sender(stream, pickle.HIGHEST_PROTOCOL).dump(training)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise KindredError(
            f"{title} cannot be handed to the other processes ({error})",
            remedy="train on one process: devices 1, nodes 1",
        ) from None
    _waiting = False
    work_alone(False)
    dist.broadcast_object_list([stream.getvalue()], src=0, group=_line)


def keep_helpers(first: bool, train: Callable[[Any], object]) -> None:
    """After a training: the first process goes on; a helper trains what it is called to, and ends with it.

    Args:
        first: whether this is the first process.
        train: takes what `call_helpers` was given.

    Raises:
        SystemExit: in a helper.
    """
    global _line, _waiting
    if _line is None:
        _line = dist.new_group(backend="gloo", timeout=_PATIENCE)
        if first:
            atexit.register(_dismiss)
    if first:
        _waiting = True
        work_alone(True)
        return
    while True:
        sent: list[Any] = [None]
        try:
            dist.broadcast_object_list(sent, src=0, group=_line)
        except RuntimeError:  # the first process was killed
            raise SystemExit(1) from None
        if sent[0] is None:
            raise SystemExit(0)
        train(pickle.loads(sent[0]))


def _dismiss() -> None:
    if _waiting and dist.is_initialized():
        dist.broadcast_object_list([None], src=0, group=_line)


class _Sender(pickle.Pickler):
    """Sends a whole memory-mapped file by its name."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap) and value.mode == "r":
            order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
            where = (str(value.filename), value.dtype, "r", value.offset, value.shape, order)
            return np.memmap, where
        return NotImplemented
