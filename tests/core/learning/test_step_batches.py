from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError, DataError
from core.learning.determinism import derive_seed, generator, seed_everything, set_threads, torch_generator
from core.learning.sampler import StepBatches, StepSampler, loader, reseed


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 40), batch=st.integers(1, 8), seed=st.integers(0, 99), far=st.integers(0, 200))
def test_a_batch_is_a_function_of_seed_and_step(size, batch, seed, far):
    if size < batch:
        with pytest.raises(ConfigError, match="at most the number of training items"):
            StepSampler(size, batch, seed)
        return
    walked = StepSampler(size, batch, seed)
    whole = [walked.batch(step) for step in range(far + 1)]
    assert StepSampler(size, batch, seed).batch(far) == whole[far]
    assert all(len(set(rows)) == batch and set(rows) <= set(range(size)) for rows in whole)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(4, 30), batch=st.integers(1, 4), epoch=st.integers(0, 5))
def test_within_an_epoch_no_item_comes_twice(size, batch, epoch):
    sampler, count = StepSampler(size, batch, 1), size // batch
    seen = [i for step in range(epoch * count, (epoch + 1) * count) for i in sampler.batch(step)]
    assert len(seen) == len(set(seen)) == count * batch


def test_epochs_are_shuffled_differently_and_leave_out_different_items():
    sampler = StepSampler(10, 3)
    epochs = [tuple(i for step in range(3 * e, 3 * e + 3) for i in sampler.batch(step)) for e in range(8)]
    assert len(set(epochs)) == 8
    assert len({next(iter(set(range(10)) - set(epoch))) for epoch in epochs}) > 2


def test_strata_are_not_mixed_and_their_shares_follow_the_power():
    labels = ["py"] * 1600 + ["go"] * 100
    for power, share in ((1.0, 1600 / 1700), (0.5, 0.8), (0.0, 0.5)):
        sampler = StepSampler(1700, 4, 3, strata=labels, power=power)
        names = [sampler.stratum(step) for step in range(6000)]
        assert Counter(names)["py"] / 6000 == pytest.approx(share, abs=0.03)
        for step in (0, 5, 4095, 4096, 5999):
            assert {labels[i] for i in sampler.batch(step)} == {names[step]}


def test_each_stratum_runs_through_its_own_epochs():
    labels = [0, 1] * 12
    sampler = StepSampler(24, 4, strata=labels)
    seen: dict[str, list[int]] = {"0": [], "1": []}
    for step in range(60):
        seen[sampler.stratum(step)] += sampler.batch(step)
    for rows in seen.values():
        for start in range(0, len(rows) - 11, 12):
            assert len(set(rows[start : start + 12])) == 12


def test_a_stratum_smaller_than_a_batch_is_named():
    with pytest.raises(ConfigError, match="batch_size for 'go'"):
        StepSampler(6, 3, strata=["py"] * 4 + ["go"] * 2)
    with pytest.raises(DataError, match="one for each of 6"):
        StepSampler(6, 3, strata=["py"])
    with pytest.raises(ConfigError, match=">= 1"):
        StepSampler(6, 0)


def test_shards_put_together_are_the_whole_batch():
    data = list(range(100, 130))
    whole = StepBatches(data, StepSampler(30, 6, 2), collate=list)
    parts = [whole.shard(rank, 3) for rank in range(3)]
    assert [item for part in parts for item in part(4)] == whole(4)
    with pytest.raises(ConfigError, match="multiple of the 4 processes"):
        whole.shard(0, 4)
    small = StepBatches(data, StepSampler(7, 7, 2), collate=list)
    assert [item for rank in range(2) for item in small.shard(rank, 2)(1)] == small(1)[:6]
    with pytest.raises(ConfigError, match="multiple of the 8 processes"):
        small.shard(0, 8)


def test_a_dataset_that_fetches_many_at_once_is_asked_once():
    class Many:
        def __getitems__(self, indices):
            return [-i for i in indices]

    assert sorted(StepBatches(Many(), StepSampler(4, 4), collate=list)(0)) == [-3, -2, -1, 0]


class Noisy:
    """Items that depend on all three global generators, as augmentations do."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()])  # noqa: NPY002


def test_batches_do_not_depend_on_start_or_what_ran_before():
    batches = StepBatches(Noisy(), StepSampler(20, 4, 1))
    whole = list(loader(batches, start=0, steps=8, seed=7))
    random.seed(99)
    torch.manual_seed(99)
    rest = list(loader(batches, start=5, steps=8, seed=7))
    assert len(rest) == 3
    assert all(torch.equal(a, b) for a, b in zip(whole[5:], rest, strict=True))
    other = next(iter(loader(batches, start=0, steps=1, seed=8)))
    assert not torch.equal(other[:, 1:], whole[0][:, 1:])


def test_batches_do_not_depend_on_the_number_of_workers():
    batches = StepBatches(Noisy(), StepSampler(20, 4, 1))
    alone = list(loader(batches, start=1, steps=6, seed=7))
    helped = list(loader(batches, start=1, steps=6, seed=7, workers=2))
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_reseed_sets_all_generators():
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    reseed(1, "step", 2)
    first = draw()
    reseed(1, "step", 2)
    assert draw() == first
    reseed(1, "step", 3)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_derived_seeds_are_stable_and_spread():
    assert derive_seed(0, "order", 3) == 554563163506081016
    seeds = {derive_seed(0, "x", i) for i in range(1000)} | {derive_seed(1, "x", i) for i in range(1000)}
    assert len(seeds) == 2000
    assert derive_seed(0, "a", "b") != derive_seed(0, "ab")
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_by_purpose():
    assert generator(0, "a").random() == generator(0, "a").random() != generator(0, "b").random()
    assert torch.equal(
        torch.rand(2, generator=torch_generator(0, "a")), torch.rand(2, generator=torch_generator(0, "a"))
    )


def test_seed_everything_takes_any_seed():
    for seed in (0, 2**40):
        seed_everything(seed)
        first = torch.rand(1), np.random.rand()  # noqa: NPY002
        seed_everything(seed)
        assert (torch.rand(1), np.random.rand()) == first  # noqa: NPY002


def test_threads_are_set_or_left():
    before = torch.get_num_threads()
    set_threads(None)
    assert torch.get_num_threads() == before
    set_threads(1)
    assert torch.get_num_threads() == 1
    set_threads(before)
