from __future__ import annotations

import os
import time

import pytest

from core.data import parallel
from core.data.parallel import Failure, parallel_map
from core.errors import ConfigError, DataError, KindredError


def square(x: int) -> int:
    time.sleep(0.002 * (x % 3))  # later items finish earlier
    return x * x


def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


def process(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def dies(x: int) -> int:
    os._exit(1)


@pytest.fixture(scope="module")
def cluster():
    from dask.distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as running:
        yield running.scheduler_address


def test_serial_keeps_order_and_errors_in_place():
    assert parallel_map(square, range(7)) == [square(x) for x in range(7)]
    results = parallel_map(odd_fails, [0, 1, 2], errors="return")
    assert results == [0, Failure(1, "ValueError", "1 is odd"), 2]
    assert parallel_map(square, []) == []


def test_raise_names_how_many_and_the_first_after_all_were_tried():
    tried = []

    def work(x: int) -> int:
        tried.append(x)
        return odd_fails(x)

    with pytest.raises(
        DataError, match=r"2 of 4 item\(s\) failed, the first is 1: saw 'ValueError: 1 is odd'"
    ):
        parallel_map(work, range(4))
    assert tried == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_cluster_of_two_workers_gives_the_same_results(cluster):
    assert parallel_map(square, range(23), scheduler=cluster) == [x * x for x in range(23)]
    pids = parallel_map(process, range(8), scheduler=cluster, chunk=1)
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    results = parallel_map(odd_fails, range(5), scheduler=cluster, chunk=2, errors="return")
    assert [type(result) for result in results] == [int, Failure, int, Failure, int]


@pytest.mark.slow
def test_local_starts_a_cluster_for_the_call():
    assert parallel_map(square, range(9), scheduler="local", workers=2, progress="squares") == [
        x * x for x in range(9)
    ]


@pytest.mark.slow
def test_a_pool_of_processes_gives_the_same_results_and_tells_of_a_dead_worker():
    assert parallel_map(square, range(9), scheduler="processes", workers=2, chunk=2) == [
        x * x for x in range(9)
    ]
    with pytest.raises(KindredError, match="worker process died"):
        parallel_map(dies, range(2), scheduler="processes", workers=1)


def test_the_bar_counts_items(capsys):
    parallel_map(square, range(3), progress="squares")
    assert "squares: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("scheduler", ["threads", "", "tcp:/nowhere"])
def test_an_unknown_scheduler_is_refused(scheduler):
    with pytest.raises(ConfigError, match="serial, processes, local"):
        parallel_map(square, [1], scheduler=scheduler)


def test_an_unknown_handling_of_errors_is_refused():
    with pytest.raises(ConfigError, match="raise or return"):
        parallel_map(square, [1], errors="ignore")


def test_an_address_where_nobody_answers_is_told(monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        parallel_map(square, [1], scheduler="tcp://127.0.0.1:1")
