"""The kernel: against a slow obvious loop, and tiled against dense over random shapes and options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from core.errors import KindredError
from core.objectives import contrast
from core.objectives.problem import Problem
from core.objectives.sweep import differentiate, measure, solve_in_one_pass
from core.objectives.targets import Targets
from core.objectives.tiles import BOUND, Tiles


def _unit(x: np.ndarray) -> np.ndarray:
    length = np.sqrt((x**2).sum(1, keepdims=True))
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


def loop(
    rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, queue: np.ndarray, *, scale: float, denominator: str,
    exclude_self: bool, row_groups: np.ndarray, column_groups: np.ndarray, queue_groups: np.ndarray,
    queue_valid: np.ndarray, bias: np.ndarray,
) -> list[float]:  # fmt: skip
    """Loss of each row, written as one would say it."""
    everything = np.concatenate([_unit(columns), _unit(queue)])
    losses = []
    for i, row in enumerate(_unit(rows)):
        logit, seen, pull, mass = [], [], 0.0, 0.0
        for j, other in enumerate(everything):
            in_queue = j >= len(columns)
            weight = 0.0 if in_queue or (exclude_self and i == j) else float(weights[i, j])
            logit.append(scale * float(row @ other) + (0.0 if in_queue else float(bias[i, j])))
            group = queue_groups[j - len(columns)] if in_queue else column_groups[j]
            hidden = exclude_self and i == j
            hidden |= group == row_groups[i] and weight == 0
            hidden |= in_queue and not queue_valid[j - len(columns)]
            hidden |= denominator == "negatives" and weight > 0
            hidden |= denominator == "queue" and not in_queue and weight == 0
            seen.append(not hidden)
            pull, mass = pull + weight * logit[-1], mass + weight
        if mass == 0 or not any(seen):
            losses.append(0.0)
            continue
        top = max(value for value, kept in zip(logit, seen, strict=True) if kept)
        total = sum(math.exp(value - top) for value, kept in zip(logit, seen, strict=True) if kept)
        losses.append(top + math.log(total) - pull / mass)
    return losses


@pytest.mark.parametrize("method", ["dense", "tiled"])
@pytest.mark.parametrize("denominator", ["all", "negatives", "queue"])
@pytest.mark.parametrize("scale", [1.0, 14.0, 100.0])
def test_slow_obvious_loop(method: str, denominator: str, scale: float) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n, d, k = int(rng.integers(1, 8)), int(rng.integers(1, 5)), int(rng.integers(1, 6))
        m = n + int(rng.integers(0, 4))
        rows, columns, queue = (rng.normal(size=(count, d)) for count in (n, m, k))
        rows[0] = 0.0
        weights = rng.random((n, m)) * (rng.random((n, m)) > 0.5)
        groups = [rng.integers(0, 4, size=count) for count in (n, m, k)]
        valid, bias = rng.random(k) > 0.3, rng.normal(size=(n, m))
        exclude_self = bool(seed % 2)
        expected = loop(
            rows, columns, weights, queue, scale=scale, denominator=denominator, exclude_self=exclude_self,
            row_groups=groups[0], column_groups=groups[1], queue_groups=groups[2], queue_valid=valid, bias=bias,
        )  # fmt: skip
        found = contrast(
            *map(torch.from_numpy, (rows, columns)), positives=torch.from_numpy(weights), scale=scale,
            denominator=denominator, exclude_self=exclude_self, bias=torch.from_numpy(bias),
            row_groups=torch.from_numpy(groups[0]), column_groups=torch.from_numpy(groups[1]),
            queue=torch.from_numpy(queue), queue_groups=torch.from_numpy(groups[2]),
            queue_valid=torch.from_numpy(valid), reduction="none", method=method, tile=3,
        )  # fmt: skip
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Rows, columns and a random choice of every option of `contrast`."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    itself = draw(st.booleans())
    n, d = draw(st.integers(1, 24)), draw(st.integers(2, 9))
    m = n if itself else n + draw(st.integers(0, 9))
    x = torch.randn(n, d, dtype=torch.float64)
    y = None if itself else torch.randn(m, d, dtype=torch.float64)
    options: dict[str, Any] = {
        "scale": draw(st.sampled_from([0.5, 5.0, 14.0])),
        "exclude_self": itself or (n == m and draw(st.booleans())),
        "symmetric": draw(st.booleans()),
        "denominator": draw(st.sampled_from(["all", "negatives"])),
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "empty": draw(st.sampled_from(["drop", "zero"])),
        "normalize_weights": draw(st.booleans()),
    }
    kind = draw(
        st.sampled_from(
            ["own", "index", "mutual", "weights", "bool", "classes", "cosine", "jaccard", "shared"]
        )
    )
    if kind == "index":
        options["positives"] = torch.randint(-1, m, (n,))
    elif kind == "mutual" and n % 2 == 0:
        options["positives"] = torch.arange(n).roll(n // 2)
    elif kind == "weights":
        options["positives"] = torch.rand(n, m) * (torch.rand(n, m) > 0.5)
    elif kind == "bool":
        options["positives"] = torch.rand(n, m) > 0.6
    elif kind != "own":
        size = () if kind == "classes" else (5,)
        options["row_labels"] = torch.randint(0, 3 if kind == "classes" else 2, (n, *size))
        if not itself:
            options["column_labels"] = torch.randint(0, 3 if kind == "classes" else 2, (m, *size))
        options["label_weights"] = "cosine" if kind == "classes" else kind
    for name, length in (("row_scale", n), ("column_scale", m)):
        if draw(st.booleans()):
            options[name] = torch.rand(length, dtype=torch.float64) + 0.5
    if draw(st.booleans()):
        shape = draw(st.sampled_from([(), (m,), (n, 1), (n, m)]))
        options["bias"] = torch.randn(shape, dtype=torch.float64)
        if shape == (n, m):
            options["bias"][torch.rand(n, m) > 0.9] = -torch.inf
    if draw(st.booleans()):
        options["row_groups"] = torch.randint(0, 5, (n,))
        options["column_groups"] = options["row_groups"] if itself else torch.randint(0, 5, (m,))
    if draw(st.booleans()):
        options |= {"row_valid": torch.rand(n) > 0.2, "column_valid": torch.rand(m) > 0.2}
    if draw(st.booleans()):
        options |= {"row_weight": torch.rand(n), "positive_weight": torch.rand(n)}
    if draw(st.booleans()):
        options |= {"queue": torch.randn(4, d), "queue_groups": torch.randint(0, 5, (4,))}
        options |= {
            "queue_valid": torch.rand(4) > 0.3,
            "denominator": draw(st.sampled_from(["all", "queue"])),
        }
    return {"x": x, "y": y, "options": options, "tile": draw(st.integers(1, 9))}


def _solve(case: dict[str, Any], dtype: torch.dtype, **how: Any) -> list[Tensor]:
    """Loss, then the gradient of everything that may carry one."""
    options = dict(case["options"])
    leaves = {"x": case["x"].to(dtype).requires_grad_()}
    if case["y"] is not None:
        leaves["y"] = case["y"].to(dtype).requires_grad_()
    for name in ("row_scale", "column_scale", "bias", "scale"):
        if name in options:
            options[name] = leaves[name] = (
                torch.as_tensor(options[name], dtype=dtype).clone().requires_grad_()
            )
    loss = contrast(leaves["x"], leaves.get("y"), **options, **how)
    return [loss.detach(), *torch.autograd.grad(loss, list(leaves.values()))]


@given(problems())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_tiled_is_dense(case: dict[str, Any]) -> None:
    for dtype, precision in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        dense = _solve(case, dtype, method="dense")
        fast = _solve(case, dtype, method="tiled", tile=case["tile"])
        size = 1.0 if case["options"]["reduction"] == "mean" else float(len(case["x"]))
        steep = max(1.0, float(case["options"]["scale"]) / 5)  # rounding of the logits, in float32
        assert float((dense[0] - fast[0]).abs()) <= precision * steep * max(size, float(dense[0].abs()))
        for a, b in zip(dense[1:], fast[1:], strict=True):
            assert torch.isfinite(b[~torch.isneginf(b)]).all()
            assert float((a - b).abs().max()) <= 10 * precision * steep * max(size, float(a.abs().max()))


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradcheck_with_and_without_maximum(bounded: bool, symmetric: bool) -> None:
    """Both ways of the kernel: small logits need no maximum taken off, larger ones do."""
    scale = torch.tensor(5.0 if bounded else 2 * BOUND, dtype=torch.float64, requires_grad=True)
    x, y = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in "xy")
    bias = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)

    def loss(*inputs: Tensor) -> Tensor:
        x, y, scale, bias = inputs
        return contrast(x, y, scale=scale, bias=bias, symmetric=symmetric, method="tiled", tile=2)

    assert torch.autograd.gradcheck(loss, (x, y, scale, bias), atol=1e-4)


def test_large_logits_do_not_underflow() -> None:
    """At scale 1000 the first row's best logit lies 2000 below the second's: no shift fits both."""
    x = torch.tensor([[-1.0, 1e-3], [1.0, 0.0]], requires_grad=True)
    y = torch.tensor([[1.0, 0.0], [1.0, 1e-3]])
    for symmetric in (False, True):
        found = [contrast(x, y, scale=1000.0, symmetric=symmetric, method=m) for m in ("dense", "tiled")]
        torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)
        assert torch.isfinite(torch.autograd.grad(found[1], x)[0]).all()


@pytest.mark.parametrize("method", ["dense", "tiled"])
def test_defined_where_there_is_nothing_to_do(method: str) -> None:
    x, y = (torch.randn(4, 3, requires_grad=True) for _ in "xy")
    for name, options in {
        "no positive": {"positives": torch.full((4,), -1)},
        "no negative": {"row_groups": torch.zeros(4, dtype=torch.long)},
        "nobody valid": {"column_valid": torch.zeros(4, dtype=torch.bool)},
        "no negative, decoupled": {
            "row_labels": torch.zeros(4, dtype=torch.long),
            "denominator": "negatives",
        },
    }.items():
        loss = contrast(x, y, method=method, **options)
        gradients = torch.autograd.grad(loss, (x, y))
        assert float(loss.detach()) == 0.0, name
        assert all(float(g.abs().max()) < 1e-6 for g in gradients), name


@pytest.mark.parametrize("method", ["dense", "tiled"])
def test_absent_rows_reach_nothing(method: str) -> None:
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    there = torch.tensor([True, True, False, True, False])
    expected = contrast(x[there], y[there], symmetric=True, method=method)
    x[~there], y[~there] = torch.nan, torch.inf
    x.requires_grad_()
    loss = contrast(x, y, row_valid=there, column_valid=there, symmetric=True, method=method)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert float(x.grad[~there].abs().max()) == 0.0


def test_rows_without_positive_are_dropped_or_count_as_zero() -> None:
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    index = torch.tensor([0, 1, -1, -1])
    dropped, counted = (contrast(x, y, positives=index, empty=empty) for empty in ("drop", "zero"))
    torch.testing.assert_close(dropped, 2 * counted)


def test_nan_is_not_hidden() -> None:
    x = torch.randn(100, 4)
    x[7, 2] = torch.nan
    for method in ("dense", "tiled"):
        assert torch.isnan(contrast(x, torch.randn(100, 4), method=method))


class Watch(TorchDispatchMode):
    """Remembers the largest storage that an operation gave back."""

    largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, Tensor):
                self.largest = max(self.largest, x.untyped_storage().nbytes() // x.element_size())
        return out


def test_no_matrix_of_rows_times_columns_is_made() -> None:
    n, d, side = 700, 8, 64
    x, y = torch.randn(n, d), torch.randn(n, d)
    labels = torch.randint(0, 2, (n, 6)).float()
    ones = torch.ones(n)
    for targets in (Targets("index", torch.arange(n)), Targets("jaccard", labels, labels)):
        given = {"row_groups": torch.arange(n) // 2, "column_groups": torch.arange(n) // 2}
        one_way = Problem(x, y, targets, n, **given)
        with Watch() as watch:
            rows, columns = measure(
                tiles := Tiles(Problem(x, y, targets, n, symmetric=True, **given), side, side)
            )
            differentiate(tiles, rows, columns, ones, ones, (True, True, False))
        assert watch.largest <= max(side * side, n * d)
        with Watch() as watch:
            solve_in_one_pass(Tiles(one_way, 8, side), ones, (True, True, False))
        assert watch.largest <= n * d


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"positives": torch.zeros(3, dtype=torch.long)}, "positives"),
        ({"positives": torch.ones(4, 4), "row_labels": torch.zeros(4)}, "positives"),
        ({"column_labels": torch.zeros(4)}, "row_labels"),
        ({"row_labels": torch.zeros(4, 2), "label_weights": "guess"}, "label_weights"),
        ({"row_groups": torch.zeros(5, dtype=torch.long)}, "row_groups"),
        ({"column_groups": torch.zeros(4, dtype=torch.long)}, "row_groups"),
        ({"row_valid": torch.ones(3, dtype=torch.bool)}, "row_valid"),
        ({"queue": torch.zeros(2, 7)}, "queue"),
        ({"queue": torch.zeros(2, 3), "queue_valid": torch.ones(3)}, "queue_valid"),
        ({"denominator": "queue"}, "denominator"),
        ({"denominator": "some"}, "denominator"),
        ({"reduction": "median"}, "reduction"),
        ({"method": "quick"}, "method"),
    ],
)
def test_errors_name_the_argument(options: dict[str, Any], named: str) -> None:
    with pytest.raises(KindredError, match=named):
        contrast(torch.randn(4, 3), torch.randn(4, 3), **options)


def test_wrong_rows_are_refused() -> None:
    for rows, columns in ((torch.zeros(4), None), (torch.zeros(4, 3), torch.zeros(4, 2))):
        with pytest.raises(KindredError):
            contrast(rows, columns)
    with pytest.raises(KindredError, match="positives"):
        contrast(torch.zeros(4, 3), torch.zeros(2, 3))
