"""Hyper-pixel contrast and the fusion of colour and terrain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.learning.determinism import seed_everything
from core.learning.fit import fit
from earth_observation.hpcl import choose_anchors, hpcl_loss, hyper_pixels
from earth_observation.landslide import (
    KeyQueue,
    TwoSourceNet,
    draw_landslides,
    landslide_batch,
    score_landslides,
)
from earth_observation.learn.landslide import HyperPixelTraining
from earth_observation.metrics import object_scores
from earth_observation.terrain import terrain_features

SMALL = {"widths": (8, 8, 8, 8), "width": 16}


def test_anchors_are_balanced_and_hard_background_lies_at_the_boundary():
    mask = torch.zeros(1, 64, 64, dtype=torch.int64)
    mask[0, 10:30, 10:30] = 1
    cells = hyper_pixels(mask, 8)
    labels = cells.label.flatten()
    chosen = choose_anchors(cells, 4, generator=torch.Generator().manual_seed(0))
    assert (labels[chosen] == 1).sum() == 4
    assert (labels[chosen] == 0).sum() == 4
    bare = hyper_pixels(mask * 0, 8)
    assert bare.label.flatten()[choose_anchors(bare, 4)].tolist() == [0]
    everything = hyper_pixels(torch.full((1, 16, 16), 255), 8)
    assert (everything.label == -1).all()
    assert len(choose_anchors(everything, 4)) == 0


def test_the_loss_vanishes_where_classes_are_opposite_and_is_defined_without_anchors():
    a = torch.nn.functional.normalize(torch.randn(5, 8), dim=1)
    same = a[:1].expand(6, -1)
    assert hpcl_loss(a[:1], torch.tensor([1]), same, -same, temperature=0.01).item() < 1e-6
    assert hpcl_loss(a, torch.full((5,), -1), same, same).item() == 0
    assert hpcl_loss(a, torch.ones(5), same[:0], same).item() == 0
    anchors = a.clone().requires_grad_()
    hpcl_loss(anchors, torch.tensor([1, 0, 1, 0, -1]), a, -a).backward()
    assert torch.isfinite(anchors.grad).all()
    assert (anchors.grad[4] == 0).all()


def test_queue_is_first_in_first_out():
    queue = KeyQueue(1, 4)
    assert len(queue.keys()) == 0
    for value in range(6):
        queue.put(torch.tensor([[float(value)]]))
    assert queue.keys().flatten().tolist() == [2, 3, 4, 5]
    queue.put(torch.arange(10.0)[:, None])
    assert queue.keys().flatten().tolist() == [6, 7, 8, 9]


def test_without_heights_the_answer_is_that_of_colour_alone():
    seed_everything(0)
    net = TwoSourceNet(**SMALL).eval()
    picture = torch.rand(2, 3, 16, 16)
    unknown = torch.zeros(2, 16, 16, dtype=torch.bool)
    one, other = (net(picture, scale * torch.randn(2, 4, 16, 16), unknown) for scale in (1, 100))
    torch.testing.assert_close(one, other)
    known = net(picture, torch.randn(2, 4, 16, 16), ~unknown)
    assert not torch.allclose(known, one)


def test_terrain_does_not_know_the_height_above_the_sea():
    dem = np.random.default_rng(0).normal(size=(24, 24)).cumsum(0).cumsum(1)
    dem[3, 4] = np.nan
    one, known = terrain_features(dem, (10.0, 10.0))
    other, _ = terrain_features(dem + 2000, (10.0, 10.0))
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert not known[3, 4]
    assert (one[:, 3, 4] == 0).all()
    assert np.isfinite(one).all()
    nothing, known = terrain_features(np.full((4, 4), np.nan), (10.0, 10.0))
    assert not known.any()
    assert (nothing == 0).all()


def test_it_trains_and_finds_scars():
    seed_everything(0)
    tiles = draw_landslides(24, 32, seed=1)
    net = TwoSourceNet(**SMALL)
    module = HyperPixelTraining(
        net, queue=256, least=16, anchors=16, dim=16, learning_rate=5e-3, momentum=0.9, schedule="constant"
    )
    result = fit(
        module, lambda step: landslide_batch(tiles, [(8 * step + k) % 24 for k in range(8)]), steps=25, progress=False,
        log_every=5, diagnostics=False,
    )  # fmt: skip
    assert result.history[-1]["segmentation"] < 0.9 * result.history[0]["segmentation"]
    assert result.history[-1]["hpcl"] > 0
    assert all(len(queue.keys()) > 16 for queue in module.queues)
    scores = score_landslides(net, draw_landslides(8, 32, seed=2))
    assert scores["iou"][1] > 0.1
    assert scores["f1"][1] == pytest.approx(2 * scores["iou"][1] / (1 + scores["iou"][1]))


def test_objects_are_counted_by_overlap():
    truth = np.zeros((10, 10), dtype=int)
    truth[1:4, 1:4], truth[6:9, 6:9] = 1, 1
    found = np.zeros_like(truth)
    found[1:4, 1:3], found[6, 6], found[0, 9] = 1, 1, 1
    assert object_scores(truth, found) == {"hits": 1, "misses": 1, "false": 1}
