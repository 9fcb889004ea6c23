"""Own sensors from bands to map, the notebook on a scene of one's own, and the page that says how."""

from __future__ import annotations

import json
from pathlib import Path

import jupytext
import numpy as np
import pytest
import rasterio
from eo_rasters import FRACTIONS, write_raster

from core.data.checks import Quarantine
from core.errors import DataError
from earth_observation.bands import S2_BANDS
from earth_observation.data.checks import Limits
from earth_observation.data.own import scene_files
from earth_observation.data.sources import Checking, inspect, read_items
from earth_observation.data.write import write_store
from earth_observation.prepared import mapped_scene, starting_model
from earth_observation.scene import Tiling, map_scene
from earth_observation.serve import FIELDS, RULES

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(11)
LANDSAT = ("10", "20", "30", "40", "50", "70")
ARCHITECTURE = {"backbone": "vit", "patch": 8, "dim": 16, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def landsat(tmp_path_factory):
    """A folder of one file a band (`lsat_10.tif`, ..., one of another type) and labels on a shifted grid."""
    home = tmp_path_factory.mktemp("own")
    for k, band in enumerate(LANDSAT):
        data = 60 + 10 * k + RNG.normal(0, 4, (80, 96))
        kind = np.int16 if band == "70" else np.float32
        write_raster(home / "lsat7_2000" / f"lsat7_2000_{band}.tif", data.astype(kind), step=30)
    cover = np.ones((90, 106), dtype=np.uint8)
    cover[:, :40] = 2
    write_raster(home / "cover.tif", cover, step=30, origin=(499_940.0, 5_000_070.0), nodata=255)
    (home / "manifest.csv").write_text("id,path,reference,split\nnc,lsat7_2000,cover.tif,train\n")
    return home


def test_a_folder_of_numbered_bands_of_an_own_sensor_goes_from_manifest_to_map(landsat, tmp_path):
    own = {
        "sensor": "own",
        "bands": list(LANDSAT),
        "gsd": 30.0,
        "classes": ["crops", "wood"],
        "label_offset": -1,
    }
    items, layout = read_items("manifest", landsat, Quarantine(), fractions=FRACTIONS, **own)
    refused = Quarantine()
    inspect(items, Checking(layout, {}, False, Limits()), refused)
    assert "set data.align to warp" in refused.offenders[0].reason
    quarantine = Quarantine()
    usable, _ = inspect(items, Checking(layout, {}, True, Limits()), quarantine)
    assert not quarantine.offenders, quarantine.table()
    store = write_store(usable, layout, tmp_path, size=16, statistics="data", blocks=16, warp=True)
    assert store.sensors["image"].bands == LANDSAT
    assert store.normalisations["image"].mean == pytest.approx([60, 70, 80, 90, 100, 110], abs=1)
    assert {chip["split"] for chip in store.chips} == {"train", "valid", "test"}
    whole = store.landcover[[k for k, chip in enumerate(store.chips) if chip["column"] == 32]]
    assert (whole[:, :, :6] == 1).all()  # the labels' 40 columns begin two columns further left
    assert (whole[:, :, 6:] == 0).all()
    model = starting_model(store, product="image", architecture=ARCHITECTURE, crop=16, seed=0, width=8)
    model.add_head("decoder")
    model.save(tmp_path / "model")
    files = scene_files(landsat / "lsat7_2000", model.sensor, landsat)
    report = map_scene(tmp_path / "model", files, tmp_path / "maps", tiling=Tiling(32, 24))
    assert report["bands"] == {band: f"lsat7_2000_{band}.tif" for band in LANDSAT}
    assert report["scale"] == "raw"
    assert report["known_share"] == 1
    with rasterio.open(files[0]) as one, rasterio.open(tmp_path / "maps" / "scene_landcover.tif") as cover:
        assert (cover.crs, cover.transform, cover.shape) == (one.crs, one.transform, one.shape)
        assert set(np.unique(cover.read(1))) <= {0, 1}


@pytest.fixture(scope="module")
def l2a(tmp_path_factory):
    """An L2A scene (no B10) stored as reflectance of 0 to 0.9, and its scene classification."""
    home = tmp_path_factory.mktemp("l2a")
    bands = [band for band in S2_BANDS if band != "B10"]
    data = RNG.uniform(0.05, 0.4, (12, 48, 64)).astype(np.float32)
    scl = np.full((24, 32), 4, dtype=np.uint8)
    scl[:5] = 8
    return (
        write_raster(home / "scene.tif", data, descriptions=bands),
        write_raster(home / "scl.tif", scl, step=20),
    )


def test_the_scene_of_the_parameters_is_mapped_with_its_scale_and_mask(untrained, listed, l2a, tmp_path):
    scene, mask = l2a
    untrained.save(tmp_path / "model")
    settings = {"tile": 32, "stride": 16, "batch_size": 4, "scheduler": "serial"}
    figures = mapped_scene(
        tmp_path / "model", *listed, "s2", tmp_path, path=scene, mask=mask, scale="dn_offset", **settings
    )
    assert figures[0]["file"].endswith("scene_quicklook.png")
    with rasterio.open(tmp_path / "scene" / "scene_landcover.tif") as cover:
        found = cover.read(1)
    report = json.loads((tmp_path / "scene" / "scene_report.json").read_text())
    assert report["scale"] == "dn_offset"  # as said, not as the numbers look
    assert (found[:10] == 255).all()
    assert (found[10:] < 9).all()
    binary = write_raster(tmp_path / "binary.tif", np.eye(48, 64, dtype=np.uint8))
    with pytest.raises(DataError, match="9 for cloud"):
        map_scene(tmp_path / "model", [scene], tmp_path, tiling=Tiling(32, 16), mask=binary)


def test_the_notebook_maps_a_scene_of_ones_own_and_trains_nothing(
    untrained, l2a, tmp_path, monkeypatch, capsys
):
    untrained.save(tmp_path / "model")
    values = {"SCENE": l2a[0], "MASK": l2a[1], "MODEL": tmp_path / "model", "OUTPUT": tmp_path / "maps"}
    for name, value in values.items():
        monkeypatch.setenv(f"KINDRED_EO_{name}", str(value))
    space: dict[str, object] = {}
    for cell in jupytext.read(ROOT / "notebooks" / "eo_pretraining.py").cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "notebook", "exec"), space)
    said = capsys.readouterr().out
    assert "B10  missing: 0 after normalisation" in said
    assert "note: B10 is missing" in said
    assert "no data" in said
    assert (tmp_path / "maps" / "scene_embedding.tif").is_file()
    assert "store" not in space


def test_the_page_says_what_the_served_model_takes():
    page = (ROOT / "docs" / "pipelines" / "eo_pretraining.md").read_text(encoding="utf-8")
    assert all(f"| `{field.name}` |" in page for field in FIELDS)
    assert all(f"`{rule}`" in page for rule in RULES)
    assert "kindred predict eo_pretraining" in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    line = next(
        one
        for one in (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8").splitlines()
        if one.startswith("kindred predict eo_pretraining")
    )
    assert f"--set bands={','.join(S2_BANDS)}" in line  # those of the default model
