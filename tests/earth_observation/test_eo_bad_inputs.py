"""Each input that a scientist may bring by mistake is named with file, what was seen, and what to do."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from eo_rasters import FRACTIONS, write_raster

from core.data.checks import Quarantine
from core.errors import ConfigError, DataError
from earth_observation.bands import S2_BANDS, SENSORS
from earth_observation.data.checks import Limits, check_band, check_geometry, estimated_shift
from earth_observation.data.items import Item, Layout
from earth_observation.data.opened import Grid, RasterError, open_raster
from earth_observation.data.raster import RasterStack, read_labels
from earth_observation.data.scale import choose_scale
from earth_observation.data.sources import Checking, check_enough, inspect, labels_on, read_items
from earth_observation.labels import DYNAMIC_WORLD
from earth_observation.normalise import Normalisation
from earth_observation.terrain import check_dem

RNG = np.random.default_rng(3)
S2, S1 = SENSORS["s2_l1c"], SENSORS["s1"]


def scene(side: int = 40, level: float = 1500.0) -> np.ndarray:
    """13 smooth-ish bands of plausible numbers, dark water in one corner."""
    base = level + 300 * RNG.normal(size=(13, side, side))
    base[10] = 15 + np.abs(RNG.normal(size=(side, side)))
    base[:, : side // 5, : side // 5] = 120
    return np.clip(base, 1, None).astype(np.uint16)


def stack(path: Path, data: np.ndarray, **profile) -> str:
    return write_raster(path, data, descriptions=S2_BANDS, **profile)


def look(files: dict, tmp_path: Path, *, warp: bool = False, scale=None, **item) -> Quarantine:
    """What validation says about one image of these files."""
    sensors = {"s2": S2} | ({"s1": S1} if "s1" in files else {})
    layout = Layout(sensors, DYNAMIC_WORLD)
    found = Quarantine()
    one = Item("image", "place", "train", {k: [v] for k, v in files.items()}, **item)
    inspect([one], Checking(layout, scale or {}, warp, Limits()), found)
    return found


def only(found: Quarantine) -> tuple[str, str]:
    assert len(found.offenders) == 1, found.table()
    return found.offenders[0].kind, found.offenders[0].reason


def test_missing_band_and_bands_without_names(tmp_path):
    whole = stack(tmp_path / "whole.tif", scene())
    assert RasterStack([whole], S2).read()[0].shape == (13, 40, 40)
    cut = write_raster(tmp_path / "cut.tif", scene()[:12], descriptions=S2_BANDS[:12])
    kind, reason = only(look({"s2": cut}, tmp_path))
    assert kind == "bands"
    assert "missing band(s) B12" in reason
    bare = write_raster(tmp_path / "bare.tif", scene()[:7])
    kind, reason = only(look({"s2": bare}, tmp_path))
    assert "7 band(s)" in reason
    assert "descriptions" in reason
    l2a = [b for b in S2_BANDS if b != "B10"]
    with pytest.raises(RasterError, match="s2_l2a"):
        RasterStack([write_raster(tmp_path / "l2a.tif", scene()[:12], descriptions=l2a)], S2)


@pytest.mark.parametrize(
    ("profile", "kind", "words"),
    [
        ({"crs": None}, "crs", "no coordinate system"),
        ({"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 3, 0, -1e-4, 45)}, "crs", "degrees"),
        ({"transform": Affine(10, 0, 5e5, 0, 10, 5e6)}, "transform", "south-up"),
        ({"transform": Affine(9, 3, 5e5, 3, -9, 5e6)}, "transform", "rotated"),
        ({"transform": Affine(10, 0, 5e5, 0, -20, 5e6)}, "transform", "not square"),
    ],
)
def test_grids_that_no_map_can_be_made_on(tmp_path, profile, kind, words):
    found = only(look({"s2": stack(tmp_path / "a.tif", scene(), **profile)}, tmp_path))
    assert found[0] == kind
    assert words in found[1]
    assert "Remedy" in found[1]


def test_another_resolution_is_noted(tmp_path):
    found = look({"s2": stack(tmp_path / "drone.tif", scene(), step=0.3)}, tmp_path, soft=[1])
    assert [one.kind for one in found.findings] == ["gsd"]
    assert found.findings[0].level == "warning"


@pytest.mark.parametrize(
    ("profile", "kind", "words"),
    [
        ({"crs": "EPSG:32632"}, "crs", "EPSG:32632"),
        ({"origin": (500_003.0, 5_000_000.0)}, "grid", "part of a pixel"),
        ({"origin": (500_030.0, 5_000_000.0)}, "grid", "3.0 pixels"),
    ],
)
def test_radar_and_labels_that_lie_elsewhere_are_refused_or_warped(tmp_path, profile, kind, words):
    optical = stack(tmp_path / "s2.tif", scene())
    radar = (-12 + RNG.normal(size=(2, 40, 40))).astype(np.float32)
    radar = write_raster(tmp_path / "s1.tif", radar, descriptions=("VV", "VH"), **profile)
    labels = write_raster(tmp_path / "dw.tif", np.ones((40, 40), dtype=np.uint8), **profile)
    for found in (
        look({"s2": optical, "s1": radar}, tmp_path),
        look({"s2": optical}, tmp_path, landcover=labels),
    ):
        assert only(found)[0] == kind
        assert words in only(found)[1]
        assert "data.align" in only(found)[1]
    if kind == "grid":
        assert not look({"s2": optical}, tmp_path, landcover=labels, warp=True).offenders


def test_products_shifted_by_pixels_are_noted(tmp_path):
    data = scene(64)
    blocks = np.kron(RNG.normal(size=(8, 8)), np.ones((8, 8))) * 400
    data = np.clip(data + blocks, 1, None).astype(np.uint16)
    radar = (
        -12 + np.stack([np.roll(blocks, 4, axis=1)] * 2) / 100 + 0.1 * RNG.normal(size=(2, 64, 64))
    ).astype(np.float32)
    optical = stack(tmp_path / "s2.tif", data)
    shifted = write_raster(tmp_path / "s1.tif", radar, descriptions=("VV", "VH"))
    found = look({"s2": optical, "s1": shifted}, tmp_path)
    assert "shift" in {one.kind for one in found.findings}
    rows, columns, _ = estimated_shift(blocks, np.roll(blocks, (-3, 4), axis=(0, 1)))
    assert (rows, columns) == (-3, 4)


def test_undeclared_nodata_nan_constant_and_stripes(tmp_path):
    empty = scene()
    empty[:, :, :20] = 0
    kind, reason = only(look({"s2": stack(tmp_path / "a.tif", empty)}, tmp_path))
    assert kind == "nodata"
    assert "exactly 0" in reason
    assert not look({"s2": stack(tmp_path / "b.tif", empty, nodata=0)}, tmp_path).offenders
    constant = scene()
    constant[3] = 777
    kind, reason = only(look({"s2": stack(tmp_path / "c.tif", constant)}, tmp_path))
    assert kind == "constant"
    assert "777" in reason
    holes = scene().astype(np.float32)
    holes[0, 5, 5] = np.nan
    assert only(look({"s2": stack(tmp_path / "d.tif", holes)}, tmp_path))[0] == "not_finite"
    assert not look({"s2": stack(tmp_path / "e.tif", holes, nodata=np.nan)}, tmp_path).offenders
    lines = scene(48)[1].astype(float)
    lines[::2] += 1500
    assert "stripes" in {note.kind for note in check_band(lines, None, Limits(), where="x")}
    assert not list(check_band(scene(48)[1], None, Limits(), where="x"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x / 60, "8-bit picture"),
        (lambda x: x * 10.0, "scaled twice"),
        (lambda x: x - 2000.0, "negative"),
    ],
)
def test_numbers_in_another_unit_are_refused(change, words):
    x = change(scene().astype(np.float32)).clip(None, 250 if words == "8-bit picture" else None)
    with pytest.raises(RasterError, match=words) as caught:
        choose_scale(x, np.ones((40, 40), dtype=bool), S2, "auto", where="a.tif")
    assert caught.value.kind == "scale"


def test_reflectance_and_the_offset_of_new_baselines_are_found_out():
    x, valid = scene().astype(np.float32), np.ones((40, 40), dtype=bool)

    def rule(data, path=""):
        return choose_scale(data, valid, S2, "auto", where="a", paths=[path])

    new = "S2A_MSIL1C_20220301T100000_N0400_R022_T32UQD.SAFE/B02.jp2"
    assert rule(x).rule == "dn"
    assert rule(x / 20_000).rule == "reflectance"
    assert rule(x + 1000, new).rule == "dn_offset"
    assert rule(x + 1000).rule == "dn_offset"  # nothing but the numbers says so
    harmonised = rule(x, new)
    assert harmonised.rule == "dn"
    assert "already without offset" in harmonised.note
    old = "S2A_MSIL1C_20190301T100000_N0207_R022_T32UQD.SAFE/B02.jp2"
    assert rule(x, old).rule == "dn"


@pytest.mark.parametrize(
    ("sensor", "rule"), [("s2", "Reflectance"), ("s2", "db"), ("s1", "dn"), ("rgb", "power")]
)
def test_a_scale_that_is_misspelt_or_of_another_sensor_is_refused(sensor, rule):
    kind = {"s2": S2, "s1": S1, "rgb": SENSORS["rgb"]}[sensor]
    x = np.full((len(kind.bands), 4, 4), 0.1, dtype=np.float32)
    with pytest.raises(ConfigError, match=rf"scale of a: saw '{rule}', expected one of auto, {kind.unit}"):
        choose_scale(x, np.ones((4, 4), dtype=bool), kind, rule, where="a")


def test_a_wrong_scale_of_the_settings_is_said_once(tmp_path):
    optical = stack(tmp_path / "s2.tif", scene())
    with pytest.raises(ConfigError, match=r"data\.scale\.s2: saw 'power'"):
        look({"s2": optical}, tmp_path, scale={"s2": "power"})


def test_linear_radar_is_asked_about_not_guessed(tmp_path):
    linear = np.abs(RNG.normal(0.1, 0.05, (2, 40, 40))).astype(np.float32) + 0.01
    radar = write_raster(tmp_path / "s1.tif", linear, descriptions=("VV", "VH"))
    optical = stack(tmp_path / "s2.tif", scene())
    kind, reason = only(look({"s2": optical, "s1": radar}, tmp_path))
    assert kind == "scale"
    assert "10 log10" in reason
    assert not look({"s2": optical, "s1": radar}, tmp_path, scale={"s1": "power"}).offenders


def test_clouds_are_noted(tmp_path):
    white = scene()
    white[[1, 2, 3], :30] = 6000 + RNG.integers(0, 50, (3, 30, 40))
    path = stack(tmp_path / "a.tif", white)
    assert [one.kind for one in look({"s2": path}, tmp_path, soft=[1]).findings] == ["cloud"]
    scl = np.where(np.arange(40)[:, None] < 30, 9, 4).repeat(40, axis=1).astype(np.uint8)
    mask = write_raster(tmp_path / "scl.tif", scl)
    assert not look({"s2": path}, tmp_path, soft=[1], mask=mask).findings


def test_masks_that_are_no_scene_classification(tmp_path):
    optical = stack(tmp_path / "a.tif", scene())
    good = np.full((20, 20), 4, dtype=np.uint8)
    good[:4] = 9
    masks = {"classes": good * 10, "binary": (good == 9).astype(np.uint8), "all": good * 0 + 8, "good": good}
    masks = {name: write_raster(tmp_path / f"{name}.tif", x, step=20) for name, x in masks.items()}
    for name, words in (("classes", "0 to 11"), ("binary", "9 for cloud"), ("all", "every pixel is hidden")):
        kind, reason = only(look({"s2": optical}, tmp_path, mask=masks[name], soft=[1]))
        assert kind == "mask"
        assert words in reason
        assert f"{name}.tif" in reason
    assert not look({"s2": optical}, tmp_path, mask=masks["good"], soft=[1]).findings
    away = write_raster(tmp_path / "away.tif", good, step=20, origin=(900_000.0, 5_000_000.0))
    assert "every pixel is hidden" in only(look({"s2": optical}, tmp_path, mask=away, soft=[1]))[1]


def test_truncated_empty_text_and_missing_files(tmp_path):
    good = Path(write_raster(tmp_path / "good.tif", scene()))
    (tmp_path / "cut.tif").write_bytes(good.read_bytes()[: good.stat().st_size * 2 // 3])
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "text.tif").write_text("not found")
    expected = {"cut": "damaged", "empty": "empty", "text": "unreadable", "absent": "missing"}
    for name, word in expected.items():
        kind, reason = only(look({"s2": str(tmp_path / f"{name}.tif")}, tmp_path))
        assert kind == word, reason
        assert f"{name}.tif" in reason
    open_raster(tmp_path / "cut.tif").close()  # which is why opening is not enough


def test_large_numbers_do_not_wrap():
    n = Normalisation("x", ("B2",), (5000.0,), (2500.0,))
    assert n(np.array([[[12_000, 40_000]]], dtype=np.uint16)).ravel().tolist() == [255, 255]


def test_label_values_outside_the_table_and_counted_from_one(tmp_path):
    layout = Layout({"s2": S2}, DYNAMIC_WORLD)
    odd = write_raster(tmp_path / "odd.tif", np.array([[0, 42], [1, 255]], dtype=np.uint8))
    with pytest.raises(DataError, match="42"):
        labels_on(odd, layout, None)
    one = write_raster(tmp_path / "one.tif", np.arange(1, 10, dtype=np.uint8).reshape(3, 3))
    with pytest.raises(DataError, match="label_offset"):
        labels_on(one, layout, None)
    moved = labels_on(one, dataclasses.replace(layout, label_offset=-1), None)
    assert moved.ravel().tolist() == list(range(9))
    parts = write_raster(tmp_path / "parts.tif", np.array([[0.5, 1.0]], dtype=np.float32))
    with pytest.raises(RasterError, match="whole class numbers"):
        read_labels(parts)


def test_twins_and_the_same_ground_do_not_leak_from_train_to_test(demo_folder, tmp_path):
    home = tmp_path / "copy"
    shutil.copytree(demo_folder, home)
    quarantine = Quarantine()
    before, _ = read_items("demo", home, quarantine, fractions=FRACTIONS)
    train, test = (next(i for i in before if i.split == split) for split in ("train", "test"))
    for folder in ("s2c", "s1", "dw", "reference"):  # a place copied under another id
        if (home / folder / test.group).is_dir():
            shutil.rmtree(home / folder / test.group)
        if (home / folder / train.group).is_dir():
            shutil.copytree(home / folder / train.group, home / folder / test.group)
    items, layout = read_items("demo", home, quarantine, fractions=FRACTIONS)
    usable, _ = inspect(items, Checking(layout, {}, False, Limits()), quarantine)
    assert {one.kind for one in quarantine.offenders} == {"leak"}
    assert test.group not in {item.group for item in usable}
    with pytest.raises(DataError, match="split test"):
        check_enough([item for item in usable if item.split == "train"])


def test_a_stale_proj_path_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJ_DATA", str(tmp_path / "conda"))
    path = stack(tmp_path / "a.tif", scene(24))
    with open_raster(path) as dataset:
        assert dataset.crs.to_epsg() == 32631


def test_elevation_models(tmp_path):
    from rasterio.crs import CRS

    grid = Grid(CRS.from_epsg(32631), Affine(5, 0, 0, 0, -5, 0), 40, 40)
    rows, columns = np.indices((40, 40))
    dem = (1000 + 2 * rows + columns + RNG.normal(size=(40, 40))).astype(np.float32)

    def notes(data, nodata=None, own=grid):
        return {note.kind for note in check_dem(data, nodata, own, grid, where="dem.tif")}

    assert notes(dem) == set()
    void = dem.copy()
    void[:3] = -9999
    with pytest.raises(RasterError, match="-9999"):
        notes(void)
    assert "nodata" not in notes(void, -9999.0)
    with pytest.raises(RasterError, match="coarser"):
        notes(dem, own=dataclasses.replace(grid, transform=Affine(150, 0, 0, 0, -150, 0)))
    with pytest.raises(RasterError, match="no coordinate system"):
        notes(dem, own=dataclasses.replace(grid, crs=None))
    assert "units" in notes(dem * 9)
    seam = dem.copy()
    seam[:, 20:] += 80
    assert "seam" in notes(seam)
    filled = dem.copy()
    filled[5:35, 5:35] = 1010
    assert "flat" in notes(filled)
    degrees = dataclasses.replace(grid, crs=CRS.from_epsg(4326))
    assert "degrees" in notes(dem, own=degrees)


def test_geometry_of_a_plain_grid_is_silent():
    from rasterio.crs import CRS

    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 0, 0, -10, 0), 4, 4)
    assert list(check_geometry(grid, S2, Limits(), where="a")) == []
