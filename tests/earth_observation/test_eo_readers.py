"""The public layouts and own data are listed as they lie: band order, pairs, labels, splits, units."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from eo_rasters import FRACTIONS, write_raster

from core.data.checks import Quarantine
from core.errors import DataError
from earth_observation.bands import S2_BANDS, SENSORS, own_sensor
from earth_observation.data.bigearthnet import read_bigearthnet
from earth_observation.data.checks import Limits
from earth_observation.data.cut import plan_chips
from earth_observation.data.eurosat import FILE_BANDS, read_eurosat
from earth_observation.data.own import read_own, scene_files
from earth_observation.data.raster import RasterStack
from earth_observation.data.scale import Scale
from earth_observation.data.sources import Checking, inspect, read_items, stack_of
from earth_observation.data.ssl4eo import read_ssl4eo
from earth_observation.data.store import ChipStore
from earth_observation.data.write import choose_statistics, write_store
from earth_observation.demo import write_demo
from earth_observation.labels import BIGEARTHNET, CORINE_CODES, corine_map

RNG = np.random.default_rng(0)


def numbers(side: int, level: float = 1000) -> np.ndarray:
    return (level + RNG.integers(0, 200, (side, side))).astype(np.uint16)


def test_demo_is_the_same_twice_and_another_with_another_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_demo(tmp_path / name, places=2, side=24, seasons=1, seed=seed)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.tif"))
    same = [(tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files]
    other = [(tmp_path / "a" / f).read_bytes() == (tmp_path / "c" / f).read_bytes() for f in files]
    assert len(files) >= 2 * 16
    assert all(same)
    assert not any(other[:10])


def test_ssl4eo_pairs_dates_by_position_and_reads_both_kinds_of_label(demo_folder, listed):
    items, layout = listed
    assert list(layout.sensors) == ["s2", "s1"]
    assert layout.sensors["s2"].bands == S2_BANDS
    for item in items:
        season = {"20200115": 0, "20200418": 1}[Path(item.files["s2"][0]).parent.name[:8]]
        assert item.season == season
        assert f"_{Path(item.files['s2'][0]).parent.name[:15]}_" in Path(item.files["s1"][0]).parent.name
    assert {item.group for item in items} == {
        p.name for p in (demo_folder / "s2c").iterdir()
    }  # ids with gaps
    table = json.loads((demo_folder / "ssl4eo_multilabel.json").read_text())
    for item in items:
        location, scene = item.id.split("/")
        assert list(item.soft) == [int(k) for k in table[location][scene]]


def test_ssl4eo_in_the_nested_folders_of_some_copies(demo_folder, tmp_path):
    (tmp_path / "s2_l1c").mkdir()
    (tmp_path / "s2_l1c" / "s2c").symlink_to(demo_folder / "s2c")
    items, layout = read_ssl4eo(tmp_path, Quarantine(), fractions=FRACTIONS)
    assert len(items) == 12
    assert list(layout.sensors) == ["s2"]
    with pytest.raises(DataError, match="s2a"):
        read_ssl4eo(tmp_path, Quarantine(), product="s2a", fractions=FRACTIONS)


def test_coarse_bands_come_onto_the_fine_grid_in_the_order_of_the_sensor(listed):
    items, layout = listed
    stack = stack_of(items[0], "s2", layout)
    x, valid = stack.read()
    assert x.shape == (13, 48, 48)
    assert valid.all()
    for path, raw, _ in stack.raw():
        band = layout.sensors["s2"].index(Path(path).stem)
        assert x[band].mean() == pytest.approx(raw.mean(), rel=0.02)
    part, _ = stack.read((12, 18, 24, 24))
    np.testing.assert_array_equal(part[1], x[1, 12:36, 18:42])  # a 10 m band


def test_eurosat_moves_b8a_to_its_place_and_keeps_large_numbers(tmp_path):
    for name in ("Forest", "River"):
        for k in range(5):
            data = np.stack([np.full((8, 8), 1000 + 100 * band, dtype=np.uint16) for band in range(13)])
            data[0, 0, 0] = 40_000  # a signed cast would wrap
            write_raster(tmp_path / name / f"{name}_{k}.tif", data)
    items, layout = read_eurosat(tmp_path, colour=False, fractions=FRACTIONS)
    x, _ = stack_of(items[0], "s2", layout).read()
    assert x[:, 4, 4].tolist() == [1000 + 100 * FILE_BANDS.index(band) for band in S2_BANDS]
    assert x[0, 0, 0] == 40_000
    assert {split: sum(i.split == split for i in items) for split in FRACTIONS} == {
        "train": 6,
        "valid": 2,
        "test": 2,
    }


def test_bigearthnet_v1_by_name_with_43_labels(tmp_path):
    patch = "S2A_MSIL2A_20170617T113321_36_85"
    bands = {
        **dict.fromkeys(("B02", "B03", "B04", "B08"), (12, 10)),
        **dict.fromkeys(("B01", "B09"), (2, 60)),
    }
    bands |= dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), (6, 20))
    for k, (band, (side, step)) in enumerate(bands.items()):
        write_raster(tmp_path / patch / f"{patch}_{band}.tif", numbers(side, 1000 * k + 1000), step=step)
    labels = {"labels": ["Non-irrigated arable land", "Pastures", "Airports"]}
    (tmp_path / patch / f"{patch}_labels_metadata.json").write_text(json.dumps(labels))
    items, layout = read_bigearthnet(tmp_path, Quarantine(), fractions=FRACTIONS)
    assert [BIGEARTHNET.names[k] for k in items[0].classes] == ["Arable land", "Pastures"]
    x, _ = stack_of(items[0], "s2", layout).read()
    assert x.shape == (12, 12, 12)
    order = [
        list(bands).index({"B1": "B01", "B9": "B09"}.get(b, b if len(b) == 3 else f"B0{b[1]}"))
        for b in layout.sensors["s2"].bands
    ]
    assert np.round(x.mean((1, 2)) / 1000 - 1.1).astype(int).tolist() == order


def test_bigearthnet_v2_finds_folders_from_ids_and_radar_in_vv_vh_order(tmp_path):
    patch, radar = (
        "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57",
        "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_26_57",
    )
    tile, folder = patch.rsplit("_", 2)[0], radar.rsplit("_", 3)[0]
    for band in ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"):
        write_raster(tmp_path / "BigEarthNet-S2" / tile / patch / f"{patch}_{band}.tif", numbers(12))
    for band, level in (("VH", -20.1), ("VV", -12.9)):
        data = (level + RNG.normal(size=(12, 12))).astype(np.float32)
        write_raster(tmp_path / "BigEarthNet-S1" / folder / radar / f"{radar}_{band}.tif", data)
    codes = np.full((12, 12), 312, dtype=np.uint16)
    codes[:6] = 523
    codes[0, 0] = 124  # an airport, which is no class
    write_raster(tmp_path / "Reference_Maps" / tile / patch / f"{patch}_reference_map.tif", codes)
    row = {
        "patch_id": patch,
        "s1_name": radar,
        "labels": ["Coniferous forest", "Marine waters"],
        "split": "validation",
    }
    pd.DataFrame([row]).to_parquet(tmp_path / "metadata.parquet")
    items, layout = read_bigearthnet(tmp_path, Quarantine(), fractions=FRACTIONS)
    x, _ = stack_of(items[0], "s1", layout).read()
    assert x.mean((1, 2)).round().tolist() == [-13, -20]  # decibel with their fractions, VV first
    assert x.dtype == np.float32
    assert items[0].split == "valid"
    assert np.unique(corine_map(codes, where="map")).tolist() == [CORINE_CODES[312], CORINE_CODES[523], 255]
    quarantine = Quarantine()
    usable, _ = inspect(items, Checking(layout, {}, False, Limits()), quarantine)
    assert len(usable) == 1, quarantine.table()


def test_own_scenes_as_file_folder_safe_product_and_stac_item(tmp_path):
    bands = [band for band in S2_BANDS if band != "B10"]
    stacked = np.stack([numbers(12) for _ in reversed(bands)])
    write_raster(tmp_path / "stack.tif", stacked, descriptions=list(reversed(bands)))
    safe = tmp_path / "S2B_MSIL2A.SAFE" / "GRANULE" / "IMG_DATA"
    for band in bands:
        name = f"T31TFJ_20200718T102559_{'B0' + band[1] if len(band) == 2 else band}"
        for mark, side, step in (("10m", 12, 10), ("20m", 6, 20)):
            if mark == "20m" or band in ("B2", "B3", "B4", "B8"):
                write_raster(safe / f"R{mark}" / f"{name}_{mark}.tif", numbers(side), step=step)
        write_raster(tmp_path / "assets" / f"{band}.tif", numbers(12))
    assets = {band: {"href": f"./assets/{band}.tif"} for band in bands} | {"thumbnail": {"href": "t.txt"}}
    (tmp_path / "item.json").write_text(json.dumps({"type": "Feature", "assets": assets}))
    rows = [
        "id,path,group,split,labels",
        "a,stack.tif,p,train,water|7",
        "b,S2B_MSIL2A.SAFE,q,valid,",
        "c,item.json,r,test,1",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    items, layout = read_own(tmp_path, tmp_path / "manifest.csv", sensor="s2_l2a", fractions=FRACTIONS)
    assert [item.classes for item in items] == [[0, 7], None, [1]]
    x, _ = stack_of(items[0], "s2", layout).read()
    np.testing.assert_array_equal(x, stacked[::-1])
    assert len(items[1].files["s2"]) == 12
    assert sum("_10m" in path for path in items[1].files["s2"]) == 4  # each band at its finest
    assert stack_of(items[1], "s2", layout).read()[0].shape == (12, 12, 12)
    assert stack_of(items[2], "s2", layout).read()[0].shape == (12, 12, 12)
    for href, words in (("https://x.org/B2.tif", "local file"), ("../../B2.tif", "leaves the data root")):
        (tmp_path / "bad.json").write_text(json.dumps({"assets": {"B2": {"href": href}}}))
        with pytest.raises(DataError, match=words):
            scene_files(tmp_path / "bad.json", SENSORS["s2_l2a"], tmp_path)


def test_a_season_in_words_is_named_by_row(tmp_path):
    write_raster(tmp_path / "a.tif", np.stack([numbers(12)] * 13), descriptions=S2_BANDS)
    rows = ["id,path,group,split,season", "a,a.tif,p,train,1", "b,a.tif,q,test,summer"]
    (tmp_path / "m.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"m\.csv row 3: season: saw 'summer', expected 0, 1, 2"):
        read_own(tmp_path, tmp_path / "m.csv", sensor="s2_l1c", fractions=FRACTIONS)


def test_radar_scales_and_the_offset_keep_their_own_zero():
    x = np.array([[[0.0, 1000, 1500, 400]]], dtype=np.float32)
    assert Scale("dn_offset")(x).ravel().tolist() == [0, 0, 500, 0]
    assert Scale("power")(np.array([[[0.1, 0.0]]])).ravel()[0] == pytest.approx(-10)
    assert np.isnan(Scale("power")(np.array([[[0.0]]]))).all()
    assert Scale("amplitude")(np.array([[[0.1]]])).item() == pytest.approx(-20)


def test_a_scene_larger_than_a_chip_is_cut_and_split_by_blocks(tmp_path):
    sensor = own_sensor(["red", "nir"], 30.0)
    data = RNG.normal(100, 10, (2, 80, 100)).astype(np.float32)
    cover = np.full((80, 100), 255, dtype=np.uint8)
    cover[10:20, 10:90] = 1
    write_raster(tmp_path / "scene.tif", data, step=30, descriptions=sensor.bands)
    write_raster(tmp_path / "cover.tif", cover, step=30)
    (tmp_path / "manifest.csv").write_text("id,path,reference,split\na,scene.tif,cover.tif,train\n")
    items, layout = read_items(
        "manifest", tmp_path, Quarantine(), fractions=FRACTIONS, sensor="own", bands=["red", "nir"], gsd=30.0,
        classes=["field", "wood"],
    )  # fmt: skip
    usable, _ = inspect(items, Checking(layout, {}, False, Limits()), Quarantine())
    assert len(plan_chips(usable, 16)) == 5 * 7
    (tmp_path / "chips").mkdir()
    found = write_store(usable, layout, tmp_path / "chips", size=16, statistics="data", blocks=16)
    assert {chip["split"] for chip in found.chips} == {"train", "valid", "test"}
    assert found.normalisations["image"].mean == pytest.approx([100, 100], abs=1)
    assert {tuple(row) for row in found.classes.tolist()} == {(0, 0), (0, 1)}


def test_a_cloud_mask_of_the_manifest_lowers_what_counts_as_known(tmp_path):
    """The mask is on a coarser grid; cloudy chips are left out, cloudy pixels become the mean; radar sees through."""
    data = np.stack([numbers(32, 500) for _ in S2_BANDS])
    data[:, :, :20] = 8000 + RNG.integers(0, 50, (13, 32, 20))
    scl = np.full((16, 16), 4, dtype=np.uint8)
    scl[:, :10] = 9
    radar = (-12 + RNG.normal(size=(2, 32, 32))).astype(np.float32)
    write_raster(tmp_path / "a.tif", data, descriptions=S2_BANDS)
    write_raster(tmp_path / "s1.tif", radar, descriptions=("VV", "VH"))
    write_raster(tmp_path / "scl.tif", scl, step=20)
    rows = ["id,path,s1,labels,split,mask", "a,a.tif,s1.tif,water,train,scl.tif"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    items, layout = read_own(tmp_path, tmp_path / "manifest.csv", sensor="s2_l1c", fractions=FRACTIONS)
    quarantine = Quarantine()
    usable, _ = inspect(items, Checking(layout, {}, False, Limits()), quarantine)
    assert usable[0].mask.endswith("scl.tif")
    assert not quarantine.findings
    normalisation = choose_statistics(usable, layout, "data")
    assert normalisation["s2"].mean[1] == pytest.approx(600, abs=20)  # of clear ground alone
    (tmp_path / "chips").mkdir()
    store = write_store(usable, layout, tmp_path / "chips", size=16, min_valid=0.5)
    assert {chip["column"] for chip in store.chips} == {16}  # the others are under cloud
    x = store.read("s2", [0])[0]
    assert (x[:, :, :4] == 127).all()
    assert (x[1, :, 4:] != 127).all()
    assert (store.read("s1", [0])[0][:, :, :4] != 127).mean() > 0.9


def _sum_of(args: tuple[RasterStack, str]) -> float:
    return float(args[0].read()[0].sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_opened_stack_reads_the_same_in_another_process(listed, method):
    items, layout = listed
    stack = stack_of(items[0], "s2", layout)
    here = float(stack.read()[0].sum())
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(_sum_of, [(stack, "")]) == [here]


def test_store_holds_what_the_files_hold(store, listed):
    items, layout = listed
    assert len(store) == 4 * len(items)
    chip = store.chips[5]
    item = next(one for one in items if one.id == chip["item"])
    x, valid = stack_of(item, "s2", layout).read((chip["row"], chip["column"], 24, 24))
    expected = store.normalisations["s2"](Scale(item.scale["s2"])(x), valid)
    np.testing.assert_array_equal(store.read("s2", [5])[0], expected)
    assert store.normalisations["s2"].name == "ssl4eo_50k/s2_l1c"
    assert store.soft.shape == store.classes.shape == (len(store), 9)
    train, test = ({store.chips[k]["group"] for k in store.indices(split)} for split in ("train", "test"))
    assert not train & test
    assert isinstance(ChipStore(store.folder).read("s1", [0, 1]), np.ndarray)
