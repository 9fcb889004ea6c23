# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a scene to a land-cover map
#
# Set `KINDRED_EO_SCENE` to a scene of yours: a GeoTIFF with named bands, a folder of band files (a SAFE product too),
# or a STAC item. It is mapped by the registered model (`make repro PIPELINE=eo_pretraining`), or by the one that
# `KINDRED_EO_MODEL` names: a folder, or `models:/NAME@ALIAS`. `KINDRED_EO_MASK` may name a scene classification (SCL)
# of the same ground. The maps are written to `KINDRED_EO_OUTPUT` (a temporary folder by default); nothing is trained.
#
# Without a scene the notebook generates places in SSL4EO-S12's layout and trains a small model on them, as a
# **demo**; that takes under a minute.

# %%
import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import rasterio
import torch
from IPython.display import Image, display

from core.data.checks import Quarantine
from core.errors import DataError
from core.tracking.find import model_folder
from earth_observation.data.checks import Limits
from earth_observation.data.own import scene_files
from earth_observation.data.raster import RasterStack
from earth_observation.data.sources import Checking, inspect, read_items
from earth_observation.data.write import write_store
from earth_observation.demo import write_demo
from earth_observation.evaluate import embed, linear_probes
from earth_observation.learn.heads import adapt
from earth_observation.learn.pretrain import pretrain
from earth_observation.model import load_model, stride_of
from earth_observation.prepared import scene_of, starting_model, untrained
from earth_observation.scene import Tiling, map_scene

torch.set_num_threads(1)
scratch = Path(tempfile.mkdtemp(prefix="kindred-notebook-"))
own = os.environ.get("KINDRED_EO_SCENE")
output = Path(os.environ.get("KINDRED_EO_OUTPUT") or scratch / "maps")
print("your scene: " + own if own else "demo: generated places")

# %% [markdown]
# ## 1. Read and check
#
# Of a scene of yours: its bands by name, as the model wants them. Of the demo: every file is read once; what cannot be
# used is listed with its reason, and what is worth knowing is a warning.

# %%
if own:
    if not Path(own).exists():
        raise DataError(f"KINDRED_EO_SCENE {own}", seen="no such file or folder")
    folder = model_folder(os.environ.get("KINDRED_EO_MODEL") or "models:/eo_pretraining@champion")
    model = load_model(folder)
    cell = stride_of(model.encoder)
    tiling = Tiling(224 - 224 % cell, 160 - 160 % cell)
    files = scene_files(own, model.sensor, Path(own).resolve().parent)
    stack = RasterStack(files, model.sensor, fill=True)
    print(f"{stack.grid.height} x {stack.grid.width} pixels, {stack.grid.crs}")
    for band, (path, index) in zip(model.sensor.bands, stack.placed):
        print(f"{band:4s}", f"{Path(path).name}, band {index}" if path else "missing: 0 after normalisation")
    stack.close()
else:
    quarantine = Quarantine()
    root = write_demo(scratch / "demo", places=14, side=96, nuisance=0.25)
    items, layout = read_items("demo", root, quarantine, fractions={"train": 0.6, "valid": 0.1, "test": 0.3})
    items, facts = inspect(items, Checking(layout, {}, False, Limits()), quarantine)
    print(facts["images"], facts["scales"])
    print(quarantine.table())

# %% [markdown]
# ## 2. Chips of the demo
#
# Chips are normalised by the published statistics of SSL4EO-S12 and labelled by the free product. A class is present
# from 5 % of the valid pixels on.

# %%
if not own:
    (scratch / "chips").mkdir()
    store = write_store(items, layout, scratch / "chips", size=48, min_fraction=0.05)
    print(len(store), "chips;", {name: int(n) for name, n in zip(store.table.names, store.soft.sum(0))})

# %% [markdown]
# ## 3. Demo: pretrain without reference labels, put heads on from few
#
# SoftCon: views of the same ground on two dates belong together, and any two chips as far as their land cover overlaps.
# With labelled scenes of your own, `kindred new eo_pretraining FOLDER` prepares the pipeline that does this.

# %%
if not own:
    architecture = {"backbone": "vit", "patch": 8, "dim": 96, "depth": 4, "heads": 4}
    model = starting_model(store, product="s2", architecture=architecture, crop=32, seed=0)
    result = pretrain(
        model.encoder, store, product="s2", steps=40, batch_size=32, crop=32, weight=1.0, mask_ratio=0.0,
        least_area=0.4, learning_rate=3e-3, progress=False, threads=1,
    )  # fmt: skip
    last = result.history[-1]
    print({key: round(value, 3) for key, value in last.items() if key in ("loss", "hard", "soft")})
    shares = [0.1, 1.0]
    for name, encoder in (("pretrained", model.encoder), ("random", untrained(model, 0).eval())):
        found = linear_probes(embed(encoder, store, "s2"), store, shares, seed=0)
        print(f"{name:10s}", {f"{share:.0%} of the labels": round(s.value, 3) for share, s in found.items()})
    adapt(
        model, store, "s2", labelled=0.3, regularisation=1.0, map_steps=60, change_steps=0, finetune_steps=0,
        batch_size=16, learning_rate=5e-3, progress=False, threads=1,
    )  # fmt: skip
    model.save(scratch / "model")
    folder, tiling = scratch / "model", Tiling(64, 32)
    files = scene_of(items, "s2").files["s2"]

# %% [markdown]
# ## 4. The map
#
# Land cover, confidence and embeddings as GeoTIFFs with the scene's own georeference, and a quick-look. Notes say what
# was found out about the scene: its scale, clouds without a mask, a band that was missing.

# %%
mask = (os.environ.get("KINDRED_EO_MASK") or "") if own else ""
report = map_scene(folder, files, output, tiling=tiling, mask=mask, embedding=True)
print({key: report[key] for key in ("size", "crs", "scale", "known_share", "files")})
for warning in report["warnings"]:
    print("note:", warning)
display(Image(filename=str(output / "scene_quicklook.png")))

# %% [markdown]
# ## 5. How much ground is what

# %%
with rasterio.open(output / "scene_landcover.tif") as source:
    cover, pixel = source.read(1), abs(source.transform.a * source.transform.e) / 10_000
for number, count in zip(*np.unique(cover, return_counts=True)):
    name = "no data" if number == 255 else report["classes"][number]
    print(f"{name:20s} {count * pixel:10.1f} ha")
