"""ConR and SupReMix: reference numbers and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from objective_checks import assert_finite, assert_matches
from reference.vectors import reference_cases
from torch.nn.functional import normalize

from core.errors import KindredError
from core.objectives.conr import conr
from core.objectives.supremix import draw_mixtures, supremix


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_conr_reference(dtype: torch.dtype) -> None:
    """The published code always runs at temperature 0.07, and gives NaN for anchors without positives."""
    for case in reference_cases("core_conr_official"):
        a = case["args"]

        def loss(features, targets, preds, a=a):
            return a["weights"] * conr(
                features, targets, preds, window=a["w"], push=a["e"], temperature=0.07, compat=True
            )

        if np.isfinite(case["out"]["loss"]):
            assert_matches(loss, case, dtype)
        else:
            i = {name: torch.from_numpy(value).to(dtype) for name, value in case["in"].items()}
            i["features"].requires_grad_()
            assert_finite(loss(**i), i["features"])


@pytest.mark.parametrize(("rows", "window", "temperature"), [(6, 1.0, 0.2), (9, 0.5, 0.01), (4, 3.0, 1.0)])
def test_conr_against_loops(rows: int, window: float, temperature: float) -> None:
    x = torch.randn(rows, 4, dtype=torch.float64)
    y, p = 3 * torch.rand(2, rows, dtype=torch.float64)
    groups = torch.arange(rows) % 4
    z = normalize(x)
    total = 0.0
    for i in range(rows):
        others = [j for j in range(rows) if groups[j] != groups[i]]
        near = [j for j in others if abs(y[i] - y[j]) <= window]
        fooled = [j for j in others if abs(y[i] - y[j]) > window and abs(p[i] - p[j]) <= window]
        if not near or not fooled:
            continue
        terms = [z[i] @ z[j] / temperature for j in near]
        bottom = torch.stack(
            terms + [z[i] @ z[j] / temperature + 0.3 * abs(y[i] - y[j]) for j in fooled]
        ).logsumexp(0)
        total = total + sum(bottom - term for term in terms) / len(near)
    found = conr(x, y, p[:, None], window=window, push=0.3, temperature=temperature, groups=groups)
    torch.testing.assert_close(found, torch.as_tensor(total, dtype=torch.float64) / rows)


def test_conr_wants_one_label_a_row() -> None:
    with pytest.raises(KindredError, match="targets"):
        conr(torch.randn(4, 2), torch.zeros(3), torch.zeros(4))


@pytest.mark.parametrize(("power", "temperature"), [(1.0, 0.07), (-1.0, 1.0), (0.0, 0.01)])
@pytest.mark.parametrize("grouped", [False, True])
def test_supremix_against_loops(power: float, temperature: float, grouped: bool) -> None:
    x = torch.randn(7, 4, dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, 1.0, 2.5, 2.5, 4.0, 9.0], dtype=torch.float64)
    groups = torch.tensor([0, 1, 1, 2, 0, 0, 3]) if grouped else torch.arange(7)
    mixtures = draw_mixtures(y, 3, window=3.0, generator=torch.Generator().manual_seed(2))
    z, losses = normalize(x), []
    for i in range(7):
        pulled = [z[i] @ z[j] / temperature for j in range(7) if j != i and y[j] == y[i]]
        bottom = list(pulled)
        for j in range(7):
            if y[j] != y[i] and groups[j] != groups[i]:
                bottom.append(z[i] @ z[j] / temperature + power * math.log1p(abs(y[i] - y[j])))
        for s in range(3):
            n, a = int(mixtures.other[i, s]), float(mixtures.share[i, s])
            low, up = int(mixtures.lower[i, s]), int(mixtures.upper[i, s])
            if y[n] != y[i] and groups[n] != groups[i]:
                mixed = normalize(a * z[i] + (1 - a) * z[n], dim=0)
                bottom.append(z[i] @ mixed / temperature + power * math.log1p((1 - a) * abs(y[i] - y[n])))
            strangers = groups[low] != groups[i] and groups[up] != groups[i]
            if strangers and y[low] < y[i] < y[up] and y[i] - y[low] <= 3 and y[up] - y[i] <= 3:
                b = float((y[up] - y[i]) / (y[up] - y[low]))
                pulled.append(z[i] @ normalize(b * z[low] + (1 - b) * z[up], dim=0) / temperature)
                bottom.append(pulled[-1])
        if pulled:
            losses.append(torch.stack(bottom).logsumexp(0) - torch.stack(pulled).mean())
    found = supremix(
        x, y, samples=3, temperature=temperature, distance_power=power, window=3.0, mixtures=mixtures,
        groups=groups if grouped else None,
    )  # fmt: skip
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_supremix_without_a_negative_is_zero() -> None:
    x, y = torch.randn(2, 3), torch.tensor([0.0, 1.0])
    assert float(supremix(x, y, groups=torch.tensor([4, 4]))) == 0
