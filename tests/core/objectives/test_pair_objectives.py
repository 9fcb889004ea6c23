"""DeGLA, M3CoL, soft CLIP, distilled CLIP, CoCa and GroCo: reference numbers and plain loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from objective_checks import assert_close, assert_matches, tensor
from reference.vectors import reference_cases
from torch.nn.functional import binary_cross_entropy, cross_entropy, normalize

from core.errors import KindredError
from core.objectives.coca import coca
from core.objectives.dcd import dcd
from core.objectives.degla import degla, local_contrast
from core.objectives.groco import groco, sorted_share
from core.objectives.m3col import m3col, soft_clip
from core.objectives.soft_targets import distilled_clip

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_degla_reference(dtype: torch.dtype) -> None:
    """The official code reads hard caption j of image i at row i K + j in one term, j N + i in the other."""
    for case in reference_cases("core_degla_official"):
        a, out = case["args"], case["out"]
        inputs = {name: tensor(value, dtype) for name, value in case["in"].items()}
        for name in case["grad"]:
            inputs[name].requires_grad_()
        image, text, count = inputs["image"], inputs["text"], len(inputs["image"])
        by_image = inputs["neg"].unflatten(0, (count, a["neg_text"]))
        by_caption = inputs["neg"].unflatten(0, (a["neg_text"], count)).transpose(0, 1)
        found = degla(
            image, text, by_image,
            teacher_image=inputs["timage"],
            teacher_text=inputs["ttext"][:count],
            teacher_negatives=inputs["ttext"][count:].unflatten(0, (count, a["neg_text"])),
            scale=a["logit_scale"],
            text_weight=0.0,
            image_weight=a["image_local_weight"],
            distillation_weight=a["distill_weight"],
        )  # fmt: skip
        grounded = local_contrast(text, inputs["ttext"][:count], by_caption, scale=10.0)
        near = 1e-9 if dtype == torch.float64 else 1e-5
        assert_close(grounded, out["tgc"], near, "text-grounded")
        assert_close(found.image_grounded, out["igc"], near, "image-grounded")
        assert_close(found.distillation, out["distill"], near, "distillation")
        loss = found.total + a["text_local_weight"] * grounded
        assert_close(loss, out["loss"], near, "loss")
        names = list(case["grad"])
        for name, value in zip(names, torch.autograd.grad(loss, [inputs[n] for n in names]), strict=True):
            assert_close(value, case["grad"][name], 10 * near, f"gradient of {name}")


def test_degla_against_loops_with_groups() -> None:
    image, text, teacher_image, teacher_text = torch.randn(4, 4, 6, dtype=torch.float64)
    hard, teacher_hard = torch.randn(2, 4, 3, 6, dtype=torch.float64)
    groups = torch.tensor([0, 0, 1, 2])
    found = degla(
        image, text, hard, teacher_image=teacher_image, teacher_text=teacher_text,
        teacher_negatives=teacher_hard, scale=5.0, groups=groups,
    )  # fmt: skip
    i, t, h, tt = (normalize(x, dim=-1) for x in (image, text, hard, teacher_text))
    forth, back, grounded_text, grounded_image = [], [], [], []
    for n in range(4):
        others = [m for m in range(4) if groups[m] != groups[n]]
        columns = [t[n], *h[n], *(t[m] for m in others), *(c for m in others for c in h[m])]
        forth.append(cross_entropy(5 * torch.stack([i[n] @ c for c in columns])[None], torch.tensor([0])))
        rows = [i[n], *(i[m] for m in others)]
        back.append(cross_entropy(5 * torch.stack([t[n] @ c for c in rows])[None], torch.tensor([0])))
        local = torch.stack([t[n] @ c for c in [tt[n], *h[n]]])
        grounded_text.append(cross_entropy(10 * local[None], torch.tensor([0])))
        local = torch.stack([i[n] @ c for c in [t[n], *h[n]]])
        grounded_image.append(cross_entropy(5 * local[None], torch.tensor([0])))
    mean = [torch.stack(x).mean() for x in (forth, back, grounded_text, grounded_image)]
    torch.testing.assert_close(found.contrast, (mean[0] + mean[1]) / 2)
    torch.testing.assert_close(found.text_grounded, mean[2])
    torch.testing.assert_close(found.image_grounded, mean[3])
    total = (
        found.contrast + 0.2 * found.text_grounded + 0.2 * found.image_grounded + 1e-3 * found.distillation
    )
    torch.testing.assert_close(found.total, total)


def test_degla_wants_a_row_of_hard_captions_an_image() -> None:
    x = torch.randn(4, 3)
    with pytest.raises(KindredError, match="negatives"):
        degla(x, x, x[:2, None], teacher_image=x, teacher_text=x, teacher_negatives=x[:2, None])


@pytest.mark.parametrize("dtype", DTYPES)
def test_m3col_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_m3col_official"):
        t = case["args"]["temp"]
        if case["args"]["fn"] == "soft_clip_loss":
            assert_matches(lambda preds, targs: soft_clip(preds, targs, temperature=t), case, dtype)  # noqa: B023
            continue
        assert_matches(
            lambda mix, fix, perm, betas: m3col(mix, fix, betas, perm, temperature=t, compat=True),  # noqa: B023
            case,
            dtype,
        )


@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_m3col_against_loops(temperature: float) -> None:
    x, y = (normalize(torch.randn(5, 4, dtype=torch.float64)) for _ in range(2))
    order, share = torch.tensor([2, 1, 4, 0, 3]), torch.rand(5, dtype=torch.float64)
    groups = torch.tensor([0, 1, 2, 2, 3])
    logits, target = x @ y.T / temperature, torch.zeros(5, 5, dtype=torch.float64)
    for i in range(5):
        target[i, i] += 1.0 if order[i] == i else share[i]
        target[i, order[i]] += 0.0 if order[i] == i else 1 - share[i]
    source = torch.zeros(5, 5, dtype=torch.bool)
    for i in range(5):
        source[i, i] = source[i, order[i]] = True
    hidden = torch.zeros(5, 5, dtype=torch.bool)
    for i, j in itertools.product(range(5), range(5)):
        hidden[i, j] = bool((groups[j] == groups[i]) | (groups[j] == groups[order[i]])) and not bool(
            source[i, j]
        )
    masked = logits.masked_fill(hidden, -1e9)
    rows = -(target * masked.log_softmax(1)).sum(1).mean()
    columns = -(target.T * masked.T.log_softmax(1)).sum(1).mean()
    found = m3col(x, y, share, order, temperature=temperature, groups=groups)
    torch.testing.assert_close(found, (rows + columns) / 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_distilled_clip_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_distillclip_openclip"):
        a = case["args"]

        def loss(image, text, timage, ttext, a=a, distil=1.0, clip=1.0):
            return distilled_clip(
                image, text, timage, ttext, scale=a["logit_scale"], teacher_scale=a["teacher_logit_scale"],
                contrast_weight=clip, distillation_weight=distil,
            )  # fmt: skip

        assert_matches(loss, case, dtype, loosen=1.0 if dtype == torch.float64 else 3.0)
        terms = {**case, "grad": {}}
        assert_matches(lambda **i: loss(**i, clip=0.0), terms, dtype, expected="distill", loosen=3.0)
        assert_matches(lambda **i: loss(**i, distil=0.0), terms, dtype, expected="contrastive", loosen=3.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_coca_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_coca_openclip"):
        a = case["args"]

        def terms(image, text, logits, labels, a=a):
            return coca(
                image, text, logits, labels, scale=a["logit_scale"], contrast_weight=a["clip_loss_weight"],
                caption_weight=a["caption_loss_weight"], padding=a["pad_id"],
            )  # fmt: skip

        assert_matches(lambda **i: terms(**i).total, case, dtype)
        found = terms(**{name: tensor(value, dtype) for name, value in case["in"].items()})
        near = 1e-9 if dtype == torch.float64 else 2e-5
        assert_close(a["clip_loss_weight"] * found.contrast, case["out"]["contrastive"], near, "contrastive")
        assert_close(a["caption_loss_weight"] * found.caption, case["out"]["caption"], near, "caption")


def test_captions_of_padding_alone_cost_nothing() -> None:
    x = torch.randn(2, 3)
    assert float(coca(x, x, torch.randn(2, 4, 5), torch.zeros(2, 4, dtype=torch.long)).caption) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_groco_reference(dtype: torch.dtype) -> None:
    for case in reference_cases("core_groco_official"):
        a = case["args"]

        def loss(a=a, **views):
            return groco(
                [views[f"v{i}"] for i in range(a["n_augs"])],
                hardest=a["topk_neg"],
                steepness=a["steepness"],
                stop_gradient=a["stop_grad"],
            )

        assert_matches(loss, case, dtype)


@pytest.mark.parametrize(("count", "top"), [(1, 1), (2, 1), (5, 2), (6, 3)])
def test_sorted_share_equals_the_permutation_matrix(count: int, top: int) -> None:
    values = torch.randn(3, count, dtype=torch.float64)
    x, matrix = values.clone(), torch.eye(count, dtype=torch.float64).repeat(3, 1, 1)
    for layer in range(count):
        for i in range(layer % 2, count - 1, 2):
            keep = (torch.atan(2.0 * (x[:, i + 1] - x[:, i])) / torch.pi + 0.5)[:, None]
            low, high = matrix[:, :, i].clone(), matrix[:, :, i + 1].clone()
            matrix[:, :, i], matrix[:, :, i + 1] = (
                keep * low + (1 - keep) * high,
                (1 - keep) * low + keep * high,
            )
            a, b, k = x[:, i].clone(), x[:, i + 1].clone(), keep[:, 0]
            x[:, i], x[:, i + 1] = k * a + (1 - k) * b, (1 - k) * a + k * b
    expected = matrix[:, :, count - top :].sum(2)
    torch.testing.assert_close(sorted_share(values, top, steepness=2.0), expected)
    hard = sorted_share(values, top, steepness=1e9)
    assert torch.equal(hard.round().bool(), values >= values.sort(dim=1).values[:, count - top, None])


def test_groco_leaves_out_rows_of_the_group() -> None:
    z = normalize(torch.randn(2, 5, 4, dtype=torch.float64), dim=-1)
    groups = torch.tensor([0, 0, 1, 1, 1])
    losses = []
    for anchor in range(2):
        for i in range(5):
            near = sorted(float(z[anchor, i] @ z[anchor, j]) for j in range(5) if groups[j] != groups[i])[-2:]
            values = torch.tensor([[*near, float(z[anchor, i] @ z[1 - anchor, i])]], dtype=torch.float64)
            share = sorted_share(values, 1)
            losses.append(binary_cross_entropy(share, torch.tensor([[0.0, 0, 1]], dtype=torch.float64)))
    torch.testing.assert_close(groco(z, hardest=2, groups=groups), torch.stack(losses).mean())


@pytest.mark.parametrize("dtype", DTYPES)
def test_dcd_reference(dtype: torch.dtype) -> None:
    """The official labels are float32, which rounds the ranking term: 1e-7 in float64."""
    loosen = 100.0 if dtype == torch.float64 else 1.0
    for case in reference_cases("core_dcd_official"):
        balance = case["args"]["alpha"]

        def terms(y, teacher, labels, balance=balance):
            return dcd(y, teacher, balance=balance, compat=True)

        assert_matches(lambda **i: terms(**i).total, case, dtype, loosen=loosen)
        parts = {**case, "grad": {}}
        assert_matches(lambda **i: terms(**i).distillation, parts, dtype, expected="d_loss")
        assert_matches(lambda **i: terms(**i).ranking, parts, dtype, expected="nll", loosen=loosen)


def test_dcd_weighs_distillation_by_how_sure_the_teacher_is() -> None:
    scores, teacher = torch.zeros(2, 3), torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    probability = teacher.softmax(1)
    entropy = -(probability * probability.log()).sum(1)
    weight = (1 - entropy / entropy.sum()).square().softmax(0)
    expected = (weight * teacher.square().mean(1)).sum()
    torch.testing.assert_close(dcd(scores, teacher).distillation, expected)
    assert weight[0] > weight[1]
    sure = torch.tensor([[900.0, 0.0, 0.0]] * 2)  # entropy 0 everywhere: all rows count alike
    torch.testing.assert_close(dcd(scores, sure).ranking, torch.tensor(2.0).log())
