"""The published code's numbers for CT: Hounsfield units, hashes, keep lists, similarities, embeddings."""

from __future__ import annotations

import re

import numpy as np
import pytest
from reference.vectors import reference

from medical.ct.clusters import chained_removal, cosine_greedy
from medical.ct.hamming import hamming, reduce_hashes
from medical.ct.hashing import dhash, dhash_bits, resized, to_hex
from medical.ct.similarity import SSIM, Correlation, MutualInformation, SquaredError, entropy
from medical.ct.window import (
    WINDOWS,
    apply_window,
    hounsfield,
    minmax_255,
    published_hounsfield,
    unit_window,
)

NEAR = {"rtol": 1e-6, "atol": 1e-9}


def found_in(v: dict[str, np.ndarray], pattern: str) -> list[str]:
    return [match[1] for key in v if (match := re.fullmatch(pattern, key))]


def test_hounsfield_units_and_scaling_by_minimum_and_maximum():
    v = reference("ct_hu")
    slope, intercept = float(v["slope"]), float(v["intercept"])
    np.testing.assert_allclose(hounsfield(v["raw"], slope, intercept), v["expected_hu_float"], **NEAR)
    published = published_hounsfield(v["raw"], slope, intercept)
    np.testing.assert_array_equal(published, v["expected_hu_published_int16"])
    np.testing.assert_allclose(minmax_255(published), v["expected_minmax_0_255"], **NEAR)
    np.testing.assert_allclose(minmax_255(published, 1e-5), v["expected_minmax_eps_0_255"], **NEAR)


def test_windows_to_eight_bits():
    v = reference("ct_hu")
    names = found_in(v, "u8_(.*)")
    assert names
    for name in names:
        np.testing.assert_allclose(
            unit_window(v["expected_hu_float"], WINDOWS[name]), v[f"clip01_{name}"], **NEAR
        )
        np.testing.assert_array_equal(apply_window(v["expected_hu_float"], WINDOWS[name]), v[f"u8_{name}"])


def test_the_lanczos_copy_and_the_bits_of_every_image():
    v = reference("ct_dhash")
    size = int(v["hash_size"])
    np.testing.assert_array_equal([resized(one, size) for one in v["images_u8"]], v["resized_lanczos"])
    np.testing.assert_array_equal([dhash_bits(one, size) for one in v["images_u8"]], v["expected_bits"])
    assert [to_hex(dhash(one, size)) for one in v["images_u8"]] == v["expected_hex"].tolist()


def codes_of(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    v = reference(name)
    return v, np.packbits(v["expected_bits" if "expected_bits" in v else "bits"], axis=1)


def test_distances():
    v, codes = codes_of("ct_dhash")
    np.testing.assert_array_equal(hamming(codes, codes), v["expected_hamming"])


@pytest.mark.parametrize("name", ["ct_dhash", "ct_greedy"])
def test_keep_lists_and_representatives_per_volume_and_over_all(name):
    v, codes = codes_of(name)
    thresholds = found_in(v, r"keep_volume_t(\d+)")
    assert thresholds
    for t in thresholds:
        for scope, volumes in (("volume", v["volume_id"]), ("global", None)):
            found = reduce_hashes(codes, int(t), volumes)
            np.testing.assert_array_equal(found.keep, v[f"keep_{scope}_t{t}"])
            np.testing.assert_array_equal(found.representative, v[f"rep_{scope}_t{t}"])


def test_nothing_is_chained():
    v, codes = codes_of("ct_greedy")
    more = [
        len(reduce_hashes(codes, int(t)).keep) - int(v[f"n_components_global_t{t}"])
        for t in found_in(v, r"n_components_global_t(\d+)")
    ]
    assert all(excess >= 0 for excess in more)
    assert any(more)


def test_similarities_of_an_image_with_its_changed_copies():
    v = reference("ct_similarity")
    images = np.concatenate([v["base"][None], v["others"]])
    first, rest = np.array([0]), np.arange(1, len(images))
    ssim = SSIM(images).measure(first, rest)[0]
    np.testing.assert_allclose(ssim, v["expected_ssim"], **NEAR)
    information = MutualInformation(images, normalised=False).measure(first, rest)[0]
    np.testing.assert_allclose(information, v["expected_mi_bits_64"], **NEAR)
    np.testing.assert_allclose(
        MutualInformation(images).measure(first, rest)[0], v["expected_nmi_64"], **NEAR
    )
    error = SquaredError(images).measure(first, rest)[0]
    np.testing.assert_allclose(error, v["expected_mse"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(Correlation(images).measure(first, rest)[0], v["expected_ncc"], **NEAR)
    for values, order in ((-ssim, "order_ssim"), (-information, "order_mi"), (error, "order_mse")):
        np.testing.assert_array_equal(np.argsort(values, kind="stable"), v[order])


def test_entropy_of_grey_values():
    v = reference("ct_similarity")
    np.testing.assert_allclose(entropy(v["images_u8"]), v["expected_entropy_bits_256"], **NEAR)


def test_embedding_duplicates_greedy_and_as_the_semdedup_code_removes_them():
    v = reference("ct_embedding")
    found = cosine_greedy(v["embedding"], 0.05)
    np.testing.assert_allclose(
        found.score,
        v["expected_cosine"][np.arange(len(found.score)), found.representative],
        rtol=1e-6,
        atol=1e-9,
    )
    for text in found_in(v, r"semdedup_remove_eps(.*)"):
        epsilon = float(text)
        np.testing.assert_array_equal(
            cosine_greedy(v["embedding"], epsilon).keep, v[f"greedy_keep_global_eps{text}"]
        )
        np.testing.assert_array_equal(
            cosine_greedy(v["embedding"], epsilon, v["cluster"]).keep, v[f"greedy_keep_in_cluster_eps{text}"]
        )
        np.testing.assert_array_equal(
            chained_removal(v["embedding"], v["cluster"], epsilon), v[f"semdedup_remove_eps{text}"]
        )
