"""Whatever compares vectors of a space compares them as the space was trained."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.errors import DataError
from core.objectives.gram import gram_volume
from core.objectives.symile import symile_similarity
from medical.alignment.adapt import average_patches
from medical.alignment.cases import load_cases, save_cases
from medical.alignment.demo import TRUTH
from medical.alignment.evaluate import FROM_TWO, embed, retrieval, zero_shot_scores
from medical.alignment.objective import METHODS, MODALITIES
from medical.alignment.pointing import point, read_boxes
from medical.alignment.prompts import load_prompts
from medical.alignment.scores import likeness, pair_signs, score, towards, unit

RNG = np.random.default_rng(0)
ROWS = {name: unit(RNG.normal(size=(5, 8))).astype(np.float32) for name in MODALITIES}
MISSING = unit(RNG.normal(size=(3, 8))).astype(np.float32)
SIGNS = np.array([1, -1, -1, 1, -1], dtype=np.float32)[:, None]
FIND = {"text": ROWS["text"]}
BOTH = {"xray": ROWS["xray"], "ecg": ROWS["ecg"]}


def tensor(name):
    return torch.from_numpy(ROWS[name])


def test_scores_are_what_the_losses_compare():
    films, ecgs, texts = (ROWS[name] for name in MODALITIES)
    np.testing.assert_allclose(score("more", BOTH, "text", texts), (films + ecgs) @ texts.T, atol=1e-6)
    three = symile_similarity(tensor("text"), [tensor("xray"), tensor("ecg")]) * 8**0.5
    found = score("symile", BOTH, "text", texts, missing=MISSING)
    np.testing.assert_allclose(found, three, atol=1e-6)
    alone = symile_similarity(tensor("xray"), [tensor("text"), torch.from_numpy(MISSING[1]).expand(5, -1)])
    found = score("symile", FIND, "xray", films, missing=MISSING)
    np.testing.assert_allclose(found, alone * 8**0.5, atol=1e-6)
    volume = gram_volume(tensor("text"), [tensor("xray"), tensor("ecg")]).T
    plane = gram_volume(tensor("xray"), [tensor("ecg")]).diagonal()[:, None]
    found = score("gram", BOTH, "text", texts)
    np.testing.assert_allclose(plane * np.sqrt(1 - found**2), volume, atol=1e-5)
    np.testing.assert_allclose(score("gram", FIND, "xray", films), np.abs(texts @ films.T), atol=1e-6)
    np.testing.assert_allclose(
        score("gram", {"xray": films, "ecg": films}, "text", texts), np.abs(films @ texts.T), atol=1e-6
    )
    with pytest.raises(DataError, match="absence"):
        score("symile", FIND, "xray", films)
    with pytest.raises(DataError, match="query modalities"):
        score("more", FIND, "text", texts)


def test_a_volume_knows_no_sign_and_neither_does_anything_built_on_it():
    """Embeddings of one item may be anti-parallel: turning any of them changes no answer of a GRAM space."""
    films, cases = ROWS["xray"], np.stack(list(ROWS.values()), axis=1)
    vectors = unit(RNG.normal(size=(40, 8))).astype(np.float32)
    there, turned = np.ones((5, 3), dtype=bool), cases * SIGNS[:, None]
    for method, same in (("gram", True), ("more", False)):
        pairs = [
            (score(method, FIND, "xray", films), score(method, FIND, "xray", films * SIGNS)),
            (likeness(method, FIND, cases, there), likeness(method, FIND, turned, there)),
        ]
        statements = [
            SimpleNamespace(
                embed_texts=lambda texts, sign=sign: vectors[: len(texts)] * sign[: len(texts)],
                score=lambda query, target, rows, method=method: score(method, query, target, rows),
            )
            for sign in (np.ones((40, 1)), np.tile(SIGNS, (8, 1)))
        ]
        prompts = load_prompts("demo")
        pairs.append(
            tuple(
                zero_shot_scores(one, {"xray": films}, prompts, ["Edema", "Mismatch"]) for one in statements
            )
        )
        for one, other in pairs:
            assert np.allclose(one, other, atol=1e-5) == same


def test_a_sign_that_all_items_share_is_learned_and_sorts_what_is_no_report():
    """Reports point away from their films, and a sentence alone lies on the films' side: the less, the better fit."""
    axes = np.eye(8, dtype=np.float32)
    ill, well = unit(axes[0] + axes[1]), unit(axes[0] - axes[1])
    films = np.stack([ill, well] * 10)
    whole = np.stack([films, np.broadcast_to(axes[7], films.shape), -films], axis=1)
    there = np.ones((20, 3), dtype=bool)
    signs = pair_signs(whole, there)
    assert signs.tolist() == [[0, 0, -1], [0, 0, 0], [-1, 0, 0]]
    assert not pair_signs(whole[:6], there[:6]).any()
    mixed = whole * np.where(np.arange(20) % 3, 1, -1)[:, None, None] ** np.array([0, 0, 1])[:, None]
    assert not pair_signs(mixed, there).any()
    sentences = unit(np.stack([2 * axes[0] - axes[1], 2 * axes[0] + axes[1]]))  # "it is there", "it is not"
    query = {"xray": np.stack([ill, well])}
    blind, seeing = (score("gram", query, "text", sentences, signs=one) for one in (None, signs))
    assert (blind[0, 0] > blind[0, 1], blind[1, 1] > blind[1, 0]) == (False, False)
    assert (seeing[0, 0] > seeing[0, 1], seeing[1, 1] > seeing[1, 0]) == (True, True)
    own = score("gram", {"xray": films}, "text", whole[:, 2], signs=signs)
    np.testing.assert_allclose(own, score("gram", {"xray": films}, "text", films), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_explained_orders_items_as_their_scores_do(method):
    for place in range(5):
        text = ROWS["text"][place]
        found = score(method, {"text": text[None]}, "xray", ROWS["xray"], missing=MISSING)[0]
        explained = [
            float(film @ towards(method, "xray", "text", text, own=film, missing=MISSING))
            for film in ROWS["xray"]
        ]
        assert np.argsort(found).tolist() == np.argsort(explained).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_a_case_is_nearest_to_itself_whatever_is_shown_of_it(method, make_space, demo_prepared, tmp_path):
    space = make_space(method)
    cases = load_cases(save_cases(space, demo_prepared, tmp_path / "cases", split="train"))
    whole = np.flatnonzero(cases.present.all(axis=1))
    assert len(whole) > 1
    for place in whole[:2]:
        for shown in (("xray",), ("ecg", "text"), MODALITIES):
            query = {name: cases.vectors[place, MODALITIES.index(name)][None] for name in shown}
            likes = space.likeness(query, cases.vectors, cases.present)[0]
            rivals = [k for k in whole if k != place]
            assert len(shown) < 3 or likes[place] > likes[rivals].max()
            best = cases.nearest(space, query, 3)
            assert best[0]["score"] == pytest.approx(likes.max())
            assert best[0]["modalities"] == "+".join(
                name for name, on in zip(MODALITIES, cases.present[np.argmax(likes)], strict=True) if on
            )


def test_two_modalities_ask_for_the_third(make_space, demo_prepared):
    space, rows = make_space("symile"), np.arange(len(demo_prepared))
    found = retrieval(
        space, demo_prepared, rows, embed(space, demo_prepared, rows), directions=FROM_TWO, samples=0
    )
    assert [one.name for one in found] == ["ecg+text_to_xray", "xray+text_to_ecg", "xray+ecg_to_text"]
    assert {one.n for one in found} == {int(demo_prepared.present.all(axis=1).sum())}


def test_phrase_maps_leave_out_what_every_film_has(make_space, demo_prepared, demo_root, monkeypatch):
    """A patch that always answers to every phrase hides the finding from plain cosines, and not from the map."""
    space, side = make_space(), 6
    rows = np.flatnonzero(demo_prepared.present[:, 0])
    loud, quiet = np.eye(8, dtype=np.float32)[:2]
    boxes = read_boxes(demo_root / TRUTH)
    studies = [name.split("-")[0].removeprefix("s") for name in demo_prepared.table["id"]]
    drawn = {
        int(row): [where for _, where in boxes.get(studies[row], {}).values()] for row in rows
    }  # a patch in the middle of each box says what the phrase says, and the corner says it always, and louder

    def patches(films):
        found = np.full((len(films), side, side, 8), 0.01, np.float32) * quiet
        found[:, 0, 0] += 5 * loud
        for number, film in enumerate(films):
            (row,) = (k for k in rows if np.array_equal(film, demo_prepared.film(int(k))))
            for top, left, bottom, right in (box for where in drawn[int(row)] for box in where):
                found[number, int((top + bottom) / 2 * side), int((left + right) / 2 * side)] += (
                    loud + 3 * quiet
                )
        return found

    monkeypatch.setattr(space, "patches", patches)
    monkeypatch.setattr(space, "embed_texts", lambda texts: np.tile(loud, (len(texts), 1)))
    space.towers.background = torch.from_numpy(average_patches(space, demo_prepared))
    one = [row for row in rows if len(drawn[int(row)]) == 1]
    found = point(space, demo_prepared, np.array(one), demo_root / TRUTH, sigma=0)
    assert found
    assert all(pointed.hit and not pointed.published for pointed in found)
