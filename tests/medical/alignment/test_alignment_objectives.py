"""The four objectives with modalities missing: what is absent costs nothing and teaches nothing."""

from __future__ import annotations

import pytest
import torch

from core.errors import ConfigError
from medical.alignment.learn.train import drop_modalities
from medical.alignment.objective import METHODS, Alignment

ALL = torch.ones(6, 3, dtype=torch.bool)
MIXED = torch.tensor(2 * [[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)


def rows(count=6, grad=False):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, 8, generator=generator).requires_grad_(grad) for _ in range(3)]


def shuffles():
    return torch.stack([torch.stack([torch.randperm(6) for _ in range(2)]) for _ in range(3)])


@pytest.mark.parametrize("method", METHODS)
def test_what_stands_in_absent_rows_does_not_matter_and_gets_no_gradient(method):
    present, module = MIXED, Alignment(method, width=8)
    x = rows(len(present), grad=True)

    def loss_of(parts):
        return module(parts, present, generator=torch.Generator().manual_seed(0))

    loss = loss_of(x)
    loss.backward()
    for modality in range(3):
        gone = ~present[:, modality]
        assert not x[modality].grad[gone].abs().any()
        assert x[modality].grad[present[:, modality]].abs().sum() > 0
    other = [torch.where(present[:, [m]], part.detach(), 7.0) for m, part in enumerate(x)]
    torch.testing.assert_close(loss_of(other), loss)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_or_a_single_row_is_a_loss_of_zero_with_gradient(method):
    module = Alignment(method, width=8)
    for present in (torch.zeros(6, 3, dtype=torch.bool), torch.arange(6)[:, None].eq(0) & ALL):
        x = rows(grad=True)
        loss = module(x, present)
        loss.backward()
        assert float(loss.detach()) == 0
        assert all(part.grad is None or torch.isfinite(part.grad).all() for part in x)


@pytest.mark.parametrize("method", ["more", "pairwise", "gram"])
def test_the_order_of_the_batch_does_not_matter(method):
    module, x, order = Alignment(method, width=8), rows(), torch.tensor([3, 1, 5, 0, 2, 4])
    present = ALL.clone()
    present[0, 0] = False
    torch.testing.assert_close(module([part[order] for part in x], present[order]), module(x, present))


def test_items_of_one_patient_are_no_negatives_of_each_other():
    x = rows()
    twins = torch.tensor([0, 0, 1, 2, 3, 4])
    for method in METHODS:
        module = Alignment(method, width=8)
        permutations = shuffles()
        alone = module(x, ALL, torch.arange(6), permutations=permutations)
        assert float(module(x, ALL, twins, permutations=permutations)) < float(alone)
        assert float(module(x, ALL, torch.zeros(6, dtype=torch.int64), permutations=permutations)) == 0


def test_the_temperature_is_learned_or_fixed_and_stays_in_bounds():
    fixed = Alignment("more", width=8, temperature=0.02, learnable=False)
    assert not [name for name, p in fixed.named_parameters() if p.requires_grad]
    assert float(fixed.scale()) == pytest.approx(50)
    learned = Alignment("more", width=8)
    learned.log_scale.data.fill_(20)
    assert float(learned.scale()) == pytest.approx(100)
    with pytest.raises(ConfigError, match="objective"):
        Alignment("clip", width=8)


def test_modality_dropout_leaves_two_of_three_and_touches_no_other_row():
    present = ALL.repeat(50, 1)
    present[0] = torch.tensor([True, False, True])
    kept = drop_modalities(present, 0.5, torch.Generator().manual_seed(0))
    assert kept[0].tolist() == present[0].tolist()
    assert set(kept[1:].sum(1).tolist()) == {2, 3}


def test_symile_learns_what_only_two_modalities_tell_together():
    """c = a xor b: the product of all three sees it, pairs cannot."""
    torch.manual_seed(0)
    found = {}
    for method in ("pairwise", "symile"):
        tables = torch.nn.ModuleList(torch.nn.Embedding(2, 8) for _ in range(3))
        module = Alignment(method, width=8, temperature=0.2)
        optimizer = torch.optim.Adam([*tables.parameters(), *module.parameters()], lr=0.05)
        for step in range(100):
            generator = torch.Generator().manual_seed(step)
            bits = torch.randint(2, (64, 2), generator=generator)
            bits = torch.cat([bits, bits.sum(1, keepdim=True) % 2], 1)
            x = [table(bits[:, m]) for m, table in enumerate(tables)]
            loss = module(x, torch.ones(64, 3, dtype=torch.bool), generator=generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        a, b, c = (torch.nn.functional.normalize(table.weight.detach(), dim=1) for table in tables)
        hits = 0
        for i in range(2):
            for j in range(2):
                score = (a[i] * b[j]) @ c.T if method == "symile" else a[i] @ c.T + b[j] @ c.T
                hits += int(score.argmax()) == i ^ j
        found[method] = hits
    assert found["symile"] == 4
    assert found["pairwise"] < 4
