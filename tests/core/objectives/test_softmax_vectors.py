"""The softmax and sigmoid families against numbers of other people's code, dense and in tiles."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from objective_checks import assert_close, assert_matches, tensor
from reference.vectors import reference, reference_cases, reference_names
from torch import Tensor

import core.objectives.tiled as tiled
from core.objectives import clip, contrast, cwcl, dcl, nt_xent, pairwise, siglip, soft_contrast, supcon
from core.objectives.rows import unit_rows

DTYPES = [torch.float64, torch.float32]
problem = sys.modules["core.objectives.problem"]


@pytest.fixture(params=["dense", "tiled"], autouse=True)
def _method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "tiled":
        monkeypatch.setattr(problem, "DENSE_ENTRIES", 0)
        monkeypatch.setattr(tiled, "TILE", 3)


def cases(name: str) -> list[dict[str, Any]]:
    return reference_cases(name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["core_ntxent_lightly", "core_ntxent_monai"])
def test_nt_xent(name: str, dtype: torch.dtype) -> None:
    for case in cases(name):
        t = case["args"]["temperature"]
        loosen = 1e3 if dtype == torch.float64 and "monai" in name else 1  # MONAI keeps t in float32
        assert_matches(lambda z0, z1, t=t: nt_xent(z0, z1, temperature=t), case, dtype, loosen=loosen)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nt_xent_against_a_memory_bank(dtype: torch.dtype) -> None:
    for case in cases("core_ntxent_memorybank_lightly"):
        t = case["args"]["temperature"]

        def loss(z0: Tensor, z1: Tensor, bank: Tensor, t: float = t) -> Tensor:
            views = (
                unit_rows(z0),
                unit_rows(z1),
            )  # the bank's rows are unit in float32 only, and used as they are
            return nt_xent(*views, temperature=t, queue=bank, negatives="queue", normalize=False)

        assert_matches(loss, case, dtype)


def test_nt_xent_per_anchor() -> None:
    arrays = reference("mri_global_gr")
    z = [tensor(arrays[key], torch.float64) for key in ("z1", "z2")]
    per_anchor = nt_xent(*z, temperature=0.1, reduction="none")
    assert_close(per_anchor, arrays["expected_per_anchor"], 1e-6, "per anchor")
    assert_close(nt_xent(*z, temperature=0.1), arrays["expected_loss"], 1e-6, "loss")


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip(dtype: torch.dtype) -> None:
    def loss(image: Tensor, text: Tensor, logit_scale: Tensor, logit_bias: Tensor | None = None) -> Tensor:
        return clip(image, text, scale=logit_scale, bias=logit_bias)

    for case in cases("core_clip_openclip"):
        assert_matches(loss, case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_siglip(dtype: torch.dtype) -> None:
    for case in cases("core_siglip_openclip"):
        none = torch.full((len(case["in"]["image"]),), -1) if case["args"].get("negative_only") else None

        def loss(
            image: Tensor, text: Tensor, logit_scale: Tensor, logit_bias: Tensor, none: Tensor | None = none
        ) -> Tensor:
            return siglip(image, text, scale=logit_scale, bias=logit_bias, positives=none)

        assert_matches(loss, case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_supcon_official(dtype: torch.dtype) -> None:
    for case in cases("core_supcon"):
        args = case["args"]
        if args["src"] != "official":
            continue

        def loss(
            features: Tensor,
            labels: Tensor | None = None,
            mask: Tensor | None = None,
            args: dict[str, Any] = args,
        ) -> Tensor:
            return supcon(
                features, labels, mask=mask, temperature=args["temperature"], anchors=args["contrast_mode"],
                base_temperature=args["base_temperature"], empty="zero",
            )  # fmt: skip

        assert_matches(loss, case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_supcon_of_pytorch_metric_learning(dtype: torch.dtype) -> None:
    for case in cases("core_supcon"):
        if case["args"].get("loss") == "SupConLoss":
            t = case["args"]["temperature"]
            assert_matches(
                lambda embeddings, labels, t=t: supcon(embeddings, labels, temperature=t), case, dtype
            )


@pytest.mark.parametrize("dtype", DTYPES)
def test_nt_xent_over_positive_pairs(dtype: torch.dtype) -> None:
    """One row a pair, and the anchor's other positives left out by their group: how to average over pairs."""

    def loss(embeddings: Tensor, labels: Tensor, t: float) -> Tensor:
        same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
        anchor, partner = same.nonzero(as_tuple=True)
        return contrast(
            embeddings[anchor], embeddings, positives=partner, row_groups=labels[anchor], column_groups=labels,
            scale=1 / t,
        )  # fmt: skip

    for case in cases("core_supcon"):
        if case["args"].get("loss") == "NTXentLoss":
            t = case["args"]["temperature"]
            assert_matches(lambda embeddings, labels, t=t: loss(embeddings, labels, t), case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dcl(dtype: torch.dtype) -> None:
    for case in cases("core_dcl_lightly"):
        t, sigma = case["args"]["temperature"], case["args"].get("sigma")
        assert_matches(lambda z0, z1, t=t, s=sigma: dcl(z0, z1, temperature=t, sigma=s), case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cwcl_of_cellclip(dtype: torch.dtype) -> None:
    for case in cases("core_cwcl_cellclip"):
        scale = float(np.exp(case["args"]["inv_tau_log"]))
        loosen = 1e3 if dtype == torch.float64 else 1  # the source holds its logarithm in float32
        assert_matches(
            lambda frozen, image, text, a=scale: cwcl(image, text, frozen, scale=a),
            case,
            dtype,
            loosen=loosen,
        )


@pytest.mark.parametrize("name", reference_names("cwcl_"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_cwcl(name: str, dtype: torch.dtype) -> None:
    arrays = reference(name)
    x, y = (tensor(arrays[key], dtype).requires_grad_() for key in ("anchor", "target"))
    given, scale = tensor(arrays["reference"], dtype), 1 / float(arrays["tau"])
    of_loss = 1e-9 if dtype == torch.float64 else 2e-5
    loss = cwcl(x, y, given, scale=scale)
    assert_close(loss, arrays["loss_total"], of_loss, "both")
    loss.backward()
    assert_close(x.grad, arrays["grad_anchor_weights_detached"], 1e-5, "gradient of the anchor")
    assert_close(y.grad, arrays["grad_target"], 1e-5, "gradient of the target")
    weighted = contrast(x, y, positives=tensor(arrays["weights"], dtype), scale=scale)
    assert_close(weighted, arrays["loss_u2v_cwcl"], of_loss, "weighted direction, weights given")
    both = cwcl(x, y, given, scale=scale, both_ways=True)
    assert_close(both, arrays["loss_total_symmetric"], of_loss, "both ways weighted")


def test_soft_contrast() -> None:
    arrays = {
        key: tensor(value, torch.float64) for key, value in reference("softcon_soft_reconstruction").items()
    }
    z, keys = arrays["z"].requires_grad_(), arrays["z_prime"]
    settings = {"temperature": float(arrays["tau"])}
    soft = soft_contrast(z, keys, arrays["Y"], **settings)
    assert_close(soft, arrays["soft_bce_mean"].numpy(), 1e-10, "sigmoid form")
    hard = contrast(z, keys, scale=1 / settings["temperature"])
    assert_close(hard, arrays["hard"].numpy(), 1e-10, "hard")
    total = hard + float(arrays["lam"]) * soft
    assert_close(total, arrays["total_bce"].numpy(), 1e-10, "total")
    (gradient,) = torch.autograd.grad(total, z)
    assert_close(gradient, arrays["grad_z_total_bce"].numpy(), 1e-8, "gradient")
    ranked = soft_contrast(z, keys, arrays["Y"], form="softmax", **settings)
    assert_close(ranked, arrays["soft_ce_rownorm"].numpy(), 1e-10, "softmax form")
    given = siglip(z, keys, positives=arrays["S"], scale=1 / settings["temperature"], bias=0.0)
    assert_close(given, arrays["soft_bce_rowsum"].numpy(), 1e-10, "weights given, summed over rows")
    masked = soft_contrast(z, keys, arrays["Y_with_empty"], x_valid=arrays["valid"], **settings)
    assert_close(masked, arrays["soft_bce_masked"].numpy(), 1e-10, "unlabelled rows left out")


@pytest.mark.parametrize("name", ["symile_3mod_norm", "symile_3mod_raw"])
def test_pairwise(name: str) -> None:
    arrays = reference(name)
    sides = [tensor(arrays[f"rep{i}"], torch.float64) for i in range(3)]
    loss = pairwise(sides, scale=float(arrays["logit_scale"]), normalize=False)
    assert_close(3 * loss, arrays["clip_pairwise_loss"], 1e-5, name)


@pytest.mark.parametrize("t", [0.02, 0.1])
def test_pairwise_of_chosen_pairs(t: float) -> None:
    arrays = reference("more_infonce")
    sides = {key: tensor(arrays[key], torch.float64).requires_grad_() for key in ("note", "xray", "ecg")}
    loss = 2 * pairwise(list(sides.values()), pairs=[(0, 1), (0, 2)], scale=1 / t)
    assert_close(loss, arrays[f"loss_t{t}"], 1e-5, "loss")
    loss.backward()
    for key, side in sides.items():
        assert_close(side.grad, arrays[f"grad_{key}_t{t}"], 1e-4, f"gradient of {key}")


def test_moco_queue() -> None:
    arrays = reference("softcon_mocov2_queue_official")
    logits = tensor(arrays["logits"], torch.float64)
    weight = {key: tensor(arrays[f"before/encoder_{key}.weight"], torch.float64) for key in "qk"}
    bias = {key: tensor(arrays[f"before/encoder_{key}.bias"], torch.float64) for key in "qk"}
    moved = {part: arrays[f"after/encoder_k.{part}"] for part in ("weight", "bias")}
    query = tensor(arrays["xq"], torch.float64) @ weight["q"].T + bias["q"]
    key = tensor(arrays["xk"], torch.float64) @ tensor(moved["weight"], torch.float64).T
    key = key + tensor(moved["bias"], torch.float64)
    queue = tensor(arrays["before/queue"], torch.float64).T
    loss = nt_xent(query, key, temperature=float(arrays["T"]), queue=queue, negatives="queue")
    assert logits.shape[1] == 1 + len(queue)
    assert_close(loss, arrays["loss"], 1e-5, "loss")
