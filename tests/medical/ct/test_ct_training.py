"""Views, the three pretrainings, fine-tuning, scores, the encoder's folder, and the arms of the evidence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import CheckpointError, ConfigError, DataError
from medical.ct.ablation import COMPARISONS, FULL, Comparison, ablation_arms
from medical.ct.augment import Crops, Strength, to_input, views
from medical.ct.evaluate import classification, is_labelled
from medical.ct.learn.train import METHODS, class_scores, finetune, pretrain, steps_of
from medical.ct.model import load_encoder, new_encoder
from medical.ct.select import Slices

SIZES = {"blocks": [1, 1, 1, 1], "widths": [4, 4, 4, 8]}


def encoder(seed=0):
    return new_encoder(encoder="resnet18", window="chest", size=32, seed=seed, **SIZES)


@pytest.fixture(scope="module")
def images():
    """40 slices of 4 volumes; odd volumes have a bright corner."""
    rng = np.random.default_rng(0)
    found = rng.integers(0, 120, (40, 32, 32)).astype(np.uint8)
    found[10:20, :12, :12] = found[30:, :12, :12] = 250
    return found


VOLUMES = np.arange(40) // 10
LABELS = VOLUMES % 2


def test_views_have_the_asked_sizes_and_follow_the_generator(images):
    batch = torch.from_numpy(images[:6])
    kinds = [Crops(2, 32, 0.4, 1.0), Crops(3, 16, 0.1, 0.3)]
    torch.manual_seed(1)
    found = views(batch, kinds, Strength())
    torch.manual_seed(1)
    again = views(batch, kinds, Strength())
    assert [tuple(view.shape) for view in found] == [(6, 1, 32, 32)] * 2 + [(6, 1, 16, 16)] * 3
    assert all(torch.equal(a, b) for a, b in zip(found, again))
    assert all(view.min() >= -2 and view.max() <= 2 for view in found)
    untouched = views(batch, [Crops(1, 32, 1.0, 1.0)], Strength(0, 0, 0, 0, mirror=False))
    assert (untouched[0] - to_input(batch)).abs().median() < 0.2
    with pytest.raises(ConfigError, match="crops"):
        Crops(2, 32, 0.5, 1.5)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_and_is_the_same_twice(images, method):
    def weights():
        one = encoder()
        before = [p.clone() for p in one.module.parameters()]
        result = pretrain(
            one, images, VOLUMES, method=method, steps=4, batch_size=16, dim=8, hidden=8, queue_size=32,
            prototypes=6, freeze_prototypes=2, small_crops=1, spare_volume=True, progress=False,
        )  # fmt: skip
        assert np.isfinite(result.history[-1]["loss"])
        assert any(not torch.equal(a, b) for a, b in zip(before, one.module.parameters()))
        return torch.cat([p.flatten() for p in one.module.parameters()])

    assert torch.equal(weights(), weights())


def test_wrong_pretraining_is_refused_by_name(images):
    with pytest.raises(ConfigError, match=r"pretrain\.method"):
        pretrain(encoder(), images, VOLUMES, method="byol", steps=1, batch_size=4)
    with pytest.raises(DataError, match="pretrain on"):
        pretrain(encoder(), images[:1], [0], method="simclr", steps=1, batch_size=4)
    assert steps_of(10, 64, 3) == 3


def test_fine_tuning_learns_what_the_labels_say(images):
    one = encoder()
    module = finetune(one, images, LABELS, steps=60, batch_size=20, learning_rate=0.01, progress=False)
    found = classification(LABELS, class_scores(module, images), VOLUMES, samples=50)
    assert found["auc"].value > 0.9
    assert found["auc"].low <= found["auc"].value <= found["auc"].high
    with pytest.raises(DataError, match="fine-tune"):
        finetune(one, images, np.zeros(40, int), steps=1)


def test_scores_of_one_class_are_refused():
    with pytest.raises(DataError, match="two classes"):
        classification([1, 1], [[0.5, 0.5], [0.2, 0.8]])
    assert not is_labelled([0, 1, 2, 0], ["train", "train", "test", "test"])


def test_a_saved_encoder_embeds_the_same_and_a_damaged_one_is_refused(images, tmp_path):
    one = encoder()
    one.save(tmp_path / "model")
    np.testing.assert_array_equal(load_encoder(tmp_path / "model").embed(images), one.embed(images))
    file = tmp_path / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_encoder(tmp_path / "model")


def test_the_arms_differ_in_slices_and_steps_alone(images):
    codes = np.repeat(np.random.default_rng(0).integers(0, 256, (20, 8), dtype=np.uint8), 2, axis=0)
    slices = Slices(VOLUMES.astype(str), np.tile(np.arange(10.0), 4), codes)
    problem = Comparison(images, slices, LABELS, VOLUMES < 2)
    settings = {"method": "simclr", "batch_size": 5, "dim": 4, "hidden": 4}
    arms = ablation_arms(problem, encoder, threshold=0, epochs=1, settings=settings, progress=False)
    found = {name: run(0) for name, run in arms.items()}
    assert {name: (run["slices"], run["steps"]) for name, run in found.items()} == {
        FULL: (20, 4), "untrained": (0, 0),
        "hash, equal epochs": (10, 2), "random, equal epochs": (10, 2), "every n mm, equal epochs": (10, 2),
        "hash, equal steps": (10, 4), "random, equal steps": (10, 4), "every n mm, equal steps": (10, 4),
    }  # fmt: skip
    assert all(0 <= run["auc"] <= 1 for run in found.values())
    assert {name for pair in COMPARISONS for name in pair} == set(arms)
