"""The temporal objectives, compositions and scores agree with reference numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.vectors import reference, reference_names

from audio_language.compose import compose
from audio_language.prompts import COMBINED, SINGLE, pair_caption, words
from audio_language.scores import caption_retrieval, group_scores, slots_strict, top1, top2_set
from audio_language.temporal_loss import TemporalContrastiveLoss, relation_bias, single_combined_loss
from core.objectives.cwcl import cwcl

STAGE_A = reference_names("teminal_stageA")
STAGE_B = reference_names("teminal_stageB") + reference_names("teminal_tact")
CWCL = [name for name in reference_names("cwcl") if name != "cwcl"]


def tensors(data, *names, dtype=torch.float64):
    return [torch.tensor(data[name], dtype=dtype, requires_grad=True) for name in names]


@pytest.mark.parametrize("name", STAGE_A)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_stage_a(name, dtype, tolerance):
    data = reference(name)
    audio, text = tensors(data, "audio", "text", dtype=dtype)
    loss = single_combined_loss(audio, text, scale=float(data["logit_scale"]))
    assert float(loss) == pytest.approx(float(data["loss_mean"]), rel=tolerance)
    assert 1.6 * float(loss) == pytest.approx(float(data["loss_repo"]), rel=tolerance)


def temporal_loss(data, **options):
    names = ("alpha_same", "alpha_cross", "overlap_alpha_same", "overlap_alpha_cross", "beta")
    return TemporalContrastiveLoss(**{key: float(data[key]) for key in names if key in data}, **options)


@pytest.mark.parametrize("name", STAGE_B)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-5)])
def test_stage_b(name, dtype, tolerance):
    data = reference(name)
    views, pairs, scale = int(data["n_views"]), int(data["n_pairs"]), float(data["logit_scale"])
    audio, text = tensors(data, "audio", "text", dtype=dtype)
    x, y = audio.reshape(views, pairs, -1), text.reshape(views, pairs, -1)
    total = temporal_loss(data)(x, y, scale)
    assert float(total) == pytest.approx(float(data["loss_sum"]), rel=tolerance)
    mean = temporal_loss(data, reduction="mean_directions")(x, y, scale)
    assert float(mean) == pytest.approx(float(data["loss_sum"]) / 2, rel=tolerance)
    if "loss_sum_eps1e8" in data and dtype == torch.float64:
        assert float(temporal_loss(data, eps=1e-8)(x, y, scale)) == pytest.approx(
            float(data["loss_sum_eps1e8"]), rel=1e-9
        )
    if "grad_audio" in data:
        total.backward()
        for x, key in ((audio, "grad_audio"), (text, "grad_text")):
            np.testing.assert_allclose(
                x.grad.numpy(), data[key], atol=1e-6 if dtype == torch.float64 else 1e-4
            )


@pytest.mark.parametrize("name", STAGE_B)
def test_a_plain_loop_over_the_bias_gives_the_same_row_losses(name):
    data = reference(name)
    views, pairs = int(data["n_views"]), int(data["n_pairs"])
    names = ("alpha_same", "alpha_cross", "overlap_alpha_same", "overlap_alpha_cross")
    bias = relation_bias(views, pairs, **{k: float(data[k]) for k in names if k in data}).numpy()
    logits = data["logits_a2t_unbiased"]
    for matrix, shift, key in ((logits, bias, "nll_a2t"), (logits.T, bias.T, "nll_t2a")):
        rows = [np.log(np.exp(m + b).sum()) - m[i] for i, (m, b) in enumerate(zip(matrix, shift))]
        np.testing.assert_allclose(rows, data[key], rtol=1e-9)


@pytest.mark.parametrize("name", CWCL)
def test_cwcl(name):
    data = reference(name)
    anchor, target = tensors(data, "anchor", "target")
    options = {"reference": torch.tensor(data["reference"]), "scale": 1 / float(data["tau"])}
    loss = cwcl(anchor, target, **options)
    assert float(loss) == pytest.approx(float(data["loss_total"]), rel=1e-9)
    loss.backward()
    np.testing.assert_allclose(anchor.grad.numpy(), data["grad_anchor_weights_detached"], atol=1e-6)
    np.testing.assert_allclose(target.grad.numpy(), data["grad_target"], atol=1e-6)
    both = cwcl(anchor, target, both_ways=True, **options)
    assert float(both) == pytest.approx(float(data["loss_total_symmetric"]), rel=1e-9)


def test_compositions():
    data = reference("teminal_compose")
    a, b = data["a"], data["b"]
    for relation in ("before", "reversed"):
        np.testing.assert_array_equal(compose(a, b, relation), data[relation])
    np.testing.assert_allclose(compose(a, b, "while"), data["overlay_pad"], rtol=1e-12)
    np.testing.assert_allclose(compose(a, b, "while", overlay="first"), data["overlay_repo"], rtol=1e-12)
    first, second = (words(str(data[key])) for key in ("text_a", "text_b"))
    for relation in ("before", "reversed", "while"):
        assert pair_caption(first, second, relation) == str(data[f"text_{relation}"])
    assert SINGLE.format(first) == str(data["text_single"])
    assert COMBINED.format(first, second) == str(data["text_double"])


def test_group_scores():
    data = reference("teminal_groupscore")
    found = group_scores(data["sim_audio_text"])
    for name in ("text", "audio", "group"):
        assert found[name].mean() == pytest.approx(float(data[f"{name}_score"]))
    assert found["order"].mean() == pytest.approx(float(data["tact_accuracy"]))


def test_zero_shot_scores():
    data = reference("teminal_zste")
    assert top1(data["sim_single"], data["target"]).mean() == pytest.approx(float(data["zste1_acc"]))
    np.testing.assert_array_equal(top2_set(data["sim_multi"], data["pairs"]), data["zste2_per_item"] > 0)
    assert top1(data["sim_order"], data["order_target"]).mean() == pytest.approx(float(data["zste3_acc"]))
    classes = data["sim_slots"].shape[1] // 2
    slots = data["pairs"] + np.array([0, classes])
    np.testing.assert_array_equal(top2_set(data["sim_slots"], slots), data["zste5_top2_per_item"] > 0)
    np.testing.assert_array_equal(
        slots_strict(data["sim_slots"], data["pairs"]), data["zste5_strict_per_item"] > 0
    )


def test_retrieval_with_several_captions():
    data = reference("teminal_retrieval")
    owner = np.repeat(np.arange(len(data["audio"])), int(data["captions_per_clip"]))
    unit = [data[key] / np.linalg.norm(data[key], axis=1, keepdims=True) for key in ("audio", "text")]
    found = caption_retrieval(unit[0] @ unit[1].T, owner)
    for way in ("t2a", "a2t"):
        for k in (1, 5, 10):
            assert found[f"{way}_r@{k}"].mean() == pytest.approx(float(data[f"{way}_R{k}"]))
        assert found[f"{way}_map@10"].mean() == pytest.approx(float(data[f"{way}_mAP10"]))
