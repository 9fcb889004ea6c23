"""SwAV and Sinkhorn: reference numbers, balance, half precision, several ranks by hand."""

from __future__ import annotations

import pytest
import torch
from objective_checks import assert_close, assert_finite, assert_matches, tensor
from reference.vectors import reference_cases

from core.errors import KindredError
from core.objectives.swav import sinkhorn, swav

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_swav_lightly"):
        a = case["args"]
        if a["fn"] == "sinkhorn":
            found = sinkhorn(
                tensor(case["in"]["scores"], dtype), epsilon=a["epsilon"], iterations=a["iterations"]
            )
            assert_close(found, case["out"]["q"], 1e-9 if dtype == torch.float64 else 1e-4, "assignment")
            continue

        def loss(a=a, **crops):
            return swav(
                [crops[f"h{i}"] for i in range(a["high"])],
                [crops[f"l{i}"] for i in range(a["low"])],
                queue=[crops[f"q{i}"] for i in range(a["high"])] if a["queue"] else None,
                temperature=a["temperature"],
                epsilon=a["sinkhorn_epsilon"],
                iterations=a["sinkhorn_iterations"],
            )

        assert_matches(loss, case, dtype, loosen=1.0 if dtype == torch.float64 else 3.0)


def test_prototypes_get_equal_mass_after_many_iterations() -> None:
    q = sinkhorn(torch.rand(12, 4), epsilon=0.3, iterations=200)
    torch.testing.assert_close(q.sum(1), torch.ones(12))
    torch.testing.assert_close(q.sum(0), torch.full((4,), 3.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 50.0])
def test_half_precision_scores_do_not_overflow(dtype: torch.dtype, size: float) -> None:
    scores = [(size * torch.randn(6, 5)).to(dtype).requires_grad_() for _ in range(2)]
    assert torch.isfinite(sinkhorn(scores[0], epsilon=0.01)).all()
    assert_finite(swav(scores, temperature=0.01, epsilon=0.01), *scores)


def test_mistakes_are_named() -> None:
    with pytest.raises(KindredError, match="second crop"):
        swav([torch.ones(2, 3)])
    with pytest.raises(KindredError, match="iterations"):
        sinkhorn(torch.ones(2, 3), iterations=0)
