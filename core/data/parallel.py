"""Map-style work (hashing, embedding, tiles, indexing) on one process, several, or a Dask cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from core.errors import ConfigError, DataError, KindredError

T = TypeVar("T")
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Failure:
    """Stands in the results for an item whose work raised: which item, the error's class name and message."""

    index: int
    kind: str
    message: str


def parallel_map(
    function: Callable[[T], Any],
    items: Sequence[T],
    *,
    scheduler: str = "serial",
    workers: int | None = None,
    chunk: int | None = None,
    errors: str = "raise",
    progress: str | None = None,
) -> list[Any]:
    """``[function(item) for item in items]``, in that order, wherever the work is done.

    Args:
        function: a top-level function of one item (it is sent to the workers).
        items: what to work on; each is sent once.
        scheduler: "serial" (in this process); "processes" (a pool on this machine); "local" (a Dask
            cluster on this machine, for this call); else the address of a running Dask scheduler
            ("tcp://host:8786"). Dask sends code: use a cluster that only you reach.
        workers: processes for "processes" and "local"; the number of cores by default.
        chunk: items a task; by default such that each worker gets about eight tasks.
        errors: "raise" ends with the first failed item, after all were tried; "return" puts a `Failure` in
            its place.
        progress: title of a tqdm bar on stderr; None shows none.

    Raises:
        DataError: an item failed (``errors="raise"``); the message names how many and the first.
        ConfigError: unknown scheduler, or no scheduler at that address.
        KindredError: a worker died (out of memory, killed).

    >>> parallel_map(abs, [-1, 2, -3])
    [1, 2, 3]
    >>> parallel_map(int, ["1", "x"], errors="return")[1].kind
    'ValueError'
    """
    if errors not in ("raise", "return"):
        raise ConfigError("parallel_map errors", seen=errors, expected="raise or return")
    count = workers or os.cpu_count() or 1
    size = chunk or (1 if scheduler == "serial" else max(1, -(-len(items) // (8 * count))))
    chunks = [(start, items[start : start + size]) for start in range(0, len(items), size)]
    results: list[Any] = [None] * len(items)
    with _bar(progress, len(items)) as advance:
        for start, part in _run(function, chunks, scheduler, count):
            results[start : start + len(part)] = part
            advance(len(part))
    failures = [result for result in results if isinstance(result, Failure)]
    if failures and errors == "raise":
        first = failures[0]
        raise DataError(
            f"{len(failures)} of {len(items)} item(s) failed, the first is {items[first.index]!r}"[:300],
            seen=f"{first.kind}: {first.message}",
        )
    return results


def _run(
    function: Callable[[Any], Any], chunks: list[tuple[int, Sequence[Any]]], scheduler: str, workers: int
) -> Iterator[tuple[int, list[Any]]]:
    if scheduler == "serial":
        for start, part in chunks:
            yield start, _work(function, start, part)
    elif scheduler == "processes":
        yield from _pool(function, chunks, workers)
    elif scheduler == "local" or "://" in scheduler:
        yield from _dask(function, chunks, scheduler, workers)
    else:
        raise ConfigError(
            "scheduler",
            seen=scheduler,
            expected="serial, processes, local, or the address of a Dask scheduler (tcp://host:8786)",
        )


def _work(function: Callable[[Any], Any], start: int, part: Sequence[Any]) -> list[Any]:
    """One task: every item is tried; an error becomes a `Failure`."""
    done: list[Any] = []
    for index, item in enumerate(part, start):
        try:
            done.append(function(item))
        except Exception as error:  # reported per item, by the caller's choice
            done.append(Failure(index, type(error).__name__, " ".join(str(error).split())[:500]))
    return done


def _pool(
    function: Callable[[Any], Any], chunks: list[tuple[int, Sequence[Any]]], workers: int
) -> Iterator[tuple[int, list[Any]]]:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # spawned: a fork of a process that has used torch or BLAS threads can hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tasks = {pool.submit(_work, function, start, part): start for start, part in chunks}
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        except BrokenProcessPool:
            raise KindredError(
                "a worker process died",
                expected="enough memory",
                remedy="lower workers or chunk, and run again",
            ) from None


def _dask(
    function: Callable[[Any], Any], chunks: list[tuple[int, Sequence[Any]]], scheduler: str, workers: int
) -> Iterator[tuple[int, list[Any]]]:
    from dask.distributed import Client, KilledWorker, LocalCluster, as_completed

    with contextlib.ExitStack() as stack:
        if scheduler == "local":
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        else:
            try:
                client = stack.enter_context(Client(scheduler, timeout=CONNECT_SECONDS))
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"no Dask scheduler answers at {scheduler}: {error}",
                    remedy="start one with `dask scheduler`, or use scheduler: local",
                ) from None
        tasks = {client.submit(_work, function, start, part, pure=False): start for start, part in chunks}
        try:
            for task, result in as_completed(tasks, with_results=True):
                yield tasks[task], result
        except KilledWorker:
            raise KindredError(
                "a Dask worker died several times on the same task",
                expected="enough memory",
                remedy="lower chunk, or give the workers more memory",
            ) from None


@contextlib.contextmanager
def _bar(title: str | None, total: int) -> Iterator[Callable[[int], Any]]:
    if title is None:
        yield lambda count: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=title, unit="item", mininterval=0.5) as bar:
        yield bar.update
