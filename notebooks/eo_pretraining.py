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
# Own data first: set `KINDRED_EO_SCENE` to a GeoTIFF with named bands, a folder of band files (a SAFE product too) or a
# STAC item, and, if a model was registered by the pipeline, it is mapped by that. Without it, generated places in
# SSL4EO-S12's layout are used, and a small model is trained on them here; that takes under a minute.

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
from earth_observation.data.checks import Limits
from earth_observation.data.own import scene_files
from earth_observation.data.sources import Checking, inspect, read_items
from earth_observation.data.write import write_store
from earth_observation.demo import write_demo
from earth_observation.evaluate import embed, linear_probes
from earth_observation.learn.heads import adapt
from earth_observation.learn.pretrain import pretrain
from earth_observation.model import load_model
from earth_observation.prepared import scene_of, starting_model, untrained
from earth_observation.scene import Tiling, map_scene

torch.set_num_threads(1)
scratch = Path(tempfile.mkdtemp(prefix="kindred-notebook-"))
own_scene = os.environ.get("KINDRED_EO_SCENE")
print("own scene:", own_scene or "none, generated places are used")

# %% [markdown]
# ## 1. Read and check
#
# Every file is read once. What cannot be used is listed with its reason; what is worth knowing is a warning.

# %%
quarantine = Quarantine()
root = write_demo(scratch / "demo", places=14, side=96, nuisance=0.25)
items, layout = read_items("demo", root, quarantine, fractions={"train": 0.6, "valid": 0.1, "test": 0.3})
items, facts = inspect(items, Checking(layout, {}, False, Limits()), quarantine)
print(facts["images"], facts["scales"])
print(quarantine.table())

# %% [markdown]
# ## 2. Chips
#
# Chips are normalised by the published statistics of SSL4EO-S12 and labelled by the free product. A class is present
# from 5 % of the valid pixels on.

# %%
(scratch / "chips").mkdir()
store = write_store(items, layout, scratch / "chips", size=48, min_fraction=0.05)
print(len(store), "chips;", {name: int(n) for name, n in zip(store.table.names, store.soft.sum(0))})

# %% [markdown]
# ## 3. Pretrain without reference labels, put heads on from few
#
# SoftCon: views of the same ground on two dates belong together, and any two chips as far as their land cover overlaps.

# %%
architecture = {"backbone": "resnet", "widths": [16, 32, 64, 96], "blocks": [1, 1, 1, 1]}
model = starting_model(store, product="s2", architecture=architecture, crop=32, seed=0)
result = pretrain(
    model.encoder, store, product="s2", steps=40, batch_size=32, crop=32, weight=1.0, mask_ratio=0.0,
    least_area=0.4, learning_rate=3e-3, progress=False, threads=1,
)  # fmt: skip
print({key: round(value, 3) for key, value in result.history[-1].items() if key in ("loss", "hard", "soft")})
shares = [0.1, 1.0]
for name, encoder in (("pretrained", model.encoder), ("random", untrained(model, 0).eval())):
    found = linear_probes(embed(encoder, store, "s2"), store, shares, seed=0)
    print(f"{name:10s}", {f"{share:.0%} of the labels": round(s.value, 3) for share, s in found.items()})
adapt(
    model, store, "s2", labelled=0.3, regularisation=1.0, map_steps=60, change_steps=0, finetune_steps=0, batch_size=16,
    learning_rate=5e-3, progress=False, threads=1,
)  # fmt: skip
model.save(scratch / "model")

# %% [markdown]
# ## 4. The map
#
# Land cover, confidence and embeddings as GeoTIFFs with the scene's own georeference, and a quick-look.

# %%
folder, tiling = scratch / "model", Tiling(64, 32)
if own_scene:
    from core.tracking.find import model_folder

    folder, tiling = model_folder("models:/eo_pretraining@champion"), Tiling()
    files = scene_files(own_scene, load_model(folder).sensor, Path(own_scene).resolve().parent)
else:
    files = scene_of(items, "s2").files["s2"]
report = map_scene(folder, files, scratch / "maps", tiling=tiling)
print({key: report[key] for key in ("size", "crs", "scale", "known_share", "warnings", "files")})
display(Image(filename=str(scratch / "maps" / "scene_quicklook.png")))

# %% [markdown]
# ## 5. How much ground is what

# %%
with rasterio.open(scratch / "maps" / "scene_landcover.tif") as source:
    cover, pixel = source.read(1), abs(source.transform.a * source.transform.e) / 10_000
for number, count in zip(*np.unique(cover, return_counts=True)):
    name = "no data" if number == 255 else report["classes"][number]
    print(f"{name:20s} {count * pixel:10.1f} ha")
