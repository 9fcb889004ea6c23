"""Branches, projection and fusion: exact sums, the projected flag, idempotence, folders, pruning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import CheckpointError, ConfigError, DataError
from medical.ecg.learn.project import project_branch
from medical.ecg.learn.sparse import fit_sparse
from medical.ecg.learn.stages import fuse, prune
from medical.ecg.losses import prototype_contrast, prototype_identity, separation
from medical.ecg.model.branch import Backbone, BranchConfig, PrototypeBranch
from medical.ecg.model.folder import load_branch, load_network, save_branch, save_network
from medical.ecg.model.network import PrototypeNetwork
from medical.ecg.model.similarity import pool_windows, window_shares
from medical.ecg.preprocess import Preprocessing
from medical.ecg.push import choose, matches

SMALL = Backbone((1, 1, 1, 1), (4, 4, 6, 8))


def branch(window=3, **options) -> PrototypeBranch:
    torch.manual_seed(0)
    config = BranchConfig("morphology", ("A", "B"), (2, 3), window, backbone=SMALL, **options)
    return PrototypeBranch(config).eval()


@pytest.mark.parametrize(("window", "shape"), [(0, (5, 8)), (3, (5, 8, 3)), (-1, (5, 8, 32))])
def test_shapes_of_the_three_kinds_of_prototypes(window, shape):
    one = branch(window)
    assert one.prototypes.shape == shape
    found = one.similar(torch.randn(2, 12, 1000))
    assert found.pooled.shape == (2, 5)
    assert (found.windows is None) == (window == 0)
    assert one.logits(found.pooled).shape == (2, 2)
    limit = one.scale + 1e-4
    assert float(found.pooled.detach().abs().max()) <= limit


def test_published_sizes_scales_and_first_weights():
    config = BranchConfig("morphology", ("A", "B"), (18, 18), 3)
    one = PrototypeBranch(config)
    assert one.prototypes.shape == (36, 512, 3)
    assert (one.scale, one.steps) == (13.0, 32)
    assert sorted(set(one.classifier.flatten().tolist())) == [-0.5, 1.0]
    assert PrototypeBranch(BranchConfig("global", ("A",), (7,), -1)).scale == 4.0
    assert PrototypeBranch(BranchConfig("rhythm", ("A",), (5,), 0)).scale == 1.0
    assert config.backbone.receptive_field == 435


def test_balanced_weights_answer_nothing_where_all_prototypes_are_alike():
    one = branch(classifier="balanced")
    assert torch.allclose(one.logits(torch.full((1, 5), 3.0)), torch.zeros(1, 2), atol=1e-5)
    assert one.bias.requires_grad
    assert not branch().bias.requires_grad


@pytest.mark.parametrize("pool", ["mean", "topk", "max"])
def test_shares_of_the_windows_sum_to_what_is_pooled(pool):
    activations = torch.randn(2, 3, 30)
    torch.testing.assert_close(window_shares(activations, pool).sum(-1), pool_windows(activations, pool))


def test_every_logit_is_the_sum_of_its_contributions(trained):
    network, prepared = trained.network, trained.prepared
    signals = np.asarray(prepared.signals[prepared.rows("test")])
    found = network.predict(signals, raw=False)
    parts = network.contributions(torch.from_numpy(found["similarities"]))
    error = (parts.sum(-1) + network.bias - torch.from_numpy(found["logits"])).abs().max()
    assert float(error) < 1e-5
    assert len(network.prototypes) == parts.shape[-1]


def test_projection_puts_real_features_and_is_idempotent(trained):
    prepared = trained.prepared
    for name, place in trained.network.places().items():
        one = trained.network.branches[name]
        facts = trained.network.prototypes[place]
        data = prepared.subset("train", one.config.labels)
        before = one.prototypes.clone()
        names = {key: prepared.of("train", key) for key in ("id", "patient", "labels")}
        again = project_branch(one, data, ids=names["id"], patients=names["patient"], names=names["labels"])
        torch.testing.assert_close(one.prototypes, before)
        assert [match.ecg_id for match in again] == [fact["ecg_id"] for fact in facts]
        row = names["id"].index(facts[0]["ecg_id"])
        feature = one.features(data.x(slice(row, row + 1)))[0]
        if one.length:
            feature = feature[:, again[0].window : again[0].window + one.length]
        torch.testing.assert_close(feature, one.prototypes[0])
        for fact in facts:
            assert set(fact["classes"]) <= set(fact["labels"]), "a prototype lies on a recording of its class"


def test_without_projection_there_is_no_classifier_and_no_answer(prepared):
    from medical.ecg.learn.stages import classify

    one = branch()
    with pytest.raises(CheckpointError, match="not projected"):
        classify(one, None, l1=1e-4, iterations=1)
    network = PrototypeNetwork({"morphology": one}, ["A", "B"], Preprocessing())
    with pytest.raises(CheckpointError, match="not projected"):
        network(torch.zeros(1, 12, 1000))
    with pytest.raises(CheckpointError, match="not projected"):
        fuse(network, prepared, l1=[1e-3], iterations=1)


def test_frozen_parts_stay_in_eval_mode(trained):
    network = trained.network
    network.train()
    assert not any(part.training for part in network.modules())


def test_a_network_comes_back_from_its_folder(trained, tmp_path):
    save_network(trained.network, tmp_path / "n", facts={"digest": "d"})
    again = load_network(tmp_path / "n")
    x = torch.from_numpy(np.array(trained.prepared.signals[:3]))
    torch.testing.assert_close(again(x), trained.network(x), rtol=0, atol=0)
    assert again.labels == trained.network.labels
    assert again.preprocessing == trained.network.preprocessing
    assert [one["ecg_id"] for one in again.prototypes] == [
        one["ecg_id"] for one in trained.network.prototypes
    ]
    weights = tmp_path / "n" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_network(tmp_path / "n")


def test_a_branch_of_another_label_set_is_refused(tmp_path):
    save_branch(branch(), tmp_path / "b")
    assert load_branch(tmp_path / "b", labels=["A", "B"]).config.labels == ("A", "B")
    with pytest.raises(CheckpointError, match="labels"):
        load_branch(tmp_path / "b", labels=["A", "C"])
    with pytest.raises(CheckpointError, match="format"):
        load_network(tmp_path / "b")


def test_pair_prototypes_belong_to_two_classes():
    identity = prototype_identity([1, 1, 1], pairs=2)
    assert identity.shape == (9, 3)
    assert identity[3:].sum(1).tolist() == [2.0] * 6
    assert identity[3].tolist() == [1, 1, 0]
    together = torch.eye(3) * 0.5 + 0.5
    rows = torch.randn(9, 4)
    assert torch.isfinite(prototype_contrast(rows, identity, together))
    assert prototype_contrast(rows, identity, together) != prototype_contrast(
        rows, identity, together, published=True
    )
    assert branch(pairs=1).count == 6


def test_the_stricter_separation_leaves_other_true_labels_alone():
    identity, y = torch.eye(3), torch.tensor([[1.0, 1.0, 0.0]])
    s = torch.tensor([[0.1, 5.0, 0.2]])
    assert (
        separation(s, y, identity).item() == pytest.approx((5 + 0.2 + 5) / 3)
        or separation(s, y, identity) > 1
    )
    assert separation(s, y, identity, "absent_only").item() == pytest.approx(0.2)


def test_distinct_prototypes_take_other_recordings_while_there_are_any():
    scores = torch.tensor([[0.9, 0.8], [0.5, 0.7], [0.1, 0.1]])
    windows, allowed = torch.zeros(3, 2, dtype=torch.long), torch.ones(3, 2, dtype=torch.bool)
    assert choose(scores, windows, allowed).row.tolist() == [0, 0]
    distinct = choose(scores, windows, allowed, distinct=torch.zeros(2, dtype=torch.long))
    assert distinct.row.tolist() == [0, 1]
    only = choose(scores[:1], windows[:1], allowed[:1], distinct=torch.zeros(2, dtype=torch.long))
    assert only.row.tolist() == [0, 0]


def test_a_class_without_recording_is_named_by_the_projection():
    chosen = choose(
        torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.long), torch.zeros(2, 1, dtype=torch.bool)
    )
    with pytest.raises(DataError, match="no training recording"):
        matches(
            chosen, torch.ones(1, 1), ["A"], ids=["1", "2"], patients=["p", "q"], names=[(), ()],
            length=None, steps=32, samples=1000,
        )  # fmt: skip


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.05), (0.01, 0.05)])
def test_the_sparse_fit_is_that_of_scikit_learn(l1, l2):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)) * [1, 13, 4, 1, 1, 1]
    y = (x[:, 1] / 13 + 0.5 * x[:, 0] + 0.5 * rng.normal(size=200) > 0).astype(float)
    found = fit_sparse(
        torch.from_numpy(x), torch.from_numpy(y)[:, None], l1=l1, l2=l2, iterations=5000, tolerance=1e-10
    )
    z = (x - x.mean(0)) / x.std(0)
    model = LogisticRegression(
        l1_ratio=l1 / (l1 + l2), C=1 / ((l1 + l2) * len(y)), solver="saga", max_iter=20000, tol=1e-8
    ).fit(z, y)
    np.testing.assert_allclose(found.weight[0].numpy() * x.std(0), model.coef_[0], atol=2e-3)


def test_a_strong_penalty_leaves_the_rates_of_the_labels():
    y = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    found = fit_sparse(torch.randn(4, 3), y, l1=10.0, iterations=2000)
    assert not found.weight.any()
    assert float(found.bias.sigmoid()) == pytest.approx(0.25, abs=1e-3)


def test_pruning_takes_prototypes_out_and_keeps_one_of_each_label(trained):
    network = trained.network
    place = network.places()["morphology"]
    label = network.branches["morphology"].config.labels[0]
    own = [n for n in range(place.start, place.stop) if label in network.prototypes[n]["classes"]]
    smaller, problems = prune(network, [*own, place.stop - 1])
    assert len(smaller.prototypes) == len(network.prototypes) - len(own)
    assert problems
    assert label in problems[0]
    report = fuse(smaller, trained.prepared, l1=[1e-3], l2=[0.1], iterations=20)
    assert report["weights"] == smaller.weight.numel()
    assert set(report["curve"]) == {"L1 0.001", "L2 0.1"}
    assert smaller(torch.from_numpy(np.array(trained.prepared.signals[:2]))).shape == (
        2,
        len(network.labels),
    )


def test_a_number_that_no_prototype_has_is_not_pruned_in_silence(trained):
    with pytest.raises(ConfigError, match="prototypes to prune"):
        prune(trained.network, [len(trained.network.prototypes)])


def test_a_label_needs_a_prototype():
    with pytest.raises(ConfigError, match="prototypes of branch"):
        BranchConfig("rhythm", ("A",), (0,), 0)


def test_training_twice_gives_the_same_weights(prepared):
    from medical.ecg.learn.supervised import joint

    found = []
    for _ in range(2):
        torch.manual_seed(1)
        labels = prepared.branches["rhythm"]
        one = PrototypeBranch(BranchConfig("rhythm", tuple(labels), (1,) * len(labels), 0, backbone=SMALL))
        joint(
            one, prepared.subset("train", labels), prepared.subset("valid", labels), steps=2, batch_size=8, seed=5,
            augment={"shift": 0.1, "scale": 0.1, "noise": 0.01}, progress=False,
        )  # fmt: skip
        found.append(one.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_a_branch_that_was_trained_before_the_kill_comes_back_with_the_same_weights(prepared, tmp_path):
    from medical.ecg.learn.stages import branch_configs, train_branches

    prototypes = {"rhythm": 1, "morphology": 1, "global": 1}
    sizes = {"blocks": SMALL.blocks, "widths": SMALL.widths}
    configs = branch_configs(prepared, **sizes, prototypes=prototypes, addon="identity")
    one = {"rhythm": configs["rhythm"]}
    found = []
    for _ in range(2):  # the second finds the finished checkpoints of the first
        branches, _ = train_branches(
            prepared, one, None, options={"steps": 2}, learning={"batch_size": 8}, seed=0,
            checkpoint_dir=tmp_path, progress=False,
        )  # fmt: skip
        found.append(branches["rhythm"].state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
