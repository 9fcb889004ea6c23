"""The temporal loss in use, the pairs, and a small training that must learn to hear order."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from audio_language.adapt import adapt, plan_pairs
from audio_language.batches import Pairs
from audio_language.data.clip import Clip, labels_of
from audio_language.evaluate import embed_items, evaluate, pair_bootstrap
from audio_language.learn import cache_frames, post_train, train_base
from audio_language.pairs import draw_pairs, split_class_pairs
from audio_language.prepared import starting_model, with_head
from audio_language.scores import top1, top2_set
from audio_language.tasks import draw_items, mixed_candidates
from audio_language.temporal_loss import TemporalContrastiveLoss
from audio_language.word_order import DISTURBANCES, word_order
from core.errors import ConfigError, DataError
from core.learning.determinism import generator


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def test_captions_of_one_meaning_are_an_error_or_no_negatives():
    audio, text = unit(3, 4, 8), unit(3, 4, 8, seed=1)
    meanings = torch.arange(12).reshape(3, 4)
    meanings[0, 1] = meanings[1, 0]  # "b before a" of one pair is the reverse of another
    with pytest.raises(DataError, match="duplicate"):
        TemporalContrastiveLoss()(audio, text, 10.0, meanings)
    masked = TemporalContrastiveLoss(duplicate="mask")(audio, text, 10.0, meanings)
    assert float(masked) < float(TemporalContrastiveLoss()(audio, text, 10.0))
    distinct = torch.arange(12).reshape(3, 4)
    plain = TemporalContrastiveLoss()(audio, text, 10.0, distinct)
    assert float(plain) == pytest.approx(float(TemporalContrastiveLoss()(audio, text, 10.0)))


@pytest.mark.parametrize(
    ("shape", "words"), [((3, 1, 4), "at least 2"), ((4, 3, 4), "equal shapes"), ((6, 4), "equal shapes")]
)
def test_wrong_batches_are_refused(shape, words):
    with pytest.raises(DataError, match=words):
        TemporalContrastiveLoss()(torch.zeros(shape), torch.zeros(shape), 1.0)


@pytest.mark.parametrize(
    "option", [{"beta": -1.0}, {"alpha_same": -1.0}, {"reduction": "sum"}, {"duplicate": "keep"}]
)
def test_wrong_options_are_refused(option):
    with pytest.raises(ConfigError):
        TemporalContrastiveLoss(**option)


def test_half_precision_and_extreme_scales_stay_finite():
    audio, text = unit(3, 4, 8).bfloat16().requires_grad_(), unit(3, 4, 8, seed=1).bfloat16()
    for scale in (1e-3, 100.0):
        loss = TemporalContrastiveLoss()(audio, text, scale)
        loss.backward()
        assert loss.dtype == torch.float32
        assert bool(torch.isfinite(audio.grad).all())


def test_class_pairs_and_clips_of_the_test_are_new(store):
    plan = plan_pairs(store, 40, fractions={"train": 0.6, "valid": 0.1, "test": 0.3}, seed=3)
    found = [pair for pairs in plan.class_pairs.values() for pair in pairs]
    assert sorted(found) == sorted(combinations(labels_of(store.clips), 2))
    items = draw_items(store, labels_of(store.clips), pairs=20, class_pairs=plan.allowed("test"), seed=0)
    trained = {frozenset(store.clips[i].label for i in pair) for pair in plan.train}
    tested = {frozenset(clip.label for clip in pair) for pair in items.clips}
    assert trained
    assert not trained & tested
    sources = {store.clips[i].group for pair in plan.train for i in pair}
    assert not sources & {group for pair in items.pair_groups for group in pair}
    assert plan == plan_pairs(store, 40, fractions={"train": 0.6, "valid": 0.1, "test": 0.3}, seed=3)
    assert len(set(plan.train)) == len(plan.train)


def test_captioned_clips_pair_by_source_and_caption():
    clips = [Clip(str(k), "", f"g{k // 2}", "train", captions=[f"sound {k % 3}"]) for k in range(12)]
    pairs = draw_pairs(clips, range(12), 30, seed=0)
    assert len(pairs) == 30
    assert all(clips[a].group != clips[b].group and clips[a].captions != clips[b].captions for a, b in pairs)
    with pytest.raises(DataError, match="class pairs"):
        draw_pairs([Clip("1", "", "1", "train", "dog")], [0], 3)
    assert split_class_pairs(["a", "b", "c"], fractions={"train": 0.5, "test": 0.5})["test"]


def test_mixed_candidates_hold_the_forced_three_and_no_second_right_one():
    found = mixed_candidates("dog", "rain", [f"c{k}" for k in range(20)] + ["dog", "rain"], generator(0))
    assert len(found) == len(set(found)) == 50
    assert found[:3] == ["dog before rain", "rain before dog", "dog while rain"]
    assert "rain while dog" not in found
    small = mixed_candidates("a", "b", ["a", "b", "c"], generator(0))
    assert len(small) < 50


def test_ties_are_wrong():
    assert not top1([[0.5, 0.5, 0.1]], [0]).any()
    assert not top2_set([[0.5, 0.5, 0.5]], [[0, 1]]).any()
    with pytest.raises(DataError, match="two different columns"):
        top2_set([[0.5, 0.5, 0.5]], [[1, 1]])


def test_intervals_are_over_source_recordings():
    groups = [(f"a{k}", f"b{k % 2}") for k in range(40)]
    values = np.array([k % 2 for k in range(40)], float)
    low, high = pair_bootstrap(values, groups, samples=200)
    assert low < 0.2
    assert high > 0.8, "two sources decide everything, so nothing is certain"


@pytest.fixture(scope="module")
def trained(store, front):
    """A base trained for some steps: enough to tell eight synthetic classes apart."""
    sizes = {"width": 8, "depths": (1, 1), "dim": 32, "text_width": 32, "text_layers": 2}
    base = starting_model(store.clips, seed=0, front_end=front, **sizes)
    options = {"learning_rate": 4e-3, "threads": 1, "progress": False}
    train_base(base.net, store, base.tokenizer, base.front, steps=90, batch_size=24, **options)
    return base


@pytest.mark.slow
def test_with_the_head_order_is_learned_and_without_it_is_not(trained, store):
    """Every class pair is new in the test, and only clips of other sources are heard."""
    plan = plan_pairs(store, 150, fractions={"train": 0.6, "valid": 0.1, "test": 0.3}, seed=1)
    labels = labels_of(store.clips)
    items = draw_items(store, labels, pairs=60, class_pairs=plan.allowed("test"), seed=0)
    cached = cache_frames(trained.net, store, plan.train, trained.front)
    found = {}
    for name, head in (("head", {"segments": 4, "inner": 32, "heads": 2}), ("none", None)):
        model = with_head(trained, head, 0)
        adapt(
            model, store, plan.train, steps={"single": 0, "order": 250}, rehearsal=0.5, cached=cached,
            batch_size=24, learning_rate=3e-3, paraphrase=0.0, text_layers=2, text_embeddings=True, threads=1,
            progress=False,
        )  # fmt: skip
        scores = evaluate(model, items)
        found[name] = scores["order_text"].value
        assert 2 * len(scores["order_text"].values) >= 100, "comparisons"
    assert found["head"] > 0.75
    assert found["head"] > found["none"] + 0.15


def test_training_twice_gives_the_same_weights_and_the_frozen_tower_stays(untrained, store):
    pairs = plan_pairs(store, 16, fractions={"train": 0.6, "valid": 0.1, "test": 0.3}).train
    states = []
    for _ in range(2):
        model = with_head(untrained, {"segments": 4, "inner": 16}, 0)
        adapt(
            model,
            store,
            pairs,
            steps={"single": 2, "order": 3},
            batch_size=4,
            seed=5,
            threads=1,
            progress=False,
        )
        states.append(model.net.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    before = untrained.net.state_dict()
    changed = {
        name for name in before if name in states[0] and not torch.equal(before[name], states[0][name])
    }
    assert changed
    assert not any(name.startswith(("clap.audio_model", "clap.text_model.embeddings")) for name in changed)


def test_cached_frames_and_spectrograms_on_the_way_are_the_same(untrained, store):
    pairs = plan_pairs(store, 8, fractions={"train": 0.6, "valid": 0.1, "test": 0.3}).train
    cached = cache_frames(untrained.net, store, pairs, untrained.front)
    batches = []
    for kept in (cached, None):
        np.random.seed(3)  # noqa: NPY002 - as the loader does for a step
        data = Pairs(store, pairs, untrained.tokenizer, untrained.front, stage="order", cached=kept)
        batches.append(data.__getitems__([0, 3]))
    with torch.no_grad():
        frames = untrained.net.frames(batches[1]["sounds"].flatten(0, 1))
    torch.testing.assert_close(
        frames.reshape(batches[0]["sounds"].shape), batches[0]["sounds"], atol=1e-4, rtol=1e-4
    )
    assert torch.equal(batches[0]["meanings"], batches[1]["meanings"])
    assert batches[0]["ids"].shape[0] == 8


def test_the_whole_model_can_be_trained_too(untrained, store):
    pairs = plan_pairs(store, 8, fractions={"train": 0.6, "valid": 0.1, "test": 0.3}).train
    model = with_head(untrained, None, 0)
    start = {name: value.clone() for name, value in model.net.state_dict().items()}
    post_train(
        model.net, store, pairs, model.tokenizer, model.front, stage="order", steps=1, batch_size=4, part="all",
        threads=1, progress=False,
    )  # fmt: skip
    assert any(
        name.startswith("clap.audio_model")
        and value.is_floating_point()
        and not torch.equal(value, start[name])
        for name, value in model.net.state_dict().items()
    )
    with pytest.raises(ConfigError, match="single or order"):
        post_train(model.net, store, pairs, model.tokenizer, model.front, stage="C", steps=1, batch_size=4)


def test_every_task_is_scored_with_chance_and_interval(untrained, store):
    plan = plan_pairs(store, 8, fractions={"train": 0.5, "valid": 0.1, "test": 0.4})
    items = draw_items(store, labels_of(store.clips), pairs=12, class_pairs=plan.allowed("test"), seed=0)
    embedded = embed_items(untrained, items)
    scores = evaluate(untrained, items, embedded=embedded) | word_order(untrained, items, embedded)
    assert {
        "zste1",
        "zste2_while",
        "zste3",
        "zste4",
        "zste5",
        "order_text",
        "order_group",
        "order_after",
    } <= set(scores)
    assert {f"words_{name}" for name in DISTURBANCES} <= set(scores)
    assert scores["zste2_before"].chance == pytest.approx(1 / 28)
    for name, score in scores.items():
        low, high = score.interval(50)
        assert 0 <= low <= score.value <= high <= 1, name
    again = evaluate(untrained, items)
    assert all(again[name].value == scores[name].value for name in again)
