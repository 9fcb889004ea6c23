from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.vectors import reference
from torch import nn

from core.errors import ConfigError
from core.momentum import NO_GROUP, EmbeddingQueue, MomentumEncoder


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_update_is_the_average_of_parameters_and_float_buffers():
    online = network()
    slow = MomentumEncoder(online, momentum=0.9)
    before = copy.deepcopy(slow.encoder.state_dict())
    for value in online.state_dict().values():
        value.add_(torch.ones_like(value))
    slow.update()
    for name, value in slow.encoder.state_dict().items():
        target = online.state_dict()[name]
        expected = 0.9 * before[name] + 0.1 * target if value.is_floating_point() else target
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_ends_are_copy_and_frozen(momentum):
    online = network()
    slow = MomentumEncoder(online, momentum)
    start = slow.encoder[0].weight.clone()
    online[0].weight.data.add_(1)
    slow.update()
    assert torch.equal(slow.encoder[0].weight, online[0].weight if momentum == 0 else start)


def test_a_schedule_overrides_the_momentum_of_one_update():
    online = network()
    slow = MomentumEncoder(online, 1.0)
    online[0].weight.data.add_(1)
    slow.update(0.0)
    assert torch.equal(slow.encoder[0].weight, online[0].weight)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        slow.update(1.5)


def test_keys_are_deterministic_without_gradient_whatever_train_says():
    slow = MomentumEncoder(network())
    slow.train()
    x = torch.randn(5, 3)
    assert torch.equal(slow(x), slow(x))
    assert not slow(x).requires_grad
    assert int(slow.encoder[1].num_batches_tracked) == 0
    assert all(not p.requires_grad for p in slow.parameters())


def test_the_online_encoder_is_referred_to_and_not_registered():
    online = network()
    slow = MomentumEncoder(online)
    assert slow.online is online
    assert set(slow.state_dict()) == {f"encoder.{name}" for name in online.state_dict()}
    both = nn.ModuleDict({"online": online, "slow": slow})
    moved = copy.deepcopy(both)
    assert moved["slow"].online is moved["online"]


def test_tied_weights_stay_tied():
    online = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    online[1].weight = online[0].weight
    slow = MomentumEncoder(online, 0.5)
    online[0].weight.data.fill_(4)
    before = slow.encoder[0].weight.clone()
    slow.update()
    assert slow.encoder[1].weight is slow.encoder[0].weight
    torch.testing.assert_close(slow.encoder[0].weight, (before + 4) / 2)


def test_an_encoder_changed_after_the_copy_is_refused():
    online = network()
    slow = MomentumEncoder(online)
    online[3] = nn.Linear(4, 3)
    with pytest.raises(ConfigError, match=r"3\.weight"):
        slow.update()


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_a_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(ConfigError, match="momentum"):
        MomentumEncoder(network(), momentum)


def test_half_precision_weights_are_refused():
    with pytest.raises(ConfigError, match="bf16-mixed"):
        MomentumEncoder(network().to(torch.bfloat16))


@pytest.mark.parametrize("name", ["cocosoda_moco_inter_intra", "cocosoda_moco_inter_only"])
def test_reference_queues_and_momentum_weights(name):
    """Replays the queues of the published class, and its momentum update of the linear layer."""
    vectors = {key: torch.as_tensor(value) for key, value in reference(name).items()}
    sizes = {key: int(vectors[key]) for key in ("K", "D", "steps")}
    queues = {}
    for kind in ("code", "nl", "masked_code", "masked_nl"):
        queues[kind] = EmbeddingQueue(sizes["D"], sizes["K"]).double()
        queues[kind].embeddings = vectors[f"init.queue.{kind}"].T.clone()
    online = nn.Linear(1, 1, bias=False)
    online.weight.data = vectors["init.lin.weight"].clone()
    slow = MomentumEncoder(online, float(vectors["m"]))
    for step in range(sizes["steps"]):
        slow.update()
        rows = {"code": "z_code_q", "nl": "z_nl_q", "masked_code": "z_code_k", "masked_nl": "z_nl_k"}
        for kind, row in rows.items():
            queues[kind].enqueue(vectors[f"s{step}.{row}"])
        after = {key.split(".after.")[1]: value for key, value in vectors.items() if f"s{step}.after." in key}
        for key, value in after.items():
            kind = key.removeprefix("queue.")
            if kind in queues:
                torch.testing.assert_close(queues[kind].embeddings.T, value, rtol=0, atol=1e-9)
        if "code_k.lin.weight" in after:
            torch.testing.assert_close(slow.encoder.weight, after["code_k.lin.weight"], rtol=0, atol=1e-9)
        online.weight.data = after["q.lin.weight"].clone()


@settings(max_examples=25, deadline=None)
@given(blocks=st.integers(1, 4), batch=st.integers(1, 3), steps=st.integers(0, 9))
def test_the_queue_holds_the_last_embeddings_in_a_ring(blocks, batch, steps):
    size = blocks * batch
    queue = EmbeddingQueue(dim=1, size=size)
    sent = [torch.arange(step * batch, (step + 1) * batch)[:, None].float() for step in range(steps)]
    for x in sent:
        queue.enqueue(x, x[:, 0].long())
    held = torch.cat([*sent, torch.empty(0, 1)])[-size:] if steps else torch.empty(0, 1)
    assert int(queue.valid.sum()) == min(size, steps * batch)
    assert sorted(queue.embeddings[queue.valid].flatten().tolist()) == held.flatten().tolist()
    assert torch.equal(queue.groups[queue.valid].float(), queue.embeddings[queue.valid].flatten())
    assert int(queue.pointer) == steps * batch % size


def test_an_empty_queue_is_all_masked_and_ungrouped():
    queue = EmbeddingQueue(2, 4)
    assert not queue.valid.any()
    queue.enqueue(torch.ones(2, 2))
    assert queue.groups.tolist() == [NO_GROUP] * 4


def test_enqueue_between_forward_and_backward_is_safe():
    queue = EmbeddingQueue(2, 4)
    queue.enqueue(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    x = torch.ones(2, 2, requires_grad=True)
    loss = (x @ queue.embeddings.T).square().sum()
    expected = torch.autograd.grad(loss, x, retain_graph=True)[0]
    queue.enqueue(x)
    queue.enqueue(x * 9)
    assert torch.equal(torch.autograd.grad(loss, x)[0], expected)
    assert not queue.embeddings.requires_grad


def test_state_survives_a_round_trip():
    queue = EmbeddingQueue(2, 4)
    queue.enqueue(torch.randn(2, 2), torch.tensor([5, 6]))
    other = EmbeddingQueue(2, 4)
    other.load_state_dict(queue.state_dict())
    x = torch.randn(2, 2)
    queue.enqueue(x)
    other.enqueue(x)
    assert all(torch.equal(a, b) for a, b in zip(queue.buffers(), other.buffers(), strict=True))


@pytest.mark.parametrize(
    ("x", "groups", "told"),
    [
        (torch.ones(3, 2), None, "divisor of the queue size 4"),
        (torch.ones(0, 2), None, "divisor of the queue size 4"),
        (torch.ones(8, 2), None, "divisor of the queue size 4"),
        (torch.ones(2, 3), None, r"expected \(B, 2\)"),
        (torch.ones(2), None, r"expected \(B, 2\)"),
        (torch.ones(2, 2), torch.ones(3, dtype=torch.int64), "groups"),
    ],
)
def test_what_does_not_fit_the_queue_is_refused(x, groups, told):
    queue = EmbeddingQueue(2, 4)
    with pytest.raises(ConfigError, match=told):
        queue.enqueue(x, groups)
    assert not queue.valid.any()


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)])
def test_an_empty_shape_is_refused(shape):
    with pytest.raises(ConfigError, match="two numbers"):
        EmbeddingQueue(*shape)


def test_low_precision_embeddings_are_stored_as_float32():
    queue = EmbeddingQueue(2, 2)
    queue.enqueue(torch.ones(2, 2, dtype=torch.bfloat16))
    assert queue.embeddings.dtype == torch.float32
