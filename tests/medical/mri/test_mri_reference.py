"""The losses, tables and scores against reference numbers; shapes and arguments are read from the files."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from reference.vectors import reference

from core.objectives import nt_xent
from medical.mri.dice import dice_loss, dice_scores
from medical.mri.global_loss import (
    block_pairs,
    gd,
    gd_blocks,
    gd_minus,
    gd_official,
    pair_contrast,
    view_pairs,
)
from medical.mri.local_loss import ld, local_targets, local_terms, lr, region_rows
from medical.mri.partition import partition_bounds
from medical.mri.positional import pcl
from medical.mri.preprocess import fit_to, percentiles, rescale_intensity
from medical.mri.regions import Regions, region_table

DTYPES = [pytest.param(torch.float64, 1e-6, id="double"), pytest.param(torch.float32, 1e-4, id="single")]


def close(found, expected, rtol):
    found = found.detach().double().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * 1e-2)


def tensors(arrays, *names, dtype=torch.float64):
    return [torch.from_numpy(arrays[name]).to(dtype) for name in names]


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_gr_is_nt_xent(dtype, rtol):
    v = reference("mri_global_gr")
    x, y = tensors(v, "z1", "z2", dtype=dtype)
    close(nt_xent(x, y, temperature=float(v["tau"])), v["expected_loss"], rtol)
    close(
        nt_xent(x, y, temperature=float(v["tau"]), reduction="none").flatten(), v["expected_per_anchor"], rtol
    )


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize("kind", ["", "_irregular"])
def test_gd_minus(kind, dtype, rtol):
    v = reference("mri_global_gdminus")
    views = tensors(v, "z_orig", "z_aug1", "z_aug2", dtype=dtype)
    partition, tau = torch.from_numpy(v[f"partition{kind}"]), float(v["tau"])
    assert {tuple(sorted(p)) for p in view_pairs(len(partition)).tolist()} == {
        tuple(sorted(p)) for p in v["pairs"].tolist()
    }
    pairs = torch.from_numpy(v["pairs"])
    forth, back = pair_contrast(torch.cat(views), pairs, partition.repeat(3), temperature=tau)
    close(forth, v[f"expected_l_ab{kind}"], rtol)
    close(back, v[f"expected_l_ba{kind}"], rtol)
    close(gd_minus(*views, partition, temperature=tau), v[f"expected_loss_paper{kind}"], rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_gd_canonical(dtype, rtol):
    v = reference("mri_global_gd")
    views = tensors(v, "z_orig", "z_aug1", "z_aug2", dtype=dtype)
    partition, volume = torch.from_numpy(v["partition"]), torch.from_numpy(v["volume"])
    pairs = torch.from_numpy(v["pairs_canonical"])
    forth, back = pair_contrast(torch.cat(views), pairs, partition.repeat(3), temperature=float(v["tau"]))
    close(forth, v["expected_l_ab_canonical"], rtol)
    close(back, v["expected_l_ba_canonical"], rtol)
    close(
        gd(*views, partition, volume, temperature=float(v["tau"])), v["expected_loss_paper_canonical"], rtol
    )


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_gd_of_the_published_code(dtype, rtol):
    v = reference("mri_global_gd")
    (rows,) = tensors(v, "z_blocks", dtype=dtype)
    partition, tau = torch.from_numpy(v["partition_blocks"]), float(v["tau"])
    parts = int(partition.max()) + 1
    assert block_pairs(len(rows), parts).tolist() == v["pairs_blocks"].tolist()
    forth, back = pair_contrast(rows, torch.from_numpy(v["pairs_blocks"]), partition, temperature=tau)
    close(forth, v["expected_l_ab_blocks"], rtol)
    close(back, v["expected_l_ba_blocks"], rtol)
    close((forth + back).sum() / len(forth), v["expected_loss_paper_blocks"], rtol)
    close(gd_blocks(rows, parts=parts, temperature=tau), v["expected_loss_official"], rtol)
    originals, augmented = rows.unflatten(0, (-1, 2, parts)).transpose(0, 1).flatten(1, 2)
    found = gd_official(originals, augmented, parts=parts, temperature=tau)
    close(found, v["expected_loss_official"], rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize("key", ["k3_a13", "k3_a13_proj", "k1_a13", "k3_a9", "k1_a9", "k3_a13_allneg"])
def test_lr(key, dtype, rtol):
    v = reference("mri_local_lr")
    x, y = tensors(v, "f1", "f2", dtype=dtype)
    kernel, anchors = map(int, re.match(r"k(\d)_a(\d+)", key).groups())
    weights = torch.from_numpy(v["W"]).to(dtype) if key.endswith("proj") else None
    table = region_table(
        *x.shape[2:],
        kernel=kernel,
        anchors=anchors,
        negatives="all" if key.endswith("allneg") else "table",
    )
    if not key.endswith("allneg"):
        assert table.corners[:anchors].tolist() == v[f"pos_{key}"].tolist()
        assert table.negative_corners().tolist() == v[f"neg_{key}"].tolist()
    tau = float(v["tau"])
    loss = lr(x, y, table, kernel=kernel, projection=weights, temperature=tau)
    close(loss, v[f"expected_loss_{key}"], rtol)
    a, b = (region_rows(one, table, kernel=kernel, projection=weights) for one in (x, y))
    negatives = torch.from_numpy(table.negatives)
    each = [local_terms(*pair, negatives, temperature=tau) for pair in ((a, b), (b, a))]
    close(torch.stack(each, dim=2), v[f"expected_per_{key}"], rtol)


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
@pytest.mark.parametrize("keep", [4, 5])
def test_ld(keep, dtype, rtol):
    v = reference("mri_local_ld")
    (maps,) = tensors(v, "f", dtype=dtype)
    first, second = maps.chunk(2)
    volumes = v[f"expected_per_neg{keep}"].shape[2]
    table = region_table(*maps.shape[2:])
    assert table.corners[: table.anchors].tolist() == v["pos"].tolist()
    assert table.negative_corners().tolist() == v["neg"].tolist()
    options = {"parts": len(first) // volumes, "temperature": float(v["tau"]), "keep": keep}
    terms = local_targets(first, second, table, **options)
    close(terms, v[f"expected_per_neg{keep}"], rtol)
    close(terms.mean(), v[f"expected_loss_mean_neg{keep}"], rtol)
    close(ld(first, second, table, **options), v[f"expected_loss_official_neg{keep}"], rtol)


def test_region_tables():
    v = reference("mri_region_tables")
    for name in (key for key in v if key.startswith("pos_")):
        image, blocks, kernel, anchors = map(int, re.match(r"pos_s(\d+)_l(\d)_k(\d)_a(\d+)", name).groups())
        side = image // 2 ** (5 - blocks)
        found: Regions = region_table(side, side, kernel=kernel, anchors=anchors)
        assert found.corners[:anchors].tolist() == v[name].tolist(), name
        assert found.negative_corners().tolist() == v[name.replace("pos", "neg", 1)].tolist(), name


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES)
def test_pcl(dtype, rtol):
    v = reference("mri_pcl")
    x, position = tensors(v, "features", "position", dtype=dtype)
    options = {"threshold": float(v["threshold"]), "temperature": float(v["tau"])}
    close(pcl(x, position, reduction="none", **options), v["expected_per_anchor_unscaled"], rtol)
    close(pcl(x, position, **options), v["expected_loss_unscaled"], rtol)
    close(pcl(x, position, base_temperature=float(v["base_tau"]), **options), v["expected_loss"], rtol)


def test_dice_scores_and_loss():
    v = reference("mri_dice")
    classes = int(v["n_classes"])
    found = dice_scores(v["gt"], v["pred"], classes)
    close(found, v["expected_dice"], 1e-6)
    close(found.mean(), v["expected_mean"], 1e-6)
    for pred, key in (("pred_absent", "absent_both"), ("pred_fp", "absent_gt_only")):
        close(dice_scores(v["gt_absent"], v[pred], classes), v[f"expected_dice_{key}"], 1e-6)
    logits = torch.from_numpy(v["logits_nhwc"]).permute(0, 3, 1, 2)
    labels = torch.from_numpy(v["labels"])
    close(dice_loss(logits, labels), v["expected_dice_loss_with_bg"], 1e-6)
    close(dice_loss(logits, labels, background=False), v["expected_dice_loss_no_bg"], 1e-6)


def test_preprocessing():
    v = reference("mri_preproc")
    low, high = percentiles(v["volume"])
    close([low, high], [v["p_lo"], v["p_hi"]], 1e-6)
    close(rescale_intensity(v["volume"], low, high), v["expected_norm"], 1e-6)
    for name in (key for key in v if key.startswith("crop_in_")):
        size = v[name.replace("in", "size")]
        close(fit_to(v[name], *size.tolist()), v[name.replace("in", "out")], 1e-12)
    for depth, parts, *bounds in v["partition_rows"].tolist():
        assert partition_bounds(depth, parts, "official").tolist() == bounds[: parts + 1]
