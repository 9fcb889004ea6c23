"""Maps of whole scenes: blended without seams, where they belong on Earth, the same however the work is cut."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from eo_rasters import write_raster

from core.data.parallel import parallel_map
from core.errors import ConfigError, DataError
from earth_observation.bands import S2_BANDS, SENSORS
from earth_observation.data.opened import RasterError
from earth_observation.data.own import scene_files
from earth_observation.data.raster import RasterStack
from earth_observation.data.scale import Scale
from earth_observation.model import LandCover, load_model
from earth_observation.prepared import starting_model
from earth_observation.scene import Tiling, map_scene
from earth_observation.scene.embedding import embedding_rows
from earth_observation.scene.rows import map_rows
from earth_observation.scene.work import Work, read_strip
from earth_observation.tiles import StripBlend, tile_starts

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def saved(untrained, tmp_path_factory):
    """The untrained model as a folder."""
    folder = tmp_path_factory.mktemp("model") / "m"
    untrained.save(folder)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene of 75 x 101 pixels with a corner of nodata."""
    data = np.clip(1500 + 400 * RNG.normal(size=(13, 75, 101)), 1, None).astype(np.uint16)
    data[10] = 12
    data[:, 60:, 80:] = 0
    data[0, 0, 0] = 13
    data[10, 0, 0] = 14
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_raster(path, data, descriptions=S2_BANDS, nodata=0, origin=(612_340.0, 4_876_540.0))


def read(path):
    with rasterio.open(path) as source:
        return source.read(), source.profile, source.tags(), source


@pytest.mark.parametrize(("height", "width"), [(40, 57), (16, 16), (17, 33), (9, 50)])
def test_blending_gives_back_what_every_tile_says(height, width):
    truth = RNG.normal(size=(2, height, width))
    tile, done = 16, []
    padded = np.pad(truth, ((0, 0), (0, max(0, tile - height)), (0, max(0, tile - width))))
    blend, rows = StripBlend(2, width, tile), tile_starts(height, tile, 11)
    for k, row in enumerate(rows):
        for column in tile_starts(width, tile, 11):
            blend.add(padded[:, row : row + tile, column : column + tile], row, column)
        following = rows[k + 1] if k + 1 < len(rows) else height
        done.append(blend.take(min(following, height) - row))
    np.testing.assert_allclose(np.concatenate(done, axis=1), truth, atol=1e-9)


def test_maps_lie_where_the_scene_lies(saved, scene, tmp_path):
    report = map_scene(saved, [scene], tmp_path, tiling=Tiling(32, 16, 4), embedding=True)
    _, expected, _, _ = read(scene)
    cover, profile, tags, _ = read(tmp_path / "scene_landcover.tif")
    assert (profile["crs"], profile["transform"]) == (expected["crs"], expected["transform"])
    assert (profile["height"], profile["width"], profile["dtype"], profile["nodata"]) == (
        75,
        101,
        "uint8",
        255,
    )
    with rasterio.open(tmp_path / "scene_landcover.tif") as opened:
        assert opened.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert opened.colormap(1)[0][:3] == (0x41, 0x9B, 0xDF)
        assert opened.bounds == rasterio.open(scene).bounds
    assert tags["class_1"] == "trees"
    assert (cover[0, 62:, 82:] == 255).all()
    assert (cover[0, :60, :80] < 9).all()
    sure, _, _, _ = read(tmp_path / "scene_confidence.tif")
    assert sure[0, :60, :80].max() <= 200
    vectors, profile, _, _ = read(tmp_path / "scene_embedding.tif")
    step = 8
    assert vectors.shape == (8, 10, 13)
    assert profile["transform"].a == 10 * step
    assert (profile["transform"].c, profile["transform"].f) == (612_340.0, 4_876_540.0)
    assert np.isfinite(vectors[:, :7, :10]).all()
    assert np.isnan(vectors[:, -1, -1]).all()
    assert (tmp_path / "scene_quicklook.png").stat().st_size > 5000
    assert not list(tmp_path.glob("*.aux.xml"))
    assert report == json.loads((tmp_path / "scene_report.json").read_text())
    assert report["known_share"] == pytest.approx(1 - 15 * 21 / (75 * 101), abs=1e-3)


def test_the_answer_does_not_depend_on_how_the_work_is_cut(saved, scene):
    def rows(parts, batch_size=5):
        work = Work(
            str(saved), RasterStack([scene], SENSORS["s2_l1c"]), Scale("dn"), Tiling(24, 16, batch_size)
        )
        found = [one for part in parts for one in map_rows(work, *part)]
        assert [row for row, _, _ in found] == [0, 16, 32, 48, 51]
        return [np.concatenate([one[k] for one in found]) for k in (1, 2)]

    whole = rows([(0, 5)])
    for one, other in zip(whole, rows([(0, 2), (2, 3), (3, 5)])):
        np.testing.assert_array_equal(one, other)
    # another batch size may round another way, and no more
    assert np.abs(whole[1].astype(int) - rows([(0, 5)], 1)[1]).max() <= 1


def test_embeddings_do_not_depend_on_how_the_work_is_cut(saved, scene):
    work = Work(str(saved), RasterStack([scene], SENSORS["s2_l1c"]), Scale("dn"), Tiling(24, 16, 5))
    whole, parts = (
        [one for part in cut for one in embedding_rows(work, *part)]
        for cut in ([(0, 5)], [(0, 2), (2, 3), (3, 5)])
    )
    assert [row for row, _ in whole] == [row for row, _ in parts] == [0, 2, 4, 6, 8]
    one, other = (np.concatenate([shares for _, shares in found], axis=1) for found in (whole, parts))
    assert one.shape == (8, 10, 13)
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_dask_workers_write_the_same_map_and_the_same_embeddings(saved, scene, tmp_path, monkeypatch):
    from dask.distributed import LocalCluster

    sent = []

    def watched(job, jobs, **options):
        sent.append((job.keywords["rows"].__name__, len(jobs), options["scheduler"]))
        return parallel_map(job, jobs, **options)

    monkeypatch.setattr("earth_observation.scene.work.parallel_map", watched)
    monkeypatch.setattr("earth_observation.scene.work.ROWS_A_JOB", 2)
    # one cluster for both: its workers import torch once
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        for name, scheduler in (("serial", "serial"), ("local", cluster.scheduler_address)):
            tiling = Tiling(24, 16, 5, scheduler)
            map_scene(saved, [scene], tmp_path, name=name, tiling=tiling, quicklook=False, embedding=True)
        address = cluster.scheduler_address
    for kind in ("landcover", "confidence", "embedding"):
        one, other = (read(tmp_path / f"{name}_{kind}.tif")[0] for name in ("serial", "local"))
        np.testing.assert_array_equal(one, other)
    # both were cut into jobs and sent to the workers
    assert sent == [("map_rows", 3, address), ("embedding_rows", 3, address)]


@pytest.mark.parametrize("size", [(10, 60), (5, 7), (33, 32)])
def test_scenes_smaller_than_a_tile_and_with_leftovers(saved, tmp_path, size):
    data = np.clip(1500 + 400 * RNG.normal(size=(13, *size)), 1, None).astype(np.uint16)
    path = write_raster(tmp_path / "s.tif", data, descriptions=S2_BANDS)
    map_scene(saved, [path], tmp_path, tiling=Tiling(32, 24), quicklook=False, scale="dn")
    cover = read(tmp_path / "scene_landcover.tif")[0]
    assert cover.shape == (1, *size)
    assert (cover < 9).all()


def test_a_constant_model_gives_a_constant_map_without_seams(untrained, scene, tmp_path):
    model = starting_like(untrained)
    with torch.no_grad():
        model.decoder.mix[-1].weight.zero_()
        model.decoder.mix[-1].bias.copy_(torch.arange(9.0))
    model.save(tmp_path / "constant")
    map_scene(tmp_path / "constant", [scene], tmp_path, tiling=Tiling(32, 20), quicklook=False)
    assert set(np.unique(read(tmp_path / "scene_landcover.tif")[0])) == {8, 255}
    assert len(np.unique(read(tmp_path / "scene_confidence.tif")[0])) == 2


def starting_like(model: LandCover) -> LandCover:
    """A copy that may be changed."""
    twin = LandCover(
        model.architecture, model.sensor, model.normalisation, model.table, size=model.size, heads=model.heads,
        width=model.width,
    )  # fmt: skip
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def test_a_cloud_mask_is_respected(saved, scene, tmp_path):
    scl = np.full((38, 51), 4, dtype=np.uint8)
    scl[:10] = 9
    mask = write_raster(tmp_path / "scl.tif", scl, step=20, origin=(612_340.0, 4_876_540.0))
    map_scene(saved, [scene], tmp_path, tiling=Tiling(32, 16), mask=mask, quicklook=False)
    cover = read(tmp_path / "scene_landcover.tif")[0][0]
    assert (cover[:20] == 255).all()
    assert (cover[21:55, :75] < 9).all()


def test_a_product_without_b10_is_mapped_by_a_model_of_13_bands_with_a_warning(saved, scene, tmp_path):
    """BigEarthNet's folder of 12 files, an L2A product; what B10 holds is 0 after normalisation."""
    data = read(scene)[0]
    patch = tmp_path / "S2A_MSIL2A_20170617T113321_36_85"
    for index, band in enumerate(S2_BANDS):
        if band != "B10":
            name = f"{patch.name}_{band if len(band) == 3 else 'B0' + band[1]}.tif"
            write_raster(patch / name, data[index], nodata=0, origin=(612_340.0, 4_876_540.0))
    sensor = SENSORS["s2_l1c"]
    files = scene_files(patch, sensor, tmp_path)
    report = map_scene(saved, files, tmp_path, tiling=Tiling(32, 16), quicklook=True, embedding=True)
    assert report["warnings"][0].startswith("B10 is missing")
    assert "accuracy may drop" in report["warnings"][0]
    assert report["bands"]["B10"] == "missing, 0 after normalisation"
    assert report["bands"]["B11"].endswith("_B11.tif")
    model = load_model(saved)
    work = Work(str(saved), RasterStack(files, sensor, fill=True), Scale("dn"), Tiling(32, 16))
    short, _ = read_strip(work, model, 0, 32, None)
    whole, _ = read_strip(replace(work, stack=RasterStack([scene], sensor)), model, 0, 32, None)
    assert (short[10] == 0).all()
    np.testing.assert_array_equal(np.delete(short, 10, axis=0), np.delete(whole, 10, axis=0))
    with pytest.raises(RasterError, match="use sensor s2_l2a"):  # nobody asked for the band to be filled
        RasterStack(files, sensor)
    with pytest.raises(RasterError, match="missing band"):  # and no other band is ever filled
        RasterStack([file for file in files if "_B11" not in file], sensor, fill=True)
    offset = write_raster(tmp_path / "new.tif", np.delete(data, 10, axis=0) + 1000,
                          descriptions=[band for band in S2_BANDS if band != "B10"])  # fmt: skip
    report = map_scene(saved, [offset], tmp_path, tiling=Tiling(32, 16), quicklook=False)
    assert report["scale"] == "dn_offset"  # zeros of the filled band do not hide the offset


def test_what_does_not_fit_is_said(saved, scene, store, tmp_path):
    with pytest.raises(ConfigError, match="multiples of 8"):
        map_scene(saved, [scene], tmp_path, tiling=Tiling(30, 16))
    with pytest.raises(ConfigError, match="1 <= stride <= tile"):
        map_scene(saved, [scene], tmp_path, tiling=Tiling(16, 24))
    bare = starting_model(store, product="s2", architecture=load_model(saved).architecture, crop=16, seed=0)
    bare.save(tmp_path / "bare")
    with pytest.raises(ConfigError, match="map head"):
        map_scene(tmp_path / "bare", [scene], tmp_path)
    empty = write_raster(tmp_path / "e.tif", np.zeros((13, 20, 20), dtype=np.uint16), descriptions=S2_BANDS)
    with pytest.raises(DataError, match="no pixel with data"):
        map_scene(saved, [empty], tmp_path)
    assert not list(tmp_path.glob("*.tmp"))
