"""Trainings: what falls, what is kept frozen, what a second run repeats to the bit, what the probes see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import CheckpointError, ConfigError
from core.learning.determinism import seed_everything
from core.learning.fit import fit
from earth_observation.ablation import ARMS, STARTED, Comparison, comparisons
from earth_observation.augment import Augment, gaussian_blur
from earth_observation.bands import SENSORS
from earth_observation.evaluate import embed, linear_probes, neighbour_probe
from earth_observation.learn.heads import adapt, few_labels, segmentation_loss
from earth_observation.learn.pretrain import SoftCon, pretrain
from earth_observation.learn.views import TwoViews, changed_cover, date_pairs
from earth_observation.linear import fit_linear, linear_scores
from earth_observation.model import build_encoder, load_model, start_from
from earth_observation.prepared import starting_model
from earth_observation.softcon import soft_loss, softcon_loss

VIT = {"backbone": "vit", "patch": 8, "dim": 48, "depth": 2, "heads": 2}
RESNET = {"backbone": "resnet", "widths": [8, 8, 8, 16], "blocks": [1, 1, 1, 1]}
SETTINGS = {
    "batch_size": 12,
    "crop": 24,
    "hidden": 32,
    "projection": 16,
    "learning_rate": 2e-3,
    "progress": False,
}


def encoder_of(store, architecture, product="s2", seed=0):
    seed_everything(seed)
    return build_encoder(len(store.sensors[product].bands), architecture, size=24)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        (VIT, {"mask_mode": "drop", "weight": 1.0}),
        (VIT, {"mask_mode": "token", "form": "softmax", "weight": 0.1}),
        (RESNET, {"form": "mse", "weight": 1.0}),
    ],
)
def test_the_loss_of_given_views_falls_by_more_than_a_twentieth(store, architecture, options):
    """The smoke preset: a tiny network, few images, 20 steps on the same views."""
    encoder = encoder_of(store, architecture)
    torch.manual_seed(0)
    batch = TwoViews(store, "s2", Augment(24)).__getitems__(range(12))
    heads = {"hidden": 32, "projection": 16, "mask_ratio": 0.25, "momentum": 0.9}
    module = SoftCon(encoder, steps=20, learning_rate=5e-3, schedule="constant", **heads, **options)
    result = fit(module, lambda step: batch, steps=20, log_every=5, progress=False, seed=1)
    assert result.history[-1]["loss"] < 0.95 * result.history[0]["loss"]


def test_radar_and_the_baselines_train_too(store):
    for objective in ("moco", "supervised"):
        result = pretrain(
            encoder_of(store, VIT, "s1"), store, product="s1", steps=3, objective=objective, **SETTINGS
        )
        assert ("soft" in result.history[0]) is False
        assert np.isfinite(result.history[-1]["loss"])
    with pytest.raises(ConfigError, match="objective"):
        pretrain(encoder_of(store, VIT), store, product="s2", steps=1, objective="dino", **SETTINGS)


def test_equal_seeds_give_equal_weights_and_a_killed_run_goes_on_to_the_same(store, tmp_path):
    class Killed(Exception):
        pass

    def stop(record):
        if record["step"] >= 4:
            raise Killed

    weights = []
    for kill in (False, False, True):
        encoder = encoder_of(store, VIT)
        options = {"product": "s2", "steps": 6, "seed": 3, "log_every": 1, **SETTINGS}
        if kill:
            kept = {"checkpoint_dir": tmp_path, "every_n_steps": 2}
            with pytest.raises(Killed):
                pretrain(encoder, store, logger=stop, **options, **kept)
            encoder = encoder_of(store, VIT)
            result = pretrain(encoder, store, **options, **kept)
            assert result.resumed_from_step in (2, 4)
        else:
            pretrain(encoder, store, **options)
        weights.append(torch.cat([p.detach().flatten() for p in encoder.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


def test_views_come_from_dates_of_the_same_ground_with_their_own_labels(store):
    data = TwoViews(store, "s2", Augment(16))
    for dates in data.dates:
        assert len({store.chips[k]["spot"] for k in dates}) == 1
        assert {store.chips[k]["split"] for k in dates} == {"train"}
    torch.manual_seed(0)
    batch = data.__getitems__([0, 1, 2])
    assert batch["view1"].shape == (3, 13, 16, 16)
    assert float(batch["view1"].min()) >= 0
    assert float(batch["view1"].max()) <= 1
    options = [store.soft[k].tolist() for k in data.dates[0]]
    assert batch["labels1"][0].tolist() in options
    assert batch["labels2"][0].tolist() in options


def test_radar_is_not_made_grey_or_brighter():
    x = torch.stack([torch.full((16, 16), 50), torch.full((16, 16), 200)])[None].repeat(8, 1, 1, 1).byte()
    torch.manual_seed(1)
    seen = Augment(8, radar=True)(x)
    np.testing.assert_allclose(seen[:, 0], 50 / 255, atol=1e-6)
    np.testing.assert_allclose(seen[:, 1], 200 / 255, atol=1e-6)
    bright = Augment(8)(torch.full((32, 13, 16, 16), 250, dtype=torch.uint8))
    assert float(bright.max()) <= 1  # clipped, never wrapped


def test_blur_is_that_of_a_slow_one():
    from scipy.ndimage import gaussian_filter

    x = torch.rand(2, 3, 20, 20)
    sigma = torch.tensor([0.6, 1.5])
    found = gaussian_blur(x, sigma, radius=6)
    for image, s, ours in zip(x, sigma, found):
        slow = np.stack([gaussian_filter(band.numpy(), float(s), mode="mirror", radius=6) for band in image])
        np.testing.assert_allclose(ours, slow, atol=1e-5)


def test_properties_of_the_soft_term():
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(6, 8, generator=generator) for _ in range(2))
    y = (torch.rand(6, 4, generator=generator) < 0.5).float()
    y[2] = 0
    for form in ("sigmoid", "softmax", "mse"):
        loss = soft_loss(q, k, y, form=form)
        order = torch.randperm(6, generator=generator)
        torch.testing.assert_close(soft_loss(q[order], k[order], y[order], form=form), loss)
        changed = q.clone()
        changed[2] = 99  # a row without labels counts nowhere
        torch.testing.assert_close(soft_loss(changed, k, y, form=form), loss)
        assert float(soft_loss(q, k, 0 * y, form=form)) == 0
        assert torch.isfinite(soft_loss(q.half() * 100, k.half(), y, form=form, temperature=0.01)).all()
    both = softcon_loss((q, q), (k, k), (0 * y, 0 * y), weight=5.0)
    torch.testing.assert_close(both["loss"], both["hard"])
    # the minimum of the sigmoid form is where sigma(l) is the overlap itself
    angle = torch.tensor(0.3, requires_grad=True)
    for _ in range(200):
        x = torch.stack([torch.cos(angle), torch.sin(angle)])[None]
        loss = soft_loss(
            x, torch.tensor([[1.0, 0]]), torch.tensor([[1.0, 1]]), torch.tensor([[1.0, 0]]), temperature=0.5
        )
        (slope,) = torch.autograd.grad(loss, angle)
        angle = (angle - 0.5 * slope).detach().requires_grad_()
    assert torch.sigmoid(torch.cos(angle) / 0.5).item() == pytest.approx(2**-0.5, abs=1e-3)


def test_a_local_checkpoint_of_three_bands_continues_with_thirteen(tmp_path):
    colour = build_encoder(3, VIT, size=24)
    save_file(
        {f"backbone.{name}": value for name, value in colour.state_dict().items()},
        tmp_path / "rgb.safetensors",
    )
    for init in ("random", "inflate", "copy"):
        encoder = build_encoder(13, VIT, size=24)
        before = encoder.patch_embed.proj.weight.detach().clone()
        report = start_from(encoder, str(tmp_path / "rgb.safetensors"), SENSORS["s2_l1c"], init)
        assert torch.equal(encoder.blocks[0].attn.qkv.weight, colour.blocks[0].attn.qkv.weight)
        assert torch.equal(encoder.patch_embed.proj.weight, before) is (init == "random")
        assert not report.unexpected
        if init == "copy":
            torch.testing.assert_close(
                encoder.patch_embed.proj.weight[:, 3], colour.patch_embed.proj.weight[:, 0] * 3 / 13
            )
    with pytest.raises(CheckpointError):
        start_from(
            build_encoder(13, RESNET, size=24), str(tmp_path / "rgb.safetensors"), SENSORS["s2_l1c"], "random"
        )


def test_linear_head_is_that_of_scikit_learn(store):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (60, 5))
    y = (x @ rng.normal(size=(5, 2)) + rng.normal(size=(60, 2)) > 0).astype(int)
    y = np.column_stack([y, np.ones(60, dtype=int)])
    scores = linear_scores(x, *fit_linear(x, y, regularisation=2.0, most=1000))
    z = (x - x.mean(0)) / x.std(0)
    for column in (0, 1):
        other = (
            LogisticRegression(C=1 / 2.0, max_iter=5000, tol=1e-9).fit(z, y[:, column]).predict_proba(z)[:, 1]
        )
        np.testing.assert_allclose(scores[:, column], other, atol=1e-3)
    assert (scores[:, 2] > 0.98).all()


def test_few_labels_are_nested_without_repeats_and_of_the_training_split(store):
    train = store.indices("train")
    small, large = few_labels(store, train, 0.1, 4), few_labels(store, train, 0.5, 4)
    assert set(small) < set(large) <= set(train)
    assert len(set(large)) == len(large)


def test_heads_train_on_a_frozen_encoder_and_travel_in_the_folder(store, tmp_path):
    model = starting_model(store, product="s2", architecture=RESNET, crop=24, seed=0, width=8).eval()
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    histories = adapt(
        model, store, "s2", labelled=0.5, regularisation=1.0, map_steps=12, change_steps=6, finetune_steps=0,
        batch_size=8, learning_rate=1e-2, progress=False, log_every=3,
    )  # fmt: skip
    assert histories["land cover"][-1]["loss"] < histories["land cover"][0]["loss"]
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.heads == model.heads
    x = torch.rand(1, 13, 24, 24)
    torch.testing.assert_close(again.map(x), model.eval().map(x))
    (tmp_path / "m" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="format"):
        load_model(tmp_path / "m")


def test_pairs_of_dates_and_their_change(store):
    pairs = date_pairs(store, store.indices("train"))
    assert all(store.chips[a]["spot"] == store.chips[b]["spot"] for a, b in pairs)
    assert all(store.chips[a]["season"] < store.chips[b]["season"] for a, b in pairs)
    changed = changed_cover(store, pairs)
    assert set(np.unique(changed)) <= {0, 1, 255}
    assert (changed == 1).any()


def test_segmentation_loss_ignores_what_is_unknown():
    logits = torch.randn(1, 3, 4, 4)
    cover = torch.randint(0, 3, (1, 4, 4))
    cover[0, 0] = 255
    loss = segmentation_loss(logits, cover)
    logits[:, :, 0] = 50
    torch.testing.assert_close(segmentation_loss(logits, cover), loss)


def test_probes_of_a_perfect_embedding_are_near_one(store):
    table = torch.from_numpy(store.classes.astype(np.float32))
    test, train = store.indices("test", "s2"), store.indices("train", "s2")
    found = embed(lambda x: x.mean((2, 3)), store, "s2")
    perfect = type(found)(found.train, found.test, table[train].numpy(), table[test].numpy())
    best, plain = (linear_probes(one, store, [1.0], seed=0)[1.0].value for one in (perfect, found))
    assert best > plain + 0.3
    low = neighbour_probe(perfect, store, neighbours=3, bootstrap=50)
    assert low.low <= low.value <= low.high


@pytest.mark.parametrize(("start", "words"), [("nowhere.safetensors", "nowhere"), (None, "model.product")])
def test_mistakes_are_named(store, start, words):
    with pytest.raises(Exception, match=words):
        starting_model(
            store, product="s2" if start else "s3", architecture=VIT, crop=24, seed=0, start=start, width=8
        )


def test_the_comparison_leaves_out_what_would_read_the_answers(store, monkeypatch):
    options = {"architectures": {"resnet": RESNET, "vit": VIT}, "product": "s2", "shares": [0.5, 1.0],
               "draws": 2, "start_steps": 1, "settings": {"crop": 24, "steps": 0}}  # fmt: skip
    assert set(Comparison(lambda seed: store, lambda: store, backbone="vit", **options).arms(0)) == set(ARMS)
    radar = Comparison(
        lambda seed: store, lambda: store, backbone="vit", **{**options, "product": "s1"}
    ).arms(0)
    assert set(radar) == set(ARMS) - {STARTED}  # radar has no red, green and blue to start from
    assert not any(STARTED in pair for pair in comparisons(list(radar)))
    comparison = Comparison(lambda seed: store, lambda: store, backbone="resnet", **options)
    assert set(comparison.arms(0)) == {arm for arm in ARMS if "ResNet" not in arm}
    found = comparison.arms(0)["raw pixels"](0)
    assert set(found) == {"map_0.5", "map_1"}
    assert found == comparison.arms(0)["raw pixels"](0)
    monkeypatch.setattr(store, "soft", store.classes)
    assert set(comparison.arms(0)) == {
        "raw pixels",
        "random init",
        "MoCo hard",
        "S1 random init",
        "S1 MoCo hard",
    }
