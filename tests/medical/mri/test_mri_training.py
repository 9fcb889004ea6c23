"""The three stages: what is trained and what stays, what a batch holds, weights that chain, equal seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import CheckpointError, ConfigError, DataError
from medical.mri.ablation import GD, GD_LR, GR, RANDOM, ablation_arms
from medical.mri.augment import deform, global_view, intensity, mixup
from medical.mri.dice import dice_ce_loss, dice_loss
from medical.mri.evaluate import score_volumes
from medical.mri.global_loss import gd, gd_minus, gd_official
from medical.mri.learn.batches import PartitionSampler, SliceSet, pretrain_batches
from medical.mri.learn.train import (
    finetune,
    fresh_unet,
    labelled_choice,
    mean_dice,
    pretrain_global,
    pretrain_local,
    self_train,
)
from medical.mri.local_loss import ld, lr
from medical.mri.model import (
    Architecture,
    build_unet,
    global_head,
    load_model,
    local_head,
    map_size,
    save_model,
)
from medical.mri.partition import partition_bounds, partition_index
from medical.mri.regions import region_table

QUIET = {"progress": False, "diagnostics": False}
BATCH = {"volumes": 2, "parts": 4}


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other, prefix=""):
    return all(torch.equal(value, other[name]) for name, value in one.items() if name.startswith(prefix))


def test_partitions_of_both_rules():
    for depth in range(4, 40):
        balanced = partition_index(np.arange(depth), depth, 4)
        np.testing.assert_array_equal(balanced, np.arange(depth) * 4 // depth)
        sizes = np.diff(partition_bounds(depth, 4))
        assert sizes.max() - sizes.min() <= 1
        official = partition_index(np.arange(depth), depth, 4, "official")
        assert (official == -1).sum() == depth % 4
    with pytest.raises(DataError, match="p7: slices: saw 3"):
        partition_bounds(3, 4, name="p7")
    with pytest.raises(ConfigError):
        partition_bounds(8, 4, "other")


def test_a_batch_holds_one_slice_of_each_partition_of_each_volume(prepared):
    members = prepared.volumes("train")
    sampler = PartitionSampler(prepared, members, volumes=3, parts=4, seed=1)
    slices = SliceSet(prepared, parts=4)
    drawn = set()
    for step in range(40):
        batch = slices.__getitems__(sampler.batch(step))
        assert batch["partition"].tolist() == [0, 1, 2, 3] * 3
        volumes = batch["volume"].reshape(3, 4)
        assert bool((volumes == volumes[:, :1]).all())
        assert len(set(volumes[:, 0].tolist())) == 3
        drawn |= set(sampler.batch(step))
    assert drawn == {n for v in members for n in range(*prepared.slices(v).indices(10**6))}
    with pytest.raises(DataError, match="at least 99"):
        PartitionSampler(prepared, members, volumes=99, parts=4)


def test_no_row_of_a_batch_is_blank_and_no_label_is_in_it(prepared):
    for views in ("global", "local"):
        batches = pretrain_batches(prepared, prepared.volumes("train"), views=views, **BATCH)
        batch = batches(0)
        assert set(batch) == {"views", "partition", "volume", "position"}
        assert batch["views"].shape[0] == (3 if views == "global" else 2)
        assert float(batch["views"].flatten(2).std(2).min()) > 0


def test_each_image_has_its_own_draw_of_brightness_contrast_and_crop():
    torch.manual_seed(0)
    images = torch.rand(1, 1, 16, 24).repeat(6, 1, 1, 1)
    for change in (intensity, global_view):
        changed = change(images)
        assert changed.shape == images.shape
        assert float(changed.min()) >= 0
        assert float(changed.max()) <= 1.5
        assert len(torch.unique(changed.flatten(1).mean(1))) == 6
    halves = intensity(images, brightness=0, clip=None)
    torch.testing.assert_close(halves.mean((1, 2, 3)), images.mean((1, 2, 3)))


def test_deformation_moves_masks_with_their_images():
    torch.manual_seed(1)
    label = torch.zeros(40, 16, 24, dtype=torch.int64)
    label[:, 4:12, 8:16] = 2
    image = label[:, None].float()
    moved, masks = deform(image, label)
    assert set(masks.unique().tolist()) <= {0, 2}
    inside = (moved[:, 0] > 1.9) | (moved[:, 0] < 0.1)
    assert bool((masks[inside].float() - moved[:, 0][inside]).abs().max() < 0.2)
    turned, _ = deform(image[:1], label[:1], sigma=0, turns=("none",))
    torch.testing.assert_close(turned, image[:1])


def test_slices_of_all_sizes_bend_alike():
    means = []
    for side in (24, 48):
        torch.manual_seed(3)
        ramp = torch.linspace(-1, 1, side).expand(2, 1, side, side).contiguous()
        label = torch.zeros(2, side, side, dtype=torch.int64)
        moved, _ = deform(ramp, label, turns=("none",))
        inside = slice(side // 4, -side // 4)
        means.append(float((moved - ramp)[1, 0, inside, inside].abs().mean()))
    assert means[0] == pytest.approx(means[1], rel=0.1)
    assert means[0] > 0.005


def test_rare_structures_weigh_more_in_the_cross_entropy():
    target = torch.zeros(1, 2, 5, dtype=torch.int64)
    target[0, 0, 0] = 1  # 9 pixels of background, 1 of the structure: weights 3 : 1 in all
    logits = torch.tensor([2.0, 0.0])[None, :, None, None].expand(1, 2, 2, 5)
    share = torch.tensor([2.0, 0.0]).softmax(0)
    entropy = -(3 * share[0].log() + share[1].log()) / 4
    overlap = 2 * share[1] / (10 * share[1] + 1)
    torch.testing.assert_close(dice_ce_loss(logits, target), entropy + 1 - overlap)


def test_a_right_angle_turns_a_slice_that_is_not_square_without_stretching(monkeypatch):
    label = torch.zeros(1, 24, 48, dtype=torch.int64)
    label[:, 8:16, 20:28] = 1
    monkeypatch.setattr(torch, "randint", lambda high, *rest, **_: torch.full((1,), 2 if high == 8 else 0))
    _, masks = deform(label[:, None].float(), label, sigma=0, turns=("eighths",))
    assert torch.equal(masks, label)


def test_mixup_keeps_probabilities():
    torch.manual_seed(0)
    shares = torch.rand(4, 3, 2, 2).softmax(1)
    _, mixed = mixup(torch.rand(4, 1, 2, 2), shares)
    torch.testing.assert_close(mixed.sum(1), torch.ones(4, 2, 2))


def test_permuting_volumes_changes_nothing():
    torch.manual_seed(0)
    views = [torch.randn(12, 8, dtype=torch.float64) for _ in range(3)]
    partition, volume = torch.arange(4).repeat(3), torch.arange(3).repeat_interleave(4)
    order = torch.tensor([2, 0, 1])[:, None] * 4 + torch.arange(4)
    order = order.flatten()
    moved = [view[order] for view in views]
    torch.testing.assert_close(gd_minus(*moved, partition), gd_minus(*views, partition))
    torch.testing.assert_close(gd(*moved, partition[order], volume[order]), gd(*views, partition, volume))
    assert not torch.equal(gd(*views, partition, volume), gd_minus(*views, partition))


def test_half_precision_at_a_low_temperature_stays_finite():
    torch.manual_seed(0)
    partition, volume = torch.arange(4).repeat(2), torch.arange(2).repeat_interleave(4)
    with torch.autocast("cpu", dtype=torch.float16):
        rows = [torch.randn(8, 8).half().requires_grad_() for _ in range(3)]
        maps = [torch.randn(8, 4, 16, 16).half().requires_grad_() for _ in range(2)]
        table = region_table(16, 16)
        losses = [
            gd(*rows, partition, volume, temperature=0.01),
            lr(*maps, table, temperature=0.01),
            ld(*maps, table, parts=4, temperature=0.01),
            dice_loss(maps[0], torch.zeros(8, 16, 16, dtype=torch.int64)),
            dice_ce_loss(maps[0], torch.zeros(8, 16, 16, dtype=torch.int64)),
        ]
    for loss in losses:
        assert loss.dtype == torch.float32
        loss.backward(retain_graph=True)
    assert all(torch.isfinite(x.grad).all() for x in [*rows, *maps])


@pytest.mark.parametrize("kind", ["gr", "gd-", "gd", "gd-official", "pcl"])
def test_global_pretraining_needs_no_mask_and_trains_the_encoder_only(unlabelled, architecture, kind):
    net = fresh_unet(architecture, 0)
    before = state(net)
    options = {"kind": kind, "steps": 2, **BATCH, **QUIET}
    result = pretrain_global(net, architecture, unlabelled, unlabelled.volumes("train"), **options)
    assert np.isfinite(result.history[-1]["loss"])
    assert not same(before, state(net), "encoder")
    assert same(before, state(net), "decoder")
    again = fresh_unet(architecture, 0)
    pretrain_global(again, architecture, unlabelled, unlabelled.volumes("train"), **options)
    assert same(state(net), state(again))


def test_the_base_temperature_of_pcl_scales_the_loss(unlabelled, architecture):
    losses = []
    for base in (None, 0.07):
        result = pretrain_global(
            fresh_unet(architecture, 0), architecture, unlabelled, unlabelled.volumes("train"),
            kind="pcl", steps=1, base_temperature=base, **BATCH, **QUIET,
        )  # fmt: skip
        losses.append(result.history[0]["loss"])
    assert losses[1] == pytest.approx(losses[0] * 0.1 / 0.07, rel=1e-5)
    with pytest.raises(DataError, match="two volumes"):
        gd_official(torch.eye(4), torch.eye(4), parts=4)


@pytest.mark.parametrize("kind", ["lr", "ld"])
def test_local_pretraining_leaves_every_bit_of_the_encoder(unlabelled, architecture, kind):
    net = fresh_unet(architecture, 0)
    before = state(net)
    pretrain_local(
        net, architecture, unlabelled, unlabelled.volumes("train"), kind=kind, steps=2, blocks=1,
        kernel=1, negatives="all", projection_dim=4, **BATCH, **QUIET,
    )  # fmt: skip
    after = state(net)
    assert same(before, after, "encoder")  # running statistics too
    assert same(before, after, "decoder.block2")
    assert same(before, after, "last")
    assert not torch.equal(before["decoder.block1.up.0.weight"], after["decoder.block1.up.0.weight"])
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_fine_tuning_pseudo_labels_and_mixup(prepared, architecture):
    chosen = labelled_choice(prepared, 1, 0)
    options = {"steps": 2, "batch_size": 4, "validate_every": 1, **QUIET}
    runs = []
    for _ in range(2):
        net = fresh_unet(architecture, 0)
        result = finetune(net, prepared, chosen, mixup_alpha=0.1, **options)
        assert result.best_step in (1, 2)
        runs.append(state(net))
    assert same(*runs)
    rest = [number for number in prepared.volumes("train") if number not in chosen]
    self_train(net, prepared, chosen, rest, loss="dice", **options)
    assert not same(runs[0], state(net))
    assert 0 <= mean_dice(net.eval(), prepared, prepared.volumes("test")) <= 1
    bare = [number for number in prepared.volumes("train") if not prepared.cases[number].label]
    with pytest.raises(DataError, match=prepared.cases[bare[0]].id):
        finetune(net, prepared, bare, **options)


def test_fewer_labelled_volumes_are_among_more(prepared):
    one, three = labelled_choice(prepared, 1, 5), labelled_choice(prepared, 3, 5)
    assert three[:1] == one
    assert len({prepared.cases[number].group for number in three}) == 3


def test_weights_chain_and_refuse_what_they_do_not_fit(architecture, tmp_path):
    net = fresh_unet(architecture, 3)
    save_model(net, architecture, tmp_path / "a", stage="global", spacing=2.5)
    again, found, config = load_model(tmp_path / "a", size=(16, 24), classes=4, stages=["global"])
    assert same(state(net), state(again))
    assert (found, config["spacing"]) == (architecture, 2.5)
    for wrong in ({"size": (32, 32)}, {"classes": 3}, {"stages": ["local"]}):
        with pytest.raises(CheckpointError):
            load_model(tmp_path / "a", **wrong)
    with pytest.raises(CheckpointError, match="dvc repro"):
        load_model(tmp_path / "nothing")
    content = bytearray((tmp_path / "a" / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "a" / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_model(tmp_path / "a")


def test_the_published_network_has_the_published_sizes():
    published = Architecture((192, 192), 4)
    with torch.device("meta"):
        assert global_head(published)[-1].in_dim == 4608
        assert build_unet(published)(torch.empty(1, 1, 192, 192)).shape == (1, 4, 192, 192)
        assert [local_head(published, blocks).dim for blocks in range(1, 6)] == [128, 128, 64, 32, 16]
    assert [map_size(published, blocks)[0] for blocks in range(1, 6)] == [12, 24, 48, 96, 192]
    assert Architecture((160, 160), 8, head="mean").head == "mean"
    with pytest.raises(ConfigError, match="multiples of 32"):
        Architecture((100, 100), 4)


@pytest.mark.slow
def test_the_arms_of_the_evidence_go_on_from_their_checkpoints(prepared, architecture, tmp_path, capsys):
    pretraining = {"steps": 2, **BATCH}
    arms = (
        ablation_arms(
            prepared,
            architecture,
            labelled=[1],
            global_loss=pretraining,
            local_loss={**pretraining, "blocks": 1},
            finetuning={"steps": 2, "batch_size": 4},
            mixup_alpha=0.1,
            checkpoints=tmp_path,
            monai=False,
        )
        for _ in range(2)
    )
    first, second = ({name: arm(0) for name, arm in made.items()} for made in arms)
    assert first == second
    assert capsys.readouterr().err.count("goes on from step 2 of 2") == 3  # GD, LR and GR
    starts = [first[name]["dice_1"] for name in (GD_LR, GD, GR, RANDOM)]
    assert len(set(starts)) == 4


@pytest.mark.slow
def test_a_metric_of_the_evidence_is_the_mean_over_draws_of_labelled_volumes(
    prepared, architecture, monkeypatch
):
    chosen = []

    def noted(net, prepared, labelled, **settings):
        chosen.append((tuple(labelled), settings["seed"]))
        return finetune(net, prepared, labelled, **settings)

    monkeypatch.setattr("medical.mri.ablation.finetune", noted)
    settings = {"steps": 2, "batch_size": 4}

    def dice(draws: int) -> float:
        arms = ablation_arms(
            prepared, architecture, labelled=[1], global_loss={}, local_loss={}, finetuning=settings,
            draws=draws, monai=False,
        )  # fmt: skip
        return arms[RANDOM](0)["dice_1"]

    one, three = dice(1), dice(3)
    assert len(chosen) == 4
    assert chosen[0] == chosen[1]
    assert len({seed for _, seed in chosen}) == 3

    def alone(labelled, seed):
        net = fresh_unet(architecture, 0)
        finetune(net, prepared, labelled, seed=seed, **settings, progress=False, diagnostics=False)
        scores = score_volumes(net.eval(), prepared, prepared.volumes("test", labelled=True), distances=False)
        return np.nanmean([found.mean_dice for found in scores])

    assert one == pytest.approx(alone(*chosen[0]))
    assert three == pytest.approx(np.mean([alone(*each) for each in chosen[1:]]))
