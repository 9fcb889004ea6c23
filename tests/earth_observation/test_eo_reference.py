"""SoftCon, tiles, labels, metrics and hyper-pixels agree with reference numbers.

The files named `_reconstruction` pin this project's definition: those losses were never published.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.vectors import reference

from earth_observation.bands import SENSORS
from earth_observation.hpcl import hpcl_loss, hyper_pixels
from earth_observation.labels import label_similarity, multi_labels
from earth_observation.metrics import average_precision, confusion_matrix, f1_scores, segmentation_scores
from earth_observation.normalise import STATISTICS, Normalisation, named_statistics
from earth_observation.softcon import hard_loss, soft_loss, softcon_loss
from earth_observation.tiles import StripBlend, blend_window, tile_starts


def test_hard_term_of_two_views_and_its_gradient():
    data = reference("softcon_mocov3_official")
    q1, q2, k1, k2 = (torch.tensor(data[name]).requires_grad_() for name in ("q1", "q2", "k1", "k2"))
    t, none = float(data["T"]), torch.zeros(len(q1), 3)
    assert hard_loss(q1, k2, temperature=t).item() == pytest.approx(float(data["loss_q1k2"]), abs=1e-5)
    assert hard_loss(q2, k1, temperature=t).item() == pytest.approx(float(data["loss_q2k1"]), abs=1e-5)
    found = softcon_loss((q1, q2), (k1, k2), (none, none), temperature=t, weight=0.0)
    assert found["loss"].item() == pytest.approx(float(data["loss"]), abs=1e-5)
    found["loss"].backward()
    np.testing.assert_allclose(q1.grad, data["grad_q1"], atol=1e-6)
    np.testing.assert_allclose(q2.grad, data["grad_q2"], atol=1e-6)
    assert k1.grad is None
    # labels that are all unknown leave the hard term, whatever the weight
    same = softcon_loss((q1, q2), (k1, k2), (none, none), temperature=t, weight=0.7)
    assert same["loss"].item() == pytest.approx(float(data["loss"]), abs=1e-5)


def test_forms_of_the_soft_term():
    data = {
        key: torch.tensor(value, dtype=torch.float64)
        for key, value in reference("softcon_soft_reconstruction").items()
    }
    z, keys, y, t = data["z"], data["z_prime"], data["Y"], float(data["tau"])
    for form, name in (("sigmoid", "soft_bce_mean"), ("softmax", "soft_ce_rownorm"), ("mse", "soft_mse_cos")):
        found = soft_loss(z, keys, y, temperature=t, form=form)
        assert float(found) == pytest.approx(float(data[name]), abs=1e-10), form
    total = hard_loss(z, keys, temperature=t, scaled=False) + float(data["lam"]) * soft_loss(
        z, keys, y, temperature=t
    )
    assert float(total) == pytest.approx(float(data["total_bce"]), abs=1e-10)
    masked = soft_loss(z, keys, data["Y_with_empty"], temperature=t)
    assert float(masked) == pytest.approx(float(data["soft_bce_masked"]), abs=1e-10)


def test_label_sets_of_rasters_and_their_overlap():
    data = reference("softcon_labels")
    for kind in ("cosine", "jaccard"):
        np.testing.assert_allclose(label_similarity(data["Y"], kind=kind), data[kind], atol=1e-12)
    np.testing.assert_allclose(label_similarity(data["Y_with_empty"]), data["cosine_with_empty"], atol=1e-12)
    np.testing.assert_array_equal(data["Y_with_empty"].sum(1) > 0, data["valid_with_empty"])
    for key, share in (("ml_any", 0.0), ("ml_005", 0.05), ("ml_010", 0.10)):
        found = multi_labels(data["dw"], data[key].shape[1], min_fraction=share)
        np.testing.assert_array_equal(found, data[key], err_msg=key)


def test_metrics_over_whole_sets():
    data = reference("softcon_metrics")
    precision, f1 = average_precision(data["y"], data["score"]), f1_scores(data["y"], data["score"])
    for kind in ("micro", "macro"):
        assert precision[kind] == pytest.approx(float(data[f"map_{kind}"]), abs=1e-5)
        assert f1[kind] == pytest.approx(float(data[f"f1_{kind}_05"]), abs=1e-5)
    confusion = confusion_matrix(
        data["seg_gt"], data["seg_pred"], len(data["confusion"]), ignore=int(data["ignore"])
    )
    np.testing.assert_array_equal(confusion, data["confusion"])
    scores = segmentation_scores(confusion)
    np.testing.assert_allclose(scores["iou"], data["iou"], atol=1e-9)
    np.testing.assert_allclose(scores["f1"], data["f1_per_class"], atol=1e-9)
    assert scores["miou"] == pytest.approx(float(data["miou"]), abs=1e-9)
    assert scores["accuracy"] == pytest.approx(float(data["pixel_acc"]), abs=1e-9)
    change = segmentation_scores(confusion_matrix(data["bin_gt"], data["bin_pred"], 2))
    for name in ("precision", "recall", "f1", "iou"):
        assert change[name][1] == pytest.approx(float(data[f"bin_{name}"]), abs=1e-9)
    assert change["miou"] == pytest.approx(float(data["bin_miou"]), abs=1e-9)


def test_normalisation_and_its_statistics():
    data = reference("softcon_norm_official")
    for key, name in (("S1", "ssl4eo_50k/s1"), ("S2C", "ssl4eo_50k/s2_l1c"), ("S2A", "ssl4eo_50k/s2_l2a")):
        if f"{key}_MEAN" in data:
            np.testing.assert_array_equal(STATISTICS[name]["mean"], data[f"{key}_MEAN"])
            np.testing.assert_array_equal(STATISTICS[name]["std"], data[f"{key}_STD"])
    s1, s2 = (named_statistics(f"ssl4eo_50k/{name}", SENSORS[name].bands) for name in ("s1", "s2_l1c"))
    np.testing.assert_array_equal(s1(data["s1_db"]), data["s1_u8"])
    np.testing.assert_array_equal(s2(data["s2_l1c"]), data["s2_u8"])
    # the published division by 10,000 in this form: half a range each side of 5000, and clipped, never wrapped
    tenth = Normalisation("div10k", SENSORS["s2_l1c"].bands, (5000.0,) * 13, (2500.0,) * 13)
    np.testing.assert_array_equal(tenth(data["s2_l1c"]), data["s2_div10k_clipped_u8"])


def test_tiles_and_their_blend():
    data = reference("softcon_tile_blend_reconstruction")
    height, width, tile, stride = (int(data[name]) for name in ("H", "W", "tile", "stride"))
    rows, columns = tile_starts(height, tile, stride), tile_starts(width, tile, stride)
    assert (rows, columns) == (data["row_starts"].tolist(), data["col_starts"].tolist())
    np.testing.assert_allclose(blend_window(tile), data["window"], rtol=1e-12)
    answers = iter(data["preds"])
    blend = StripBlend(data["preds"].shape[1], width, tile)
    done = []
    for row, following in zip(rows, [*rows[1:], height]):
        for column in columns:
            blend.add(next(answers), row, column)
        done.append(blend.take(following - row))
    found = np.concatenate(done, axis=1)
    np.testing.assert_allclose(found, data["blended"], atol=1e-6)
    np.testing.assert_array_equal(found.argmax(0), data["argmax"])


def test_hyper_pixels_and_their_contrast():
    data = reference("landslide_hpcl_reconstruction")
    cells = hyper_pixels(torch.tensor(data["mask"]), int(data["stride"]), rho=float(data["rho"]))
    np.testing.assert_allclose(cells.fraction, data["frac"], atol=1e-12)
    np.testing.assert_array_equal(cells.label, data["label"])
    np.testing.assert_array_equal(cells.boundary, data["boundary"])
    anchors = torch.tensor(data["q"]).movedim(1, -1).flatten(0, 2)
    labels = cells.label.flatten()
    assert int((labels >= 0).sum()) == int(data["n_anchor"])
    queues = (torch.tensor(data["queue_pos"]), torch.tensor(data["queue_neg"]))
    loss = hpcl_loss(anchors, labels, *queues, temperature=float(data["tau"]))
    assert float(loss) == pytest.approx(float(data["loss"]), abs=1e-10)
