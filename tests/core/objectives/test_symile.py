"""Symile: reference numbers of both negative schemes, missing modalities, groups, the learned module."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from objective_checks import assert_close, assert_matches, tensor
from reference.vectors import reference, reference_cases, reference_names

from core.errors import KindredError
from core.objectives.symile import Symile, symile, symile_similarity

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_cases(dtype: torch.dtype) -> None:
    for case in reference_cases("core_symile_official"):
        a = case["args"]

        def loss(perms=None, a=a, **modalities):
            count = a["modalities"]
            return symile(
                list(modalities.values()),
                scale=a["logit_scale"],
                negatives=a["negative_sampling"],
                permutations=None if perms is None else perms.view(count, count - 1, -1),
            )

        assert_matches(loss, case, dtype)


@pytest.mark.parametrize("name", reference_names("symile_"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_files(name: str, dtype: torch.dtype) -> None:
    """float32 numbers of the official package: compared at the precision they were computed in."""
    values = reference(name)
    count = sum(key.startswith("rep") for key in values)
    reps = [tensor(values[f"rep{i}"], dtype).requires_grad_() for i in range(count)]
    scale = float(values["logit_scale"])
    for negatives, loss_key, gradient_key in (
        ("n", "loss_n", "grad_n"),
        ("n_squared", "loss_n_squared", "grad_n2"),
    ):
        shuffles = tensor(values["perms_n"], dtype) if negatives == "n" else None
        loss = symile(reps, scale=scale, negatives=negatives, permutations=shuffles, normalize=False)
        assert_close(loss, values[loss_key], 1e-4, f"{loss_key} of {name}")
        for index, found in enumerate(torch.autograd.grad(loss, reps)):
            assert_close(found, values[f"{gradient_key}_{index}"], 1e-4, f"{gradient_key}_{index} of {name}")
    scores = symile_similarity(tensor(values["candidates"], dtype), [rep.detach() for rep in reps[1:]])
    assert_close(scores, values["mip_scores"], 1e-4, f"mip_scores of {name}")


def _slow(parts: torch.Tensor, scale: float, present: np.ndarray, groups: list[int]) -> float:
    """n_squared by loops over every combination."""
    count, rows, _ = parts.shape
    means = []
    for anchor in range(count):
        rest = [m for m in range(count) if m != anchor]
        losses = []
        for i in range(rows):
            if not present[anchor, i]:
                continue
            logits, own = [], None
            for combination in itertools.product(range(rows), repeat=count - 1):
                score = scale * parts[anchor, i].clone()
                for m, j in zip(rest, combination):
                    score = score * parts[m, j]
                if all(j == i for j in combination):
                    own = score.sum()
                elif not all(groups[j] == groups[i] for j in combination):
                    logits.append(score.sum())
            if logits and own is not None:
                losses.append(torch.stack([own, *logits]).logsumexp(0) - own)
        if losses:
            means.append(torch.stack(losses).mean())
    return float(torch.stack(means).mean())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_combinations_against_loops_with_missing_modalities_and_groups(count: int) -> None:
    parts = torch.nn.functional.normalize(torch.randn(count, 4, 5, dtype=torch.float64), dim=-1)
    present = np.ones((count, 4), dtype=bool)
    present[0, 1] = present[1, 1] = present[1, 3] = False
    groups = [0, 1, 1, 2]
    filler = torch.nn.functional.normalize(torch.randn(count, 5, dtype=torch.float64), dim=-1)
    filled = torch.where(torch.from_numpy(present)[..., None], parts, filler[:, None])
    found = symile(
        parts, scale=7.0, negatives="n_squared", present=torch.from_numpy(present).T, missing=filler,
        groups=torch.tensor(groups),
    )  # fmt: skip
    assert float(found) == pytest.approx(_slow(filled, 7.0, present, groups), rel=1e-9)
    neutral = torch.where(torch.from_numpy(present)[..., None], parts, torch.ones(5, dtype=torch.float64))
    found = symile(parts, scale=7.0, negatives="n_squared", present=torch.from_numpy(present).T)
    assert float(found) == pytest.approx(_slow(neutral, 7.0, present, list(range(4))), rel=1e-9)


def test_shuffled_negatives_leave_out_candidates_of_the_anchors_group() -> None:
    parts = torch.randn(3, 4, 5, dtype=torch.float64)
    same = torch.arange(4).expand(3, 2, 4)  # the identity: candidate j is the true tuple j
    groups = torch.tensor([0, 0, 1, 1])
    found = symile(parts, scale=3.0, permutations=same, groups=groups)
    z = torch.nn.functional.normalize(parts, dim=-1)
    losses = []
    for anchor in range(3):
        logits = 3.0 * z[anchor] @ z[[m for m in range(3) if m != anchor]].prod(0).T
        logits = logits.masked_fill((groups[:, None] == groups) & ~torch.eye(4, dtype=torch.bool), -torch.inf)
        losses.append(torch.nn.functional.cross_entropy(logits, torch.arange(4)))
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_an_absent_modality_changes_nothing_through_its_own_values() -> None:
    parts = torch.randn(3, 4, 5)
    present = torch.ones(4, 3, dtype=torch.bool)
    present[1, 2] = False
    generator = torch.Generator()
    first = symile(parts, present=present, generator=generator.manual_seed(3))
    parts[2, 1] = torch.nan
    assert float(symile(parts, present=present, generator=generator.manual_seed(3))) == pytest.approx(
        float(first)
    )


def test_module_learns_scale_and_absence() -> None:
    loss = Symile(3, width=5)
    present = torch.ones(6, 3, dtype=torch.bool)
    present[2, 1] = False
    value = loss(torch.randn(3, 6, 5), present=present, generator=torch.Generator().manual_seed(0))
    value.backward()
    assert loss.log_scale.grad is not None
    assert float(loss.log_scale.grad) != 0
    assert loss.missing is not None
    assert loss.missing.grad is not None
    assert loss.missing.grad[1].abs().sum() > 0
    assert loss.missing.grad[0].abs().sum() == 0


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(KindredError, match="at most"):
        symile(torch.randn(4, 80, 2), negatives="n_squared")
