"""What every selection must hold: coverage, separation, order, scope; exactness of the search over all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from core.errors import ConfigError, DataError
from medical.ct.coverage import height_deciles, kept_by, kept_curve, warnings_of
from medical.ct.greedy import greedy
from medical.ct.hamming import hamming, reduce_hashes
from medical.ct.hashing import resized
from medical.ct.index import HashIndex, open_index
from medical.ct.select import METHODS, Slices, select, select_to_ratio


def plain_greedy(codes, threshold):
    """The published loop: keep the first that remains, drop all within the threshold of it."""
    distance = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
    representative = np.full(len(codes), -1)
    for row in range(len(codes)):
        if representative[row] < 0:
            representative[(representative < 0) & (distance[row] <= threshold)] = row
    return representative


def walk(n, rng, per=200):
    """Hashes that change by two bits from slice to slice, and start anew with each volume."""
    flips = np.bitwise_xor.reduce(np.uint64(1) << rng.integers(0, 64, (n, 2)).astype(np.uint64), axis=1)
    flips[::per] = rng.integers(0, 2**63, len(flips[::per]), dtype=np.uint64)
    starts = np.arange(n) // per
    found = np.empty(n, np.uint64)
    for volume in np.unique(starts):
        found[starts == volume] = np.bitwise_xor.accumulate(flips[starts == volume])
    return found.view(np.uint8).reshape(n, 8), starts


@pytest.mark.parametrize(
    ("kind", "threshold"),
    [("random", 6), ("walk", 3), ("walk", 6), ("walk", 12), ("constant bits", 6)],
)
def test_the_search_over_all_equals_brute_force_on_ten_thousand_hashes(kind, threshold):
    rng = np.random.default_rng(threshold)
    codes = rng.integers(0, 256, (10_000, 8), dtype=np.uint8) if kind == "random" else walk(10_000, rng)[0]
    if kind == "constant bits":
        codes = codes & np.array([0, 0, 0xFF, 0x0F, 0xF0, 0xFF, 0, 0], np.uint8)  # air above and below
    found = reduce_hashes(codes, threshold)
    representative = np.full(len(codes), -1)
    for row in range(len(codes)):
        if representative[row] < 0:
            open_rows = np.flatnonzero(representative < 0)
            near = hamming(codes[row : row + 1], codes[open_rows])[0] <= threshold
            representative[open_rows[near]] = row
    np.testing.assert_array_equal(found.representative, representative)
    np.testing.assert_array_equal(found.keep, np.flatnonzero(representative == np.arange(len(codes))))


@settings(max_examples=40, deadline=None)
@given(
    codes=arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 60), st.just(8)), elements=st.sampled_from([0, 1, 3, 255])
    ),
    threshold=st.integers(0, 20),
    panel=st.sampled_from([1, 3, 64]),
)
def test_greedy_equals_the_published_loop_and_covers_and_separates(codes, threshold, panel):
    found = greedy(
        len(codes), lambda a, b: hamming(codes[a], codes[b]), lambda d: d <= threshold, panel=panel
    )
    np.testing.assert_array_equal(found.representative, plain_greedy(codes, threshold))
    kept = codes[found.keep]
    assert (found.score <= threshold).all()
    apart = hamming(kept, kept) + 1000 * np.eye(len(kept), dtype=int)
    assert apart.min() > threshold


@pytest.mark.parametrize("shape", [(512, 512), (131, 131), (64, 64), (20, 20), (300, 16), (8, 9)])
def test_the_copy_that_is_hashed_is_pillows_to_the_bit(shape):
    rng = np.random.default_rng(shape[0])
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    for image in (
        noise,
        np.where(noise < 128, 0, 255).astype(np.uint8),
        (np.cumsum(noise % 7, 1) % 256).astype(np.uint8),
    ):
        for size in (8, 16):
            expected = Image.fromarray(image).resize((size + 1, size), Image.Resampling.LANCZOS)
            np.testing.assert_array_equal(resized(image, size), np.asarray(expected))


def test_hashes_of_256_bits_are_reduced_too():
    codes = np.random.default_rng(0).integers(0, 256, (3000, 32), dtype=np.uint8)
    codes[1::2] = codes[::2]
    codes[1::2, 0] ^= 1
    np.testing.assert_array_equal(reduce_hashes(codes, 2).keep, np.arange(0, 3000, 2))


@pytest.fixture(scope="module")
def slices():
    """Three volumes of 20 slices; images drift, embeddings and hashes with them."""
    rng = np.random.default_rng(3)
    codes, volumes = walk(60, rng, per=20)
    base = rng.integers(0, 256, (3, 24, 24))
    images = np.stack([np.roll(base[k // 20], (k % 20) // 4, axis=1) for k in range(60)]).astype(np.uint8)
    embeddings = images.reshape(60, -1).astype(float) - 127 + rng.normal(0, 3, (60, 576))
    return Slices(
        np.array([f"v{v}" for v in volumes]),
        np.tile(np.arange(20) * 2.5, 3),
        codes,
        lambda rows: images[rows],
        embeddings,
    )


THRESHOLDS = {
    "dhash": 4, "ssim": 0.6, "nmi": 0.5, "ncc": 0.6, "mse": 3000, "embedding": 0.3, "semdedup": 0.3,
    "every_n": 10.0, "entropy": 1.0, "random": 0.25,
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(slices, method):
    found = select(slices, method=method, threshold=THRESHOLDS[method], clusters=4)
    n = len(slices.volumes)
    assert found.keep.tolist() == sorted(set(found.keep.tolist()))
    assert (len(found.representative), len(found.score)) == (n, n)
    np.testing.assert_array_equal(found.representative[found.keep], found.keep)
    named = found.representative >= 0
    assert set(found.representative[named]) <= set(found.keep)
    if method != "semdedup":
        assert (slices.volumes[named] == slices.volumes[found.representative[named]]).all()
    assert (
        select(slices, method=method, threshold=THRESHOLDS[method], clusters=4).keep.tolist()
        == found.keep.tolist()
    )


@pytest.mark.parametrize("method", ["dhash", "ssim", "every_n", "embedding"])
def test_shuffled_rows_and_volumes_give_the_same_choice(slices, method):
    order = np.random.default_rng(1).permutation(len(slices.volumes))
    shuffled = Slices(
        slices.volumes[order], slices.positions[order], slices.codes[order],
        lambda rows: slices.images(order[rows]), slices.embeddings[order],
    )  # fmt: skip
    plain = select(slices, method=method, threshold=THRESHOLDS[method])
    found = select(shuffled, method=method, threshold=THRESHOLDS[method])
    assert set(order[found.keep].tolist()) == set(plain.keep.tolist())
    np.testing.assert_array_equal(order[found.representative], plain.representative[order])


def test_every_n_counts_millimetres_not_slices():
    z = np.array([0, 1, 2, 3, 10, 20, 21.0])
    found = select(Slices(np.array(["a"] * 7), z), method="every_n", threshold=3.0)
    assert z[found.keep].tolist() == [0, 3, 10, 20]


def test_a_ratio_is_found_or_refused(slices):
    for method in ("dhash", "ssim", "every_n", "random", "embedding"):
        assert select_to_ratio(slices, method=method, ratio=0.3, tolerance=0.12).ratio == pytest.approx(
            0.3, abs=0.12
        )
    with pytest.raises(DataError, match="kept share with dhash"):
        select_to_ratio(slices, method="dhash", ratio=0.333, tolerance=0.0)


def test_wrong_arguments_are_refused_by_name(slices):
    with pytest.raises(ConfigError, match=r"select\.method"):
        select(slices, method="phash", threshold=6)
    with pytest.raises(ConfigError, match="threshold of dhash"):
        select(slices, method="dhash", threshold=6.5)
    with pytest.raises(ConfigError, match="threshold of ssim"):
        select(slices, method="ssim", threshold=2)
    bare = Slices(slices.volumes, slices.positions)
    with pytest.raises(DataError, match="needs images"):
        select(bare, method="ssim", threshold=0.5)
    with pytest.raises(DataError, match="nothing to select"):
        select(Slices(np.array([]), np.array([])), method="every_n", threshold=1)
    with pytest.raises(DataError, match="one row a slice"):
        Slices(slices.volumes, slices.positions[:-1])
    with pytest.raises(DataError, match="uint8"):
        reduce_hashes(np.zeros((3, 8)), 6)


def test_coverage_says_what_a_selection_loses():
    keep = np.zeros(100, bool)
    keep[:30] = True
    volumes, z, labels = np.array(["a"] * 100), np.arange(100.0), np.r_[np.zeros(60, int), np.ones(40, int)]
    said = warnings_of(keep, volumes, z, labels)
    assert any("body height 90 to 100 %" in line for line in said)
    assert "no slice with label 1 is left." in said
    assert [row["ratio"] for row in kept_by(keep, height_deciles(volumes, z))][:4] == [1.0, 1.0, 1.0, 0.0]
    assert any("removed" in line for line in warnings_of(np.arange(100) < 1, volumes, z, labels))
    codes, starts = walk(100, np.random.default_rng(0), per=50)
    curve = kept_curve(codes, starts, [0, 6])
    assert curve[0]["ratio"] > curve[1]["ratio"] >= curve[1]["lowest"]


def test_the_index_finds_the_first_of_the_nearest_and_survives_saving(tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, (50, 8), dtype=np.uint8)
    codes[30] = codes[10]
    index = HashIndex(codes, [f"s{k}" for k in range(50)], threshold=6, window="lung", hash_size=8)
    asked = codes[[30, 4]].copy()
    asked[1, 0] ^= 0b111
    index.save(tmp_path)
    for one in (index, open_index(tmp_path)):
        found = one.nearest(asked)
        assert [(near.exemplar, near.distance, near.duplicate) for near in found] == [
            ("s10", 0, True),
            ("s4", 3, True),
        ]
    (tmp_path / "codes.npy").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be read"):
        open_index(tmp_path)
