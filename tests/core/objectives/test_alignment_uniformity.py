"""Alignment, uniformity, the contrastive gap, SepCLR: reference numbers and plain loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from objective_checks import assert_matches
from reference.vectors import reference_cases

from core.errors import KindredError
from core.objectives.alignment import alignment
from core.objectives.contrastive_gap import contrastive_gap
from core.objectives.rows import unit_rows
from core.objectives.sepclr import joint_entropy, label_alignment, sepclr
from core.objectives.uniformity import cross_uniformity, uniformity

DTYPES = [torch.float64, torch.float32]
GAP = {
    "compute_align_loss": lambda x, y, a: alignment(x, y, power=a["alpha"]),
    "compute_multimodal_uniform_loss": lambda x, y, a: (
        (uniformity(x, sharpness=a["t"]) + uniformity(y, sharpness=a["t"])) / 2
    ),
    "compute_crossmodal_uniform_loss": lambda x, y, a: cross_uniformity(x, y, sharpness=a["t"]),
    "compute_CUA_loss": lambda x, y, a: contrastive_gap(
        x, y, scale=a["logit_scale"], sharpness=a["t"], cross_weight=0.0
    ),
    "compute_CUAXU_loss": lambda x, y, a: contrastive_gap(x, y, scale=a["logit_scale"], sharpness=a["t"]),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_contrastive_gap_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_contrastive_gap"):
        term = GAP[case["args"]["fn"]]
        assert_matches(lambda image, text: term(image, text, case["args"]), case, dtype)  # noqa: B023


@pytest.mark.parametrize("dtype", DTYPES)
def test_sepclr_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_sepclr_official"):
        tau, name = case["args"]["tau"], case["args"]["fn"]
        if name == "align_loss":
            assert_matches(lambda x, y: alignment(x, y) / (2 * tau), case, dtype)  # noqa: B023
        elif name == "uniform_loss":
            assert_matches(lambda x: uniformity(x, sharpness=1 / (2 * tau)), case, dtype)  # noqa: B023
        elif name == "sup_align_loss":
            assert_matches(lambda x, y: label_alignment(x, y, bandwidth=tau), case, dtype)  # noqa: B023
        else:
            assert_matches(
                lambda c, s: joint_entropy(unit_rows(c), unit_rows(s), bandwidth=tau),  # noqa: B023
                case,
                dtype,
            )


@pytest.mark.parametrize(
    ("rows", "width", "sharpness", "power"), [(2, 3, 2.0, 2.0), (7, 5, 0.5, 1.0), (5, 2, 9.0, 3.0)]
)
def test_against_loops(rows: int, width: int, sharpness: float, power: float) -> None:
    x, y = torch.randn(2, rows, width, dtype=torch.float64)
    a, b = torch.nn.functional.normalize(x), torch.nn.functional.normalize(y)
    groups = torch.arange(rows) // 2
    pulled = sum(float((a[i] - b[i]).norm()) ** power for i in range(rows)) / rows
    assert float(alignment(x, y, power=power)) == pytest.approx(pulled, rel=1e-12)

    def mean_potential(u: torch.Tensor, v: torch.Tensor, pairs: list[tuple[int, int]]) -> float:
        values = [math.exp(-sharpness * float((u[i] - v[j]).square().sum())) for i, j in pairs]
        return math.log(sum(values) / len(values)) if values else 0.0

    pairs = list(itertools.combinations(range(rows), 2))
    apart = [(i, j) for i, j in pairs if groups[i] != groups[j]]
    both = [(i, j) for i in range(rows) for j in range(rows) if groups[i] != groups[j]]
    assert float(uniformity(x, sharpness=sharpness)) == pytest.approx(mean_potential(a, a, pairs), rel=1e-10)
    assert float(uniformity(x, sharpness=sharpness, groups=groups)) == pytest.approx(
        mean_potential(a, a, apart), rel=1e-10
    )
    assert float(cross_uniformity(x, y, sharpness=sharpness, groups=groups)) == pytest.approx(
        mean_potential(a, b, both), rel=1e-10
    )


def test_sepclr_is_the_sum_of_its_terms_and_ignores_salient_parts_of_controls() -> None:
    common, salient = torch.randn(2, 6, 4), torch.randn(2, 6, 3)
    is_target = torch.tensor([True, True, False, True, False, True])
    found = sepclr((common[0], common[1]), (salient[0], salient[1]), is_target, background_weight=3.0)
    parts = found.common + found.salient + 3.0 * found.background + 10.0 * found.independence
    torch.testing.assert_close(found.total, parts)
    changed = salient.clone()
    changed[:, ~is_target] += 5.0
    moved = sepclr((common[0], common[1]), (changed[0], changed[1]), is_target)
    torch.testing.assert_close(moved.salient, found.salient)
    torch.testing.assert_close(moved.independence, found.independence)
    assert moved.background > found.background
    groups = torch.tensor([0, 0, 1, 2, 3, 3])
    apart = sepclr((common[0], common[1]), (salient[0], salient[1]), is_target, groups=groups)
    spread = sum(uniformity(view, sharpness=1.0, groups=groups) for view in common)
    pull = (unit_rows(common[0]) - unit_rows(common[1])).square().sum(1).mean()
    torch.testing.assert_close(apart.common, pull + spread)


def test_errors_name_the_input() -> None:
    with pytest.raises(KindredError, match=r"y: saw .* expected the shape of its partner"):
        alignment(torch.ones(3, 2), torch.ones(4, 2))
    with pytest.raises(KindredError, match="groups"):
        uniformity(torch.ones(3, 2), groups=torch.ones(3))
    with pytest.raises(KindredError, match="floating"):
        uniformity(torch.ones(3, dtype=torch.long))
