"""The published code's numbers: similarities, loss terms with gradients, projection, label statistics, metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.vectors import reference

from medical.ecg import losses
from medical.ecg.evaluate import f_max, macro_auroc
from medical.ecg.model import similarity
from medical.ecg.preprocess import highpass
from medical.ecg.push import candidates, choose, project, raw_window

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
TERMS = {
    "cluster": "term_clst",
    "separation": "term_sep",
    "diversity": "term_div",
    "contrastive": "term_cnrst",
    "sparsity": "term_spars",
}
WEIGHTS = {
    "total_main_defaults": losses.LossWeights(),
    "total_tune_defaults": losses.LossWeights(0.8, 0.08, 1e-4, 100.0, 0.4),
    "total_no_contrastive": losses.LossWeights(contrastive=0.0),
}


def tensors(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.asarray(value)) for key, value in reference(name).items()}


def close(found, expected, **tolerance) -> None:
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    np.testing.assert_allclose(found, np.asarray(expected), **(tolerance or TOLERANCE))


def loss(v, weights, **changed):
    inputs = {"logits": v["logits"], "similarity_scores": v["similarity_scores"], "p": v["prototype_vectors"]}
    inputs |= changed
    return losses.prototype_loss(
        inputs["logits"],
        inputs["similarity_scores"],
        v["y_true"],
        inputs["p"],
        v["prototype_class_identity"],
        v["label_cooccurrence"],
        weights=weights,
        pos_weight=v["class_weights"],
        published=True,
    )


@pytest.mark.parametrize("name", ["proto_loss1d", "proto_loss2d"])
def test_every_term_of_the_loss_and_its_totals(name):
    v = tensors(name)
    found = loss(v, WEIGHTS["total_tune_defaults"])
    for ours, theirs in TERMS.items():
        close(found[ours], v[theirs])
    close(found["classification"], v["term_classification"])
    plain = losses.prototype_loss(
        v["logits"],
        v["similarity_scores"],
        v["y_true"],
        v["prototype_vectors"],
        v["prototype_class_identity"],
        None,
    )
    close(plain["classification"], v["term_classification_no_weight"])
    for total, weights in WEIGHTS.items():
        close(loss(v, weights)["loss"], v[total])


@pytest.mark.parametrize("name", ["proto_loss1d", "proto_loss2d"])
def test_gradients_of_the_loss(name):
    v = tensors(name)
    leaves = {
        "logits": v["logits"].clone().requires_grad_(),
        "similarity_scores": v["similarity_scores"].clone().requires_grad_(),
        "p": v["prototype_vectors"].clone().requires_grad_(),
    }
    loss(v, losses.LossWeights(), **leaves)["loss"].backward()
    for leaf, theirs in zip(leaves.values(), ("logits", "similarity", "prototypes"), strict=True):
        close(leaf.grad, v[f"grad_{theirs}"])


def test_similarities_of_vectors():
    v = tensors("proto_similarity1d")
    features, prototypes, identity = v["features"], v["prototype_vectors"], v["prototype_class_identity"]
    cos = similarity.cosine(features, prototypes)
    close(cos, v["cos"])
    weight = 1.5 * identity.T - 0.5
    close(weight, v["classifier_init_weight"])
    close(cos @ weight.T, v["logits"])
    distances = similarity.distance(features, prototypes)
    close(distances, v["l2_dist"])
    close(similarity.distance_similarity(distances, "log"), v["l2_sim_log"])
    close(similarity.distance_similarity(distances, "linear"), v["l2_sim_linear"])
    close(losses.off_class_l1(weight, identity), v["l1_off_class"])


@pytest.mark.parametrize("name", ["proto_similarity2d_partial", "proto_similarity2d_global"])
def test_similarities_of_windows(name):
    v = tensors(name)
    features, prototypes = v["features"], v["prototype_vectors"]
    found = similarity.window_cosine(features, prototypes, epsilon=float(v["epsilon"]))
    length = int(v["proto_time_len"])
    assert similarity.default_scale(features.shape[1], length) == int(v["input_vector_length"]) / length
    close(found, v["activations"])
    pooled = similarity.pool_windows(found, "mean")
    close(pooled, v["forward_pooled"])
    close(similarity.pool_windows(found, "max"), v["max_over_windows"])
    close(pooled @ (1.5 * v["prototype_class_identity"].T - 0.5).T, v["logits"])
    if "top5_mean" in v:
        close(similarity.pool_windows(found, "topk"), v["top5_mean"])
        distances = similarity.distance(features, prototypes)
        close(distances, v["l2_dist"])
        for kind in ("log", "linear"):
            pooled = similarity.pool_windows(similarity.distance_similarity(distances, kind), "topk")
            close(pooled, v[f"l2_sim_{kind}_top5"])


@pytest.mark.parametrize("name", ["proto_push1d", "proto_push2d"])
def test_projection(name):
    v = tensors(name)
    features, prototypes = v["features"], v["prototypes_before"]
    flat = features.ndim == 2

    def activations(part):
        return similarity.cosine(part, prototypes) if flat else similarity.window_cosine(part, prototypes)

    if not flat:
        prototypes, features = prototypes.squeeze(2), features.squeeze(2)
    new, chosen = project(
        lambda part: features[part],
        activations,
        prototypes,
        v["prototype_class_identity"],
        v["y"],
        batch_size=5,
    )
    known = chosen.row >= 0
    close(new[known], v["prototypes_after"].reshape(new.shape)[known])
    ids = torch.where(known, v["ids"][chosen.row.clamp_min(0)], -1)
    assert ids.tolist() == v["ecg_id"].tolist()
    close(chosen.score, v["score"])
    if "raw_start" in v:
        steps, length = features.shape[2], prototypes.shape[2]
        windows = [raw_window(int(t), length, steps=steps, samples=1000) for t in chosen.window[known]]
        assert [start for start, _ in windows] == v["raw_start"][known].tolist()
        assert [size for _, size in windows] == v["raw_len"][known].tolist()


def test_a_prototype_without_a_recording_of_its_class_is_left_alone():
    scores, windows = torch.ones(3, 2), torch.zeros(3, 2, dtype=torch.long)
    allowed = candidates(torch.tensor([[1, 0]] * 3), torch.eye(2))
    chosen = choose(scores, windows, allowed)
    assert chosen.row.tolist() == [0, -1]
    assert torch.isnan(chosen.score[1])


def test_label_statistics():
    v = tensors("proto_cooccurrence")
    close(losses.cooccurrence(v["Y"]), v["cooc"])
    close(losses.class_weights(v["Y_for_weights"], largest=torch.inf), v["class_weights"])


def test_metrics():
    v = reference("proto_metrics")
    scores = 1 / (1 + np.exp(-v["logits"].astype(np.float64)))
    value, counted = macro_auroc(v["y_true"], v["logits"])
    close(value, v["macro_auroc"])
    assert counted == int(((v["y_true"].sum(0) > 0) & (v["y_true"].sum(0) < len(v["y_true"]))).sum())
    best, threshold = f_max(v["y_true"], scores)
    close(best, v["fmax_micro"])
    close(threshold, v["fmax_threshold"])


def test_baseline_removal():
    v = reference("ecg_preproc")
    close(highpass(v["ecg100"].T, 100.0).T, v["proto_highpass"])
