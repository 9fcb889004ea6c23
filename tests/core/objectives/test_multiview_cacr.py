"""MV-InfoNCE, MV-DHEL and CACR: reference numbers and plain loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from objective_checks import assert_finite, assert_matches
from reference.vectors import reference_cases
from torch import Tensor

from core.errors import KindredError
from core.objectives.cacr import cacr
from core.objectives.contrast import contrast
from core.objectives.multiview import mv_dhel, mv_infonce
from core.objectives.nt_xent import nt_xent

DTYPES = [torch.float64, torch.float32]


def _pairwise_nt_xent(views: Tensor, tau: float) -> Tensor:
    pairs = itertools.combinations(views, 2)
    return torch.stack([nt_xent(x, y, temperature=tau) for x, y in pairs]).mean()


def _all_positives(views: Tensor, tau: float) -> Tensor:
    samples = torch.arange(views.shape[1]).repeat(len(views))
    return contrast(views.flatten(0, 1), row_labels=samples, exclude_self=True, scale=1 / tau)


MULTIVIEW = {
    "MV-InfoNCE": lambda z, tau: mv_infonce(z, temperature=tau),
    "MV-DHEL": lambda z, tau: mv_dhel(z, temperature=tau),
    "DHEL": lambda z, tau: mv_dhel(z, temperature=tau),
    "PWE-NTXent": _pairwise_nt_xent,
    "MV-NTXent": _all_positives,
}
"""The file's name of each objective -> loss of (V, N, d) views and a temperature."""


@pytest.mark.parametrize("dtype", DTYPES)
def test_multiview_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_multiview_official"):
        views, tau = case["args"]["views"], case["args"]["tau"]
        function = MULTIVIEW[case["args"]["loss"].split("(")[0]]
        assert_matches(lambda z: function(z.unflatten(0, (views, -1)), tau), case, dtype)  # noqa: B023


@pytest.mark.parametrize("dtype", DTYPES)
def test_cacr_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_cacr_official"):
        a = case["args"]

        def loss(pull: float, push: float, a: dict = a, **views: Tensor) -> Tensor:
            return cacr(
                [views[f"v{i}"] for i in range(a["views"])],
                attraction_sharpness=a["t_pos"],
                repulsion_sharpness=a["t_neg"],
                attraction=pull,
                repulsion=push,
            )

        assert_matches(lambda **v: loss(a["alpha"], a["beta"], **v), case, dtype)  # noqa: B023
        terms = {**case, "grad": {}}
        assert_matches(lambda **v: loss(a["alpha"], 0.0, **v), terms, dtype, expected="attraction")  # noqa: B023
        assert_matches(lambda **v: loss(0.0, a["beta"], **v), terms, dtype, expected="repulsion")  # noqa: B023


@pytest.mark.parametrize(("views", "rows", "temperature"), [(2, 4, 0.2), (3, 5, 0.01), (4, 2, 1.0)])
def test_multiview_against_loops(views: int, rows: int, temperature: float) -> None:
    z = torch.nn.functional.normalize(torch.randn(views, rows, 6, dtype=torch.float64), dim=-1)
    groups = torch.arange(rows) // 2 if rows > 2 else None
    infonce, dhel = [], []
    for i in range(rows):
        others = [j for j in range(rows) if (j != i if groups is None else bool(groups[j] != groups[i]))]
        if not others:
            continue
        positive = torch.stack(
            [z[a, i] @ z[b, i] / temperature for a in range(views) for b in range(a + 1, views)]
        ).logsumexp(0)
        apart = torch.stack(
            [z[a, i] @ z[b, j] / temperature for a in range(views) for b in range(views) for j in others]
        )
        same = torch.stack(
            [z[a, i] @ z[b, i] / temperature for a in range(views) for b in range(views) if a != b]
        )
        infonce.append(torch.cat([apart, same]).logsumexp(0) - positive - torch.log(torch.tensor(2.0)))
        within = [
            torch.stack([z[a, i] @ z[a, j] / temperature for j in others]).logsumexp(0) for a in range(views)
        ]
        dhel.append(sum(within) - positive)
    torch.testing.assert_close(
        mv_infonce(z, temperature=temperature, groups=groups),
        torch.stack(infonce).mean(),
        rtol=1e-7,
        atol=1e-7,
    )
    torch.testing.assert_close(
        mv_dhel(z, temperature=temperature, groups=groups), torch.stack(dhel).mean(), rtol=1e-10, atol=1e-10
    )


def test_many_views_at_a_cold_temperature_stay_finite() -> None:
    x = torch.randn(12, 5, 4, requires_grad=True)
    for function in (mv_infonce, mv_dhel):
        assert_finite(function(x, temperature=0.01), x)


@pytest.mark.parametrize("views", [2, 4])
def test_cacr_against_loops(views: int) -> None:
    z = torch.nn.functional.normalize(torch.randn(views, 5, 3, dtype=torch.float64), dim=-1)
    groups = torch.tensor([0, 0, 1, 2, 2])
    pull, push = [], []
    for i in range(5):
        for a in range(views):
            cost = torch.stack([(z[a, i] - z[b, i]).square().sum() for b in range(views) if b != a])
            pull.append(((1.5 * cost).softmax(0) * cost).sum())
            for b in range(a + 1, views):
                cost = torch.stack(
                    [(z[a, i] - z[b, j]).square().sum() for j in range(5) if groups[j] != groups[i]]
                )
                push.append(-((-0.7 * cost).softmax(0) * cost).sum())
    found = cacr(z, attraction_sharpness=1.5, repulsion_sharpness=0.7, groups=groups)
    torch.testing.assert_close(found, torch.stack(pull).mean() + torch.stack(push).mean())


def test_one_view_is_refused() -> None:
    with pytest.raises(KindredError, match="at least 2"):
        mv_dhel([torch.ones(3, 2)])
    with pytest.raises(KindredError, match="at least 2"):
        cacr(torch.ones(1, 3, 2))
