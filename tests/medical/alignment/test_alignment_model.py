"""Towers, adapters, folders, explanations and the served answer."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import CheckpointError, DataError, ServingError
from medical.alignment import serve
from medical.alignment.adapt import adapt
from medical.alignment.cases import load_cases, save_cases
from medical.alignment.evaluate import DIRECTIONS, embed, findings_by_pattern, retrieval, zero_shot
from medical.alignment.learn.batches import AlignmentSet
from medical.alignment.learn.train import train_space
from medical.alignment.model.folder import load_space
from medical.alignment.model.lora import load_adapters, trained_parameters
from medical.alignment.objective import METHODS
from medical.alignment.phantom import State, draw_ecg
from medical.alignment.prompts import load_prompts
from medical.alignment.relevance import film_relevance, lead_relevance, signal_relevance, word_relevance

TEXTS = ["The heart is normal in size.", "There is severe pulmonary edema."]
FITTING = {"progress": False, "diagnostics": False}
OPTIMIZATION = {"learning_rate": 0.003}


def batch_of(space, prepared, count=12):
    items = AlignmentSet(prepared, prepared.rows("train"), space.tokenizer)
    return items.__getitems__(list(range(count)))


def test_a_tower_sees_only_the_rows_that_have_its_modality(make_space, demo_prepared):
    space = make_space()
    batch = batch_of(space, demo_prepared)
    batch["present"][:, 1] = False
    space.towers.train()
    rows, present = space.towers(batch)
    space.alignment(rows, present, batch["groups"]).backward()
    assert not rows[1].any()
    assert all(p.grad is None for p in space.towers.ecg.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in space.towers.xray.parameters())


def test_batch_norm_leaves_a_single_row_out_instead_of_failing(make_space, demo_prepared):
    space = make_space(head_norm="batch", pool="cls")
    batch = batch_of(space, demo_prepared)
    batch["present"][:, 0] = False
    batch["present"][3, 0] = True
    space.towers.train()
    _, present = space.towers(batch)
    assert not present[:, 0].any()
    assert batch["present"][3, 0]


def test_one_item_alone_has_the_embedding_that_it_has_in_a_batch(make_space, demo_prepared):
    space = make_space()
    films, signals = np.array(demo_prepared.films[:5]), np.array(demo_prepared.signals[:5])
    np.testing.assert_allclose(space.embed_films(films[2:3])[0], space.embed_films(films)[2], atol=1e-6)
    np.testing.assert_allclose(
        space.embed_signals(signals[2:3])[0], space.embed_signals(signals)[2], atol=1e-6
    )
    long = [*TEXTS, "edema " * 30]
    np.testing.assert_allclose(space.embed_texts(TEXTS[:1])[0], space.embed_texts(long)[0], atol=1e-6)
    with pytest.raises(DataError, match="text"):
        space.embed_texts(["  "])


def test_adapters_are_few_are_saved_alone_and_vanish_in_the_saved_model(make_space, tmp_path):
    space = make_space(lora={"rank": 2, "alpha": 4.0, "dropout": 0.0, "bias": "none"})
    trained, whole = trained_parameters(space.towers.text)
    assert 0 < trained < 0.1 * whole
    for name, value in space.towers.text.named_parameters():
        if value.requires_grad:
            torch.nn.init.normal_(value, std=0.3, generator=torch.Generator().manual_seed(len(name)))
    expected = space.embed_texts(TEXTS)
    space.save(tmp_path / "model")
    merged = load_space(tmp_path / "model")
    np.testing.assert_allclose(merged.embed_texts(TEXTS), expected, atol=1e-5)
    files = {path.name for path in (tmp_path / "model" / "adapters").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    fresh = make_space()
    assert not np.allclose(fresh.embed_texts(TEXTS), expected, atol=1e-3)
    load_adapters(fresh.towers.text, tmp_path / "model" / "adapters")
    np.testing.assert_allclose(fresh.embed_texts(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(space.embed_texts(TEXTS), expected, atol=0)
    with pytest.raises(CheckpointError, match="adapter_config"):
        load_adapters(fresh.towers.text, tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_trains_evaluates_saves_and_serves(method, make_space, demo_prepared, tmp_path):
    spaces = []
    for _ in range(2 if method == "symile" else 1):
        space = make_space(method)
        result = train_space(
            space, demo_prepared, steps=3, batch_size=8, augmentation=None, modality_dropout=0.3,
            optimization=OPTIMIZATION, seed=1, **FITTING,
        )  # fmt: skip
        assert np.isfinite(result.history[-1]["loss"])
        spaces.append(space)
    if len(spaces) == 2:
        states = [space.modules().state_dict() for space in spaces]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    prompts = load_prompts("demo")
    adapt(space, demo_prepared, prompts, steps=5, learning_rate=0.05, weight_decay=0.0, dropout=0.3, seed=0)
    rows = demo_prepared.rows("test")
    found = embed(space, demo_prepared, rows)
    directions = retrieval(space, demo_prepared, rows, found, samples=20)
    assert {(one.source, one.target) for one in directions} == set(DIRECTIONS)
    aurocs = zero_shot(space, demo_prepared, rows, found, prompts, samples=20)
    assert {one.subset for one in aurocs} == {"xray", "ecg", "xray+ecg"}
    assert findings_by_pattern(space, demo_prepared, rows, found)
    space.save(tmp_path / "model")
    again = load_space(tmp_path / "model")
    films = np.array(demo_prepared.films[:2])
    np.testing.assert_array_equal(again.embed_films(films), space.embed_films(films))
    assert again.method == method
    if method == "symile":
        np.testing.assert_array_equal(again.missing, space.missing)
    assert again.calibration == space.calibration


@pytest.fixture
def service(make_space, demo_prepared, tmp_path):
    space = make_space()
    adapt(
        space,
        demo_prepared,
        load_prompts("demo"),
        steps=5,
        learning_rate=0.05,
        weight_decay=0.0,
        dropout=0.3,
        seed=0,
    )
    cases = save_cases(space, demo_prepared, tmp_path / "cases", split="train")
    return serve.AlignmentService(space, load_cases(cases))


def png():
    values = (np.random.default_rng(0).random((150, 150)) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(values).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def test_the_service_takes_any_subset(service):
    ecg = draw_ecg(State(0, 0, 0, 0, False, False, False, False), np.random.default_rng(0)).round(3)
    film, signal = {"film": png()}, {"ecg": ecg.tolist(), "ecg_rate": 100.0}
    words = {"text": TEXTS[0]}
    rows = [film, signal, words, film | signal, film | words, signal | words, film | signal | words]
    rows = [row | {"top": 2} for row in rows]
    together = service.predict(None, rows)
    assert [one["modalities"] for one in together] == [
        "xray", "ecg", "text", "xray+ecg", "xray+text", "ecg+text", "xray+ecg+text"
    ]  # fmt: skip
    for row, answer in zip(rows, together, strict=True):
        assert service.predict(None, [row]) == [answer]
        assert len(answer["nearest"]) == 2
        assert np.linalg.norm(answer["embedding"]) == pytest.approx(1, abs=1e-5)
        assert all(0 <= one["probability"] <= 1 for one in answer["findings"])
        assert all("zero_shot" in one for one in answer["findings"]) == (row is not rows[2])
    # leads named in another order are the same recording
    order = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    names = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    turned = {
        "ecg": ecg[order].tolist(),
        "ecg_rate": 100.0,
        "ecg_leads": ",".join(names[k] for k in order),
        "top": 2,
    }
    assert service.predict(None, [turned]) == [together[1]]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "at least one"),
        ({"film": "/etc/passwd"}, "opens no path"),
        ({"pixels": [[200.0] * 40] * 40}, "0..1"),
        ({"ecg": [[0.1] * 1000] * 12}, "ecg_rate"),
        ({"ecg": [[0.1, 0.2] * 500] * 3, "ecg_rate": 100.0}, "ecg_leads"),
        ({"ecg": [[0.1] * 1000] * 12, "ecg_rate": 100.0}, "constant"),
        ({"text": " "}, "empty"),
        ({"url": "http://x"}, "unknown field"),
    ],
)
def test_the_service_says_what_is_wrong_with_a_request(service, row, words):
    from mlflow.exceptions import MlflowException

    with pytest.raises((MlflowException, ServingError), match=words):
        service.predict(None, [row])


def test_explanations_have_their_shapes_and_see_what_is_silenced(make_space, demo_prepared):
    space = make_space(pool="cls", ecg_patch=20)
    against = space.embed_texts(TEXTS[1:])[0]
    film, signal = np.array(demo_prepared.films[0]), np.array(demo_prepared.signals[0])
    heat = film_relevance(space, film, against)
    assert heat.shape == (2, 2)
    assert heat.max() == pytest.approx(1)
    values, seconds = signal_relevance(space, signal, against)
    assert len(values) == len(seconds) == 50
    assert seconds[0] == pytest.approx(0.095)
    assert lead_relevance(space, signal, against).shape == (12,)
    signal[3] = 0
    assert lead_relevance(space, signal, against)[3] == pytest.approx(0, abs=1e-6)
    words = word_relevance(space, TEXTS[1], against)
    assert [word for word, _ in words] == ["There", "is", "severe", "pulmonary", "edema", "."]
    assert max(value for _, value in words) > 0
