"""PixPro, dense local contrast and global-to-local contrast: reference numbers and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from objective_checks import assert_finite, assert_matches
from reference.vectors import reference_cases
from torch.nn.functional import cross_entropy, normalize

from core.errors import KindredError
from core.objectives.pixpro import PixelPropagation, cell_centres, dense_local, pixpro
from core.objectives.tcl import global_local, tcl

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixpro_reference(dtype: torch.dtype) -> None:
    """The official code counts pairs in float32, whose 1e-6 is not ours: 1e-7 in float64."""
    for case in reference_cases("core_pixpro_official"):
        ratio = case["args"]["pos_ratio"]
        loosen = 100.0 if dtype == torch.float64 else 1.0
        assert_matches(lambda q, k, cq, ck: pixpro(q, k, cq, ck, ratio=ratio), case, dtype, loosen=loosen)  # noqa: B023


@pytest.mark.parametrize("dtype", DTYPES)
def test_global_local_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_tcl_official"):
        t = case["args"]["temp"]
        assert_matches(
            lambda local, glob, mask=None: global_local(glob, local, temperature=t, mask=mask),  # noqa: B023
            case,
            dtype,
        )


def test_pixpro_in_three_dimensions_against_loops() -> None:
    q, k = torch.randn(2, 2, 3, 2, 2, 3, dtype=torch.float64)
    first = torch.tensor([[0.0, 0, 0, 3, 2, 2], [1, 0, 0, 4, 2, 2]], dtype=torch.float64)
    second = torch.tensor([[0.5, 0, 0, 3.5, 2, 2], [50, 50, 50, 53, 52, 52]], dtype=torch.float64)
    expected = 0.0
    for n in range(2):
        values = []
        for a in ((z, y, x) for z in range(2) for y in range(2) for x in range(3)):
            for b in ((z, y, x) for z in range(2) for y in range(2) for x in range(3)):
                centre = [
                    [box[n, k] + (cell[2 - k] + 0.5) * (box[n, 3 + k] - box[n, k]) / (3, 2, 2)[k]
                     for k in range(3)]
                    for box, cell in ((first, a), (second, b))
                ]  # fmt: skip
                gap = math.dist(*[[float(c) for c in point] for point in centre])
                if gap < 0.7 * math.sqrt(3):
                    values.append(
                        normalize(q[n][:, a[0], a[1], a[2]], dim=0)
                        @ normalize(k[n][:, b[0], b[1], b[2]], dim=0)
                    )
        expected = expected - 2 * (sum(values) / (len(values) + 1e-6)) / 2
    torch.testing.assert_close(pixpro(q, k, first, second), torch.as_tensor(expected))


def test_pixel_propagation_is_the_weighted_sum_of_transformed_cells() -> None:
    layer = PixelPropagation(4, power=2.0).double()
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    cells = normalize(x.flatten(2).transpose(1, 2), dim=-1)
    values = normalize(layer.value(x.flatten(2).transpose(1, 2)), dim=-1)
    for n in range(2):
        for i in range(6):
            weight = torch.stack([(cells[n, i] @ cells[n, j]).clamp_min(0) ** 2 for j in range(6)])
            expected = (weight[:, None] * values[n]).sum(0)
            torch.testing.assert_close(layer(x)[n].flatten(1)[:, i], expected)


def test_boxes_must_fit_the_maps() -> None:
    with pytest.raises(KindredError, match="boxes"):
        cell_centres(torch.zeros(2, 4), (2, 2, 2))
    with pytest.raises(KindredError, match="H, W"):
        pixpro(torch.zeros(2, 4), torch.zeros(2, 4), torch.zeros(2, 4), torch.zeros(2, 4))


@pytest.mark.parametrize("with_queue", [False, True])
def test_dense_local_against_loops(with_queue: bool) -> None:
    q, k = torch.randn(2, 4, 5, 2, 2, dtype=torch.float64)
    f, g = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    groups = torch.tensor([0, 0, 1, 2])
    queue, stored = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 5])
    valid = torch.tensor([True, True, False, True, True, True])
    zq, zk = (normalize(x.flatten(2).transpose(1, 2), dim=-1) for x in (q, k))
    zf, zg = (normalize(x.flatten(2).transpose(1, 2), dim=-1) for x in (f, g))
    losses = []
    for n in range(4):
        for i in range(4):
            match = int((zf[n, i] @ zg[n].T).argmax())
            if with_queue:
                keys = [normalize(queue[j], dim=0) for j in range(6) if valid[j] and stored[j] != groups[n]]
            else:
                keys = [normalize(zk[j].mean(0), dim=0) for j in range(4) if groups[j] != groups[n]]
            logits = torch.stack([zq[n, i] @ key for key in [zk[n, match], *keys]]) / 0.3
            losses.append(cross_entropy(logits[None], torch.tensor([0])))
    options = {"queue": queue, "queue_groups": stored, "queue_valid": valid} if with_queue else {}
    found = dense_local(q, k, f, g, temperature=0.3, groups=groups, **options)
    torch.testing.assert_close(found, torch.stack(losses).mean())


@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_global_local_against_loops(temperature: float) -> None:
    whole, parts = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 3, 5, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)
    groups = torch.tensor([0, 0, 1, 2])
    g, p = normalize(whole), normalize(parts, dim=-1)
    total = 0.0
    for n in range(4):
        against = [
            g[n] @ p[m, l] / temperature
            for m in range(4)
            for l in range(3)
            if groups[m] != groups[n] and mask[m, l]
        ]
        own = [
            torch.stack([g[n] @ p[n, l] / temperature, *against]).logsumexp(0) - g[n] @ p[n, l] / temperature
            for l in range(3)
            if mask[n, l]
        ]
        total = total + (sum(own) / len(own) if own else 0.0)
    found = global_local(whole, parts, temperature=temperature, mask=mask, groups=groups)
    torch.testing.assert_close(found, total / 4)


def _soft_loss(rows, teacher, columns, hard, temperature):
    target = hard * torch.eye(len(rows), len(columns), dtype=rows.dtype)
    target = target + (1 - hard) * (teacher @ columns.T / temperature).softmax(1)
    return -(target * (rows @ columns.T / temperature).log_softmax(1)).sum(1).mean()


def test_tcl_is_the_mean_of_its_six_terms() -> None:
    image, text, image_key, text_key = torch.randn(4, 3, 5, dtype=torch.float64)
    image_parts, text_parts = (
        torch.randn(3, 2, 5, dtype=torch.float64),
        torch.randn(3, 4, 5, dtype=torch.float64),
    )
    image_queue, text_queue = torch.randn(2, 6, 5, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    found = tcl(
        image, text, image_key, text_key, image_parts, text_parts, text_mask=mask, image_queue=image_queue,
        text_queue=text_queue, temperature=0.2, soft=0.3,
    )  # fmt: skip
    i, t, ik, tk, iq, tq = (
        normalize(x, dim=-1) for x in (image, text, image_key, text_key, image_queue, text_queue)
    )
    images, texts = torch.cat([ik, iq]), torch.cat([tk, tq])
    terms = [
        _soft_loss(i, ik, texts, 0.7, 0.2),
        _soft_loss(t, tk, images, 0.7, 0.2),
        _soft_loss(i, ik, images, 1.0, 0.2),
        _soft_loss(t, tk, texts, 1.0, 0.2),
        global_local(image, image_parts, temperature=0.2),
        global_local(text, text_parts, temperature=0.2, mask=mask),
    ]
    for value, expected in zip(found[1:], terms, strict=True):
        torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found.total, torch.stack(terms).mean())


def test_tcl_leaves_out_stored_keys_of_the_group_and_entries_not_filled() -> None:
    x, parts, queue = torch.randn(4, 3, 5), torch.randn(2, 3, 2, 5), torch.randn(4, 5)
    spoilt = queue.clone()
    spoilt[2:] = 100 * torch.randn(2, 5)
    options = {
        "groups": torch.tensor([4, 4, 4]),
        "queue_groups": torch.tensor([1, 2, 4, 9]),
        "queue_valid": torch.tensor([True, True, True, False]),
    }
    one, two = (tcl(*x, *parts, image_queue=q, text_queue=q, **options).total for q in (queue, spoilt))
    torch.testing.assert_close(one, two)
    assert_finite(one)
