"""GRAM: reference numbers, determinants, finite gradients where the official ones are not."""

from __future__ import annotations

import pytest
import torch
from objective_checks import assert_close, assert_finite, tensor
from reference.vectors import reference, reference_cases, reference_names

from core.objectives.gram import gram, gram_volume

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_cases(dtype: torch.dtype) -> None:
    """The official determinant is float32, hence 1e-4."""
    for case in reference_cases("core_gram_official"):
        inputs = {name: tensor(value, dtype).requires_grad_() for name, value in case["in"].items()}
        anchor, others = inputs["t"], [x for name, x in inputs.items() if name != "t"]
        a = case["args"]
        unit = [torch.nn.functional.normalize(x) for x in (anchor, *others)]
        assert_close(gram_volume(unit[0], unit[1:]), case["out"]["volume"], 1e-4, "volume")
        loss = gram(anchor, others, temperature=a["temperature"], smoothing=a["label_smoothing"])
        assert_close(loss, case["out"]["loss"], 1e-4, "loss")
        for name, found in zip(inputs, torch.autograd.grad(loss, list(inputs.values())), strict=True):
            assert_close(found, case["grad"][name], 3e-4, f"gradient of {name}")


@pytest.mark.parametrize("name", reference_names("gram_"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_files(name: str, dtype: torch.dtype) -> None:
    values = reference(name)
    count = sum(key.startswith("rep") for key in values)
    reps = [tensor(values[f"rep{i}"], dtype).requires_grad_() for i in range(count)]
    assert_close(gram_volume(reps[0], reps[1:]), values["volume"], 1e-4, f"volume of {name}")
    head = gram_volume(reps[0][: len(values["volume_rect"])], reps[1:])
    assert_close(head, values["volume_rect"], 1e-4, f"volume_rect of {name}")
    temperature, smoothing = float(values["temperature"]), float(values["label_smoothing"])
    plain = gram(reps[0], reps[1:], temperature=temperature, smoothing=0.0, normalize=False)
    assert_close(plain, values["loss_no_smoothing"], 1e-4, f"loss without smoothing of {name}")
    loss = gram(reps[0], reps[1:], temperature=temperature, smoothing=smoothing, normalize=False)
    assert_close(loss, values["loss"], 1e-4, f"loss of {name}")
    for index, found in enumerate(torch.autograd.grad(loss, reps)):
        assert_close(found, values[f"grad_{index}"], 2e-4, f"grad_{index} of {name}")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_volume_is_the_root_of_the_determinant(count: int) -> None:
    anchor, others = torch.randn(4, 6, dtype=torch.float64), torch.randn(count - 1, 7, 6, dtype=torch.float64)
    found = gram_volume(anchor, others)
    for i in range(4):
        for j in range(7):
            vectors = torch.stack([anchor[i], *others[:, j]])
            expected = torch.linalg.det(vectors @ vectors.T).clamp_min(0).sqrt()
            torch.testing.assert_close(found[i, j], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dependent_modalities_have_zero_volume_and_finite_gradients(dtype: torch.dtype) -> None:
    x = torch.randn(5, 4, dtype=dtype, requires_grad=True)
    y = torch.randn(5, 4, dtype=dtype, requires_grad=True)
    assert gram_volume(x, [x, y]).diagonal().abs().max() < 1e-3  # the anchor lies in the span
    assert gram_volume(y, [x, x]).abs().max() == 0  # the tuple itself is flat
    for others in ([x, y], [y, y], [x, x]):
        assert_finite(gram(x, others), x, y)
    ones = torch.ones(5, 4, dtype=dtype, requires_grad=True)
    assert_finite(gram(ones, [ones, ones]), ones)
    near = x + 1e-6 * y
    assert_finite(gram(x, [near, y]), x, y)


def test_groups_leave_columns_out_of_the_softmax_and_of_the_smoothing() -> None:
    x, y = torch.randn(2, 4, 3, dtype=torch.float64)
    groups = torch.tensor([0, 0, 1, 2])
    logits = -gram_volume(torch.nn.functional.normalize(x), [torch.nn.functional.normalize(y)]) / 0.5
    expected = 0.0
    for matrix in (logits, logits.T):
        for i in range(4):
            kept = [j for j in range(4) if j == i or groups[j] != groups[i]]
            row = matrix[i, kept]
            expected = expected + torch.nn.functional.cross_entropy(
                row[None], torch.tensor([kept.index(i)]), label_smoothing=0.2
            )
    found = gram(x, [y], temperature=0.5, smoothing=0.2, groups=groups)
    torch.testing.assert_close(found, expected / 8)
