"""Hyper-pixel contrast and the fusion of colour and terrain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from eo_rasters import write_raster

from core.errors import ConfigError, DataError
from core.learning.determinism import seed_everything
from core.learning.fit import fit
from core.tracking.model_folder import write_model
from earth_observation.cli import landslides
from earth_observation.data.opened import RasterError
from earth_observation.hpcl import choose_anchors, hpcl_loss, hyper_pixels
from earth_observation.landslide.compare import ARMS, OUT
from earth_observation.landslide.compare import main as compare
from earth_observation.landslide.demo import draw_landslides, write_landslides
from earth_observation.landslide.ground import cut_ground, default_files, landslide_batch, read_ground
from earth_observation.landslide.net import KeyQueue, TwoSourceNet
from earth_observation.landslide.recipe import FORMAT, WIDTHS, learn_and_map
from earth_observation.landslide.score import score_landslides
from earth_observation.learn.landslide import HyperPixelTraining
from earth_observation.metrics import object_scores
from earth_observation.terrain import check_offset, terrain_features

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(3)
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


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def ground_files(tmp_path_factory):
    """Picture, elevation and scars of a small generated ground."""
    return default_files(write_landslides(tmp_path_factory.mktemp("ground") / "g", side=160, scars=12))


@pytest.mark.slow
def test_the_recipe_goes_from_files_to_metrics_and_maps(ground_files, tmp_path):
    picture, dem, scars = ground_files
    landslides(picture, dem, labels=scars, out=tmp_path / "a", tile=16, steps=3, threads=1)
    report = json.loads((tmp_path / "a" / "metrics.json").read_text())
    found = report["metrics"]
    assert {"landslide_iou", "landslide_f1", "miou", "accuracy", "objects_hits", "objects_false"} <= set(
        found
    )
    assert report["tiles"]["train"] > 3 * report["tiles"]["test"] > 0
    landslides(picture, dem, model=tmp_path / "a" / "model", out=tmp_path / "b", threads=1)
    with rasterio.open(picture) as source:
        for file in ("landslide_mask.tif", "landslide_probability.tif"):
            with rasterio.open(tmp_path / "a" / file) as one, rasterio.open(tmp_path / "b" / file) as two:
                assert (one.crs, one.transform, one.shape) == (source.crs, source.transform, source.shape)
                np.testing.assert_array_equal(one.read(), two.read())
    traced = json.loads((tmp_path / "b" / "landslides.geojson").read_text())
    with rasterio.open(tmp_path / "b" / "landslide_mask.tif") as mask:
        area = float((mask.read(1) == 1).sum() * 25)
    assert sum(one["properties"]["area_m2"] for one in traced["features"]) == pytest.approx(area)
    with pytest.raises(ConfigError, match="--labels"):
        landslides(picture, dem, out=tmp_path / "c")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(tmp_path):
    """The folder `out/model` of an untrained net, with a map beside it as `kindred landslides` leaves it."""
    (tmp_path / "out" / "model").mkdir(parents=True)
    net = TwoSourceNet(widths=WIDTHS, width=16)
    write_model(
        tmp_path / "out" / "model", FORMAT, net.state_dict(), width=16, tile=16, white=255.0, metres=5.0
    )
    (tmp_path / "out" / "landslides.png").write_bytes(b"an old map")
    return tmp_path / "out" / "model"


def test_mapping_never_deletes_the_model_or_what_is_not_its_own(ground_files, model, tmp_path):
    picture, dem, _ = ground_files
    out = model.parent
    before = contents(out)
    for wrong in (out, model, tmp_path, out / ".." / "out"):
        with pytest.raises(ConfigError, match="would be replaced"):
            landslides(picture, dem, model=model, out=wrong, threads=1)
    own = tmp_path / "own"
    (own / "maps").mkdir(parents=True)
    (own / "maps" / "field notes.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="field notes"):
        landslides(picture, dem, model=model, out=own, threads=1)
    with pytest.raises(ConfigError, match="a file"):
        landslides(picture, dem, model=model, out=own / "maps" / "field notes.txt", threads=1)
    assert (own / "maps" / "field notes.txt").read_text() == "years of work"
    assert contents(out) == before
    for _ in range(2):  # its own maps are replaced, with what QGIS put beside them
        landslides(picture, dem, model=model, out=tmp_path / "maps", threads=1)
        (tmp_path / "maps" / "landslide_mask.tif.aux.xml").write_text("<PAMDataset/>")
    assert (tmp_path / "maps" / "landslide_mask.tif").is_file()


def test_training_never_deletes_its_inputs(ground_files, tmp_path):
    folder = tmp_path / "landslides"
    folder.mkdir()
    files = [Path(shutil.copy(file, folder)) for file in ground_files]
    before = contents(folder)
    with pytest.raises(ConfigError, match=r"picture\.tif"):
        landslides(files[0], files[1], labels=files[2], out=folder, tile=16, steps=1, threads=1)
    with pytest.raises(ConfigError, match=r"picture\.tif"):
        learn_and_map(read_ground(*files), folder, tile=16, steps=1)
    assert contents(folder) == before


def test_polygons_teach_as_the_raster_does(ground_files, tmp_path):
    """Outlines of the raster, in the picture's metres (named) and in degrees, burn to the raster itself."""
    from rasterio.features import shapes
    from rasterio.warp import transform_geom

    picture, dem, scars = ground_files
    with rasterio.open(scars) as source:
        crs, mask = source.crs, source.read(1)
        outlines = [one for one, value in shapes(mask, transform=source.transform) if value == 1]
    degrees = [transform_geom(crs, "EPSG:4326", one) for one in outlines]
    features = [{"type": "Feature", "properties": {}, "geometry": one} for one in outlines]
    named = {"type": "name", "properties": {"name": "EPSG:32648"}}
    several = {"type": "MultiPolygon", "coordinates": [one["coordinates"] for one in degrees]}
    files = {
        "metres": {"type": "FeatureCollection", "crs": named, "features": features},
        "degrees": {"type": "Feature", "properties": None, "geometry": several},
    }
    for name, raw in files.items():
        (tmp_path / f"{name}.geojson").write_text(json.dumps(raw))
        found = read_ground(picture, dem, tmp_path / f"{name}.geojson").mask
        assert (found != mask).mean() < 0.002
        assert set(np.unique(found)) == {0, 1}
    wrong = {
        "longitude and latitude": {**files["metres"], "crs": None},
        "a known system": {**files["metres"], "crs": {"type": "name", "properties": {"name": "here"}}},
        "no polygon on the picture": {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [0, 0]]]},
        "Polygon or MultiPolygon": {"type": "FeatureCollection", "features": []},
    }
    for words, raw in wrong.items():
        (tmp_path / "wrong.geojson").write_text(json.dumps(raw))
        with pytest.raises(DataError, match=words):
            read_ground(picture, dem, tmp_path / "wrong.geojson")


def test_the_comparison_writes_what_the_page_quotes(tmp_path, capsys):
    out = tmp_path / "landslides.json"
    assert compare(["--seeds", "2", "--steps", "1", "--side", "160", "--tile", "16", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert set(found["arms"]) == set(ARMS)
    assert all(len(values["landslide_iou"]) == 2 for values in found["arms"].values())
    assert "colour alone" in capsys.readouterr().out
    committed, page = ((ROOT / name).read_text() for name in (OUT, "docs/pipelines/eo_pretraining.md"))
    for arm, values in json.loads(committed)["arms"].items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {arm} |"))
        assert f"{np.mean(values['landslide_iou']):.3f}" in row
        assert f"{np.mean(values['landslide_f1']):.3f}" in row


def test_tiles_of_train_and_test_share_no_block_and_turn_with_their_slopes(ground_files):
    ground = read_ground(*ground_files)
    assert ground.metres == 5
    assert ground.notes == ()
    tiles = cut_ground(ground, 16, white=255.0)
    blocks = [{tuple(place // 32) for place in one["place"]} for one in tiles.values()]
    assert not blocks[0] & blocks[1]
    plain, turned = (landslide_batch(tiles["train"], [0, 1], 5.0, turns=k) for k in (0, 1))
    torch.testing.assert_close(torch.rot90(plain["picture"], 1, (-2, -1)), turned["picture"])
    # what fell to the right falls to the top after a quarter turn
    torch.testing.assert_close(torch.rot90(plain["terrain"][:, 2], 1, (-2, -1)), turned["terrain"][:, 3])


def test_what_is_wrong_with_a_ground_is_said(ground_files, tmp_path):
    picture, dem, _ = ground_files
    away = write_raster(tmp_path / "away.tif", RNG.random((40, 40)).astype(np.float32), crs="EPSG:32648")
    with pytest.raises(RasterError, match="no pixel on the picture"):
        read_ground(picture, away)
    odd = write_raster(tmp_path / "odd.tif", np.full((40, 40), 7, dtype=np.uint8), crs="EPSG:32648",
                       origin=(300_000, 4_000_000))  # fmt: skip
    with pytest.raises(DataError, match="label values"):
        read_ground(picture, dem, odd)
    few = np.zeros((160, 160), dtype=np.uint8)
    few[:10, :10] = 1
    rare = write_raster(tmp_path / "r.tif", few, crs="EPSG:32648", origin=(300_000, 4_000_000), step=5)
    ground = read_ground(picture, dem, rare)
    assert set(np.unique(ground.mask)) == {0, 1}
    corner = write_raster(
        tmp_path / "c.tif", few[:40, :40], crs="EPSG:32648", origin=(300_000, 4_000_000), step=5
    )
    known = read_ground(picture, dem, corner).mask != 255
    assert known[:40, :40].all()
    assert known.sum() == 40 * 40
    assert any("landslide: scores will scatter" in note for note in ground.notes)
    with pytest.raises(DataError, match="scars in the test blocks"):
        cut_ground(ground, 16, white=255.0)
    with pytest.raises(DataError, match="no labels"):
        cut_ground(read_ground(picture, dem), 16, white=255.0)


def test_relief_beside_its_picture_is_noticed():
    from earth_observation.demo import smooth

    dem = 100 * smooth(RNG, 96, 6) + 20 * smooth(RNG, 96, 2)
    light = np.gradient(dem)[1] + 2 * RNG.normal(size=dem.shape)
    known = np.ones(dem.shape, dtype=bool)

    def kinds(shift):
        moved = np.roll(light, (0, shift), axis=(0, 1))
        return [note.kind for note in check_offset(moved, dem, known, where="dem.tif")]

    assert kinds(0) == []
    assert kinds(4) == ["offset"]
    assert [note.kind for note in check_offset(RNG.normal(size=dem.shape), dem, known, where="dem.tif")] == []
