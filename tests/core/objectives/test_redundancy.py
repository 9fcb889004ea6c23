"""VICReg and Barlow Twins: reference numbers, plain statistics, wide and narrow embeddings."""

from __future__ import annotations

import pytest
import torch
from objective_checks import assert_matches
from reference.vectors import reference_cases

from core.objectives.barlow_twins import barlow_twins
from core.objectives.vicreg import vicreg


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_redundancy_lightly"):
        a = case["args"]
        if a["loss"] == "VICReg":
            assert_matches(
                lambda z0, z1: vicreg(
                    z0, z1, invariance=a["lambda_param"], variance=a["mu_param"], covariance=a["nu_param"],  # noqa: B023
                    epsilon=a["eps"],  # noqa: B023
                ),
                case,
                dtype,
            )  # fmt: skip
        else:
            assert_matches(lambda z0, z1: barlow_twins(z0, z1, redundancy=a["lambda_param"]), case, dtype)  # noqa: B023


@pytest.mark.parametrize(("rows", "width"), [(2, 5), (9, 4), (6, 6), (5, 30)])
def test_plain_statistics(rows: int, width: int) -> None:
    x, y = torch.randn(2, rows, width, dtype=torch.float64) * 3 + 1
    a = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    b = (y - y.mean(0)) / (y.var(0, unbiased=False) + 1e-5).sqrt()
    correlation = a.T @ b / rows
    off = correlation - torch.diag(correlation.diagonal())
    expected = (1 - correlation.diagonal()).square().sum() + 0.01 * off.square().sum()
    torch.testing.assert_close(barlow_twins(x, y, redundancy=0.01), expected, rtol=1e-10, atol=1e-10)

    expected = 3 * (x - y).square().mean()
    for view in (x, y):
        covariance = torch.cov(view.T)
        expected = expected + 5 * (1 - (covariance.diagonal() + 1e-4).sqrt()).clamp_min(0).mean() / 2
        off = covariance - torch.diag(covariance.diagonal())
        expected = expected + 7 * off.square().sum() / width
    found = vicreg(x, y, invariance=3.0, variance=5.0, covariance=7.0)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("function", [vicreg, barlow_twins])
def test_statistics_summed_over_two_halves_equal_those_of_the_whole(function: object) -> None:
    """`reduce` stands in for the sum over ranks: the first half's statistics are added by hand."""
    x, y = torch.randn(2, 8, 5, dtype=torch.float64)
    whole = function(x, y)  # type: ignore[operator]
    collected: list[list[torch.Tensor]] = [[], []]

    def record(rank: int):
        def reduce(value: torch.Tensor) -> torch.Tensor:
            collected[rank].append(value)
            other = collected[1 - rank]
            return value + other[len(collected[rank]) - 1] if len(other) >= len(collected[rank]) else value

        return reduce

    for _ in range(6):  # each pass gets one more sum right, as each needs the one before
        for rank, rows in enumerate((slice(0, 3), slice(3, 8))):
            collected[rank] = []
            found = function(x[rows], y[rows], reduce=record(rank))  # type: ignore[operator]
    torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-12)
