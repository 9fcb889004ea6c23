"""What the evaluation reports: of which encoder, by which scores."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from earth_observation.evaluate import embed, linear_probes
from earth_observation.learn.heads import adapt, embed_chips
from earth_observation.linear import linear_scores
from earth_observation.metrics import average_precision, f1_scores
from earth_observation.prepared import starting_model, untrained
from earth_observation.report import evaluate

RESNET = {"backbone": "resnet", "widths": [8, 8, 8, 16], "blocks": [1, 1, 1, 1]}


def test_the_report_probes_the_pretrained_encoder_where_the_served_one_was_fine_tuned(store, tmp_path):
    model = starting_model(store, product="s2", architecture=RESNET, crop=24, seed=0, width=8).eval()
    pretrained = copy.deepcopy(model.encoder)
    settings = {"labelled": 0.5, "regularisation": 1.0}
    adapt(
        model, store, "s2", map_steps=0, change_steps=0, finetune_steps=2, batch_size=8, learning_rate=1e-2,
        progress=False, seed=3, **settings,
    )  # fmt: skip
    model.eval()
    chips = store.indices("test", "s2")
    before, after = (embed_chips(one, store, "s2", chips) for one in (pretrained, model.encoder))
    assert np.abs(before - after).max() > 1e-4  # what is served is another encoder
    found = evaluate(
        store, "s2", model, pretrained, untrained(model, 0), tmp_path, shares=[0.5, 1.0], finetuned=True, neighbours=3,
        histories={}, bootstrap=0, seed=3, label_seed=3, demo=True, **settings,
    )  # fmt: skip
    metrics = {name: one["value"] for name, one in found["metrics"].items()}
    probes = linear_probes(embed(pretrained, store, "s2"), store, [0.5, 1.0], seed=3)
    assert (metrics["map_0.5"], metrics["map_1"]) == (probes[0.5].value, probes[1.0].value)
    assert metrics["map_frozen"] == probes[0.5].value  # the same labels without fine-tuning
    head = (p.detach().numpy() for p in (model.classify.weight, model.classify.bias))
    truth, answers = store.classes[chips], linear_scores(after, *head)
    assert metrics["map_served"] == average_precision(truth, answers)["micro"]
    assert metrics["map_macro_served"] == average_precision(truth, answers)["macro"]
    expected = f1_scores(truth, answers)
    assert (metrics["f1_micro_served"], metrics["f1_macro_served"]) == (expected["micro"], expected["macro"])
    assert "accuracy_0.5" not in metrics
    assert any("fine-tuned" in note for note in found["notes"])


def test_data_of_one_class_a_chip_get_accuracies(store, untrained_copy, monkeypatch, tmp_path):
    single = np.zeros_like(store.classes)
    single[np.arange(len(single)), store.classes.argmax(1)] = 1
    monkeypatch.setattr(store, "classes", single)
    found = evaluate(
        store, "s2", untrained_copy, untrained_copy.encoder, untrained(untrained_copy, 0), tmp_path, shares=[1.0],
        labelled=1.0, regularisation=1.0, finetuned=False, neighbours=3, histories={}, bootstrap=0, seed=0,
        label_seed=0, demo=True,
    )  # fmt: skip
    assert {"accuracy_1", "random_accuracy_1", "accuracy_served"} <= set(found["metrics"])
    assert "map_frozen" not in found["metrics"]
    scores = linear_probes(embed(untrained_copy.encoder, store, "s2"), store, [1.0], seed=0)[1.0].scores
    right = scores.argmax(1) == single[store.indices("test", "s2")].argmax(1)
    assert found["metrics"]["accuracy_1"]["value"] == pytest.approx(right.mean())


@pytest.fixture
def untrained_copy(store):
    """A model with a class head alone."""
    model = starting_model(store, product="s2", architecture=RESNET, crop=24, seed=0, width=8)
    model.add_head("classify")
    return model.eval()
