from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from core.errors import DataError
from core.evaluation.collapse import (
    collapsed_fraction,
    diagnose,
    effective_rank,
    embedding_std,
    is_collapsed,
    modality_gap,
)


def sphere(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def test_a_space_spread_evenly():
    found = diagnose(sphere(1000, 16), sphere(1000, 16))
    assert found["embedding_std"] == pytest.approx(1, abs=0.02)
    assert found["effective_rank"] == pytest.approx(16, abs=0.2)
    assert found["collapsed_fraction"] == 0
    assert found["alignment"] == pytest.approx(0, abs=1e-5)
    assert found["modality_gap"] == pytest.approx(0, abs=1e-5)
    assert not is_collapsed(found)


def test_a_space_fallen_into_a_point():
    point = sphere(1, 16).expand(50, 16) + 1e-4 * sphere(50, 16)
    found = diagnose(point)
    assert found["embedding_std"] < 0.01
    assert found["uniformity"] == pytest.approx(0, abs=1e-3)
    assert found["collapsed_fraction"] == 1
    assert is_collapsed(found)


def test_a_space_fallen_onto_a_line():
    line = torch.tensor([1.0, -1.0]).repeat(25)[:, None] * sphere(1, 16)
    found = diagnose(line)
    assert found["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert found["embedding_std"] > 0.5
    assert is_collapsed(found)


def test_effective_rank_is_the_exponential_of_the_entropy_of_singular_values():
    x = sphere(30, 6)
    z = normalize(x, dim=1).double()
    values = torch.linalg.svdvals(z - z.mean(0))
    share = values / values.sum()
    expected = math.exp(-float((share * share.log()).sum()))
    assert effective_rank(x) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 50), (50, 4)])
def test_effective_rank_of_wide_and_tall(shape):
    assert 1 < effective_rank(sphere(*shape)) <= 4


def test_collapsed_coordinates_are_counted():
    x = sphere(200, 8)
    x[:, 5:] = 0
    assert collapsed_fraction(x) == pytest.approx(3 / 8)


def test_the_gap_between_modalities():
    x = torch.zeros(5, 3)
    x[:, 0] = 2
    y = torch.zeros(5, 3)
    y[:, 1] = 9
    assert modality_gap(x, y) == pytest.approx(2**0.5)
    assert modality_gap(x, x) == 0


def test_length_of_rows_does_not_matter():
    x = sphere(40, 5)
    assert embedding_std(x * 100) == pytest.approx(embedding_std(x), abs=1e-6)


def test_half_precision_and_gradients_are_accepted():
    x = sphere(20, 4).bfloat16().requires_grad_()
    assert math.isfinite(diagnose(x, x)["effective_rank"])


def test_only_the_first_rows_of_many_are_used():
    x = sphere(30, 4)
    assert diagnose(x, limit=10) == diagnose(x[:10])


@pytest.mark.parametrize("x", [torch.zeros(1, 3), torch.zeros(3), torch.zeros(0, 3)])
def test_too_few_rows_are_refused(x):
    with pytest.raises(DataError, match="N >= 2"):
        diagnose(x)


def test_views_of_other_shapes_are_refused():
    with pytest.raises(DataError, match="second view"):
        diagnose(torch.zeros(3, 2), torch.zeros(4, 2))


def test_all_zero_rows_are_a_collapse_and_no_error():
    assert is_collapsed(diagnose(torch.zeros(5, 3), torch.zeros(5, 3)))
