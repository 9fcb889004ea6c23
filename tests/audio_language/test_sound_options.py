"""CWCL against a locked text tower, and scores of recordings longer than a window."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from audio_language.locked import LockedTraining, locked_loss
from audio_language.long_audio import LongAudioScorer, positions
from audio_language.options import locked_accuracy
from core.errors import ConfigError, DataError
from core.objectives.cwcl import cwcl


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_locked_loss_is_cwcl_and_sharpness_one_is_the_paper():
    audio, text = unit(6, 8), unit(6, 8, seed=1)
    assert float(locked_loss(audio, text, "cwcl", scale=5.0)) == pytest.approx(
        float(cwcl(text, audio, scale=5.0))
    )
    near = locked_loss(audio, text, "cwcl", sharpness=1.0 + 1e-9, scale=5.0)
    assert float(near) == pytest.approx(float(cwcl(text, audio, scale=5.0)), rel=1e-5)


def test_equal_captions_pull_with_cwcl_and_push_without():
    text = unit(4, 8)
    text = torch.stack([text[0], text[0], text[1], text[2]])
    audio = text.clone()
    audio.requires_grad_()
    for objective, pulls in (("cwcl", True), ("clip", False)):
        (grad,) = torch.autograd.grad(locked_loss(audio, text, objective, sharpness=20.0, scale=5.0), audio)
        toward = -(grad[0] @ text[1])  # clip 0 and the equal caption of clip 1
        other = -(grad[2] @ text[0])
        assert (toward > other) or not pulls


def test_only_the_audio_side_is_trained(untrained):
    net = copy.deepcopy(untrained.net)
    module = LockedTraining(net)
    on = {name for name, p in module.named_parameters() if p.requires_grad}
    assert on
    assert not any("text" in name or "logit" in name for name in on)
    with pytest.raises(ConfigError, match="cwcl or clip"):
        LockedTraining(net, objective="siglip")


def test_a_locked_training_runs_and_is_scored(untrained, store):
    value = locked_accuracy(untrained, store, "cwcl", steps=2, batch_size=8, threads=1, progress=False)
    assert 0 <= value <= 1


def test_padding_changes_nothing_and_order_something_once_it_is_learned():
    scorer = LongAudioScorer(8, inner=4)
    clips, texts = unit(3, 5, 8), unit(2, 8, seed=1)
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 5])
    with torch.no_grad():
        scores = scorer(clips, texts, valid)
        spoiled = clips.clone()
        spoiled[1, 3:] = float("nan")
        torch.testing.assert_close(scorer(spoiled, texts, valid), scores)
        torch.testing.assert_close(scorer(clips[1:2, :3], texts), scores[1:2])
        scorer.place.weight.normal_(std=0.5)
        assert float((scorer(clips, texts) - scorer(clips.flip(1), texts)).abs().max()) > 1e-3
    assert np.allclose(positions(7, 8).norm(dim=1), 1, atol=1e-5)


def test_the_long_loss_is_the_symmetric_cross_entropy_of_its_scores():
    scorer = LongAudioScorer(8)
    clips, texts = unit(4, 3, 8), unit(4, 8, seed=2)
    scores = scorer(clips, texts) / 0.07
    target = torch.arange(4)
    expected = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
    loss = scorer.loss(clips, texts)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in scorer.parameters())
    with pytest.raises(DataError, match="a text for each"):
        scorer.loss(clips, texts[:2])
    with pytest.raises(DataError, match="at least one valid"):
        scorer(clips, texts, torch.zeros(4, 3, dtype=torch.bool))
