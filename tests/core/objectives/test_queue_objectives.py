"""MoCHi and feature transformation: reference numbers, mixtures in full, what may not be a negative."""

from __future__ import annotations

import pytest
import torch
from objective_checks import assert_close, assert_finite, assert_matches, tensor
from reference.vectors import reference_cases
from torch.nn.functional import cross_entropy, normalize

from core.errors import KindredError
from core.objectives.feature_transform import feature_transform
from core.objectives.mochi import Mixing, draw_mixing, mochi, mochi_logits

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_mochi_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_mochi_unofficial"):
        a = case["args"]

        def loss(q, k, queue, i1, i2, i3, alpha, beta, a=a):
            mixing = Mixing(i1, i2, alpha[..., 0], i3, beta[..., 0] / 2)
            q, k = normalize(q), normalize(k)  # the queue is stored as unit rows
            return mochi(q, k, queue, temperature=a["T"], hard=a["n_hard"], mixing=mixing, normalize=False)

        assert_matches(loss, case, dtype)
        i = {name: tensor(value, dtype) for name, value in case["in"].items()}
        q, queue = normalize(i["q"]), i["queue"]
        mixing = Mixing(i["i1"], i["i2"], i["alpha"][..., 0], i["i3"], i["beta"][..., 0] / 2)
        logits = torch.cat(mochi_logits(q, queue, mixing, hard=a["n_hard"]), dim=1) / a["T"]
        assert_close(logits, case["out"]["logits"][:, 1:], 1e-9 if dtype == torch.float64 else 1e-5, "logits")


@pytest.mark.parametrize("dtype", DTYPES)
def test_feature_transform_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_featuretransform_official"):
        a = case["args"]

        def loss(q, k, queue, lam_pos, lam_neg, perm, a=a):
            return feature_transform(
                normalize(q), normalize(k), queue, temperature=a["T"], positive_share=lam_pos + 1,
                negative_share=lam_neg, order=perm, normalize=False,
            )  # fmt: skip

        assert_matches(loss, case, dtype)


@pytest.mark.parametrize(("hard", "temperature"), [(3, 0.2), (6, 0.01)])
def test_mochi_equals_mixtures_formed_in_full(hard: int, temperature: float) -> None:
    q, k, queue = (normalize(torch.randn(n, 5, dtype=torch.float64)) for n in (4, 4, 6))
    q.requires_grad_()
    mixing = draw_mixing(4, hard, synthetic=3, harder=2, generator=torch.Generator().manual_seed(1))
    nearest = queue[(q.detach() @ queue.T).topk(hard, dim=1).indices]  # (N, hard, d)
    rows = torch.arange(4)[:, None]
    alpha, beta = mixing.alpha[..., None], mixing.beta[..., None]
    soft = normalize(alpha * nearest[rows, mixing.first] + (1 - alpha) * nearest[rows, mixing.second], dim=-1)
    hard_ones = normalize(beta * q.detach()[:, None] + (1 - beta) * nearest[rows, mixing.third], dim=-1)
    extra = torch.einsum("nd,nsd->ns", q, torch.cat([soft, hard_ones], dim=1))
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T, extra], dim=1) / temperature
    expected = cross_entropy(logits, torch.zeros(4, dtype=torch.long))
    found = mochi(q, k, queue, temperature=temperature, hard=hard, mixing=mixing, normalize=False)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, q)[0], torch.autograd.grad(expected, q)[0])


def test_queue_entries_of_the_same_group_or_not_yet_filled_do_not_count() -> None:
    q, k, queue = torch.randn(3, 4), torch.randn(3, 4), torch.randn(8, 4)
    valid = torch.arange(8) < 5
    groups, stored = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 7, 8, 9, 2, 2, 2])
    spoilt = torch.where(valid[:, None], queue, 1e3 * torch.randn(8, 4))
    mixing = draw_mixing(3, 4, synthetic=3, harder=2, generator=torch.Generator().manual_seed(0))
    shares = {
        "positive_share": torch.tensor(1.5),
        "negative_share": torch.tensor(0.5),
        "order": torch.arange(8).flip(0),
    }
    for function, more in ((mochi, {"hard": 4, "mixing": mixing}), (feature_transform, shares)):
        options = {"queue_valid": valid, "groups": groups, "queue_groups": stored, **more}
        one, two = function(q, k, queue, **options), function(q, k, spoilt, **options)
        torch.testing.assert_close(one, two)
        moved = queue.clone()
        moved[0] = q[0]  # the entry of row 0's group, made identical to it
        options["groups"] = torch.tensor([0, 0, 0])
        torch.testing.assert_close(function(q, k, queue, **options), function(q, k, moved, **options))


def test_an_empty_queue_gives_zero() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    nothing = torch.zeros(5, dtype=torch.bool)
    for function in (mochi, feature_transform):
        loss = function(x, x, torch.randn(5, 4), queue_valid=nothing)
        assert float(loss.detach()) == 0
        assert_finite(loss, x)


def test_groups_without_queue_groups_are_refused() -> None:
    x = torch.randn(3, 4)
    for function in (mochi, feature_transform):
        with pytest.raises(KindredError, match="queue_groups"):
            function(x, x, x, groups=torch.arange(3))
