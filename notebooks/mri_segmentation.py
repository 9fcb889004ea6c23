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
# # From a folder of MR volumes to masks
#
# Set `KINDRED_MRI_FOLDER` to a folder of NIfTI volumes (`*.nii.gz`), and `KINDRED_MRI_MODEL` to a network of
# yours (`outputs/mri_segmentation/finetuned/pretrained-8`, say). The masks are written beside each other in
# `KINDRED_MRI_OUTPUT` (a temporary folder by default), with the geometry of their images.
#
# Without these variables the notebook generates a few hearts and trains a very small network on them for some
# seconds, as a **demo**: the steps are the real ones, the masks are rough.

# %%
# ruff: noqa: E402
import os
import sys
import tempfile
import warnings
from pathlib import Path

root = next(
    folder
    for folder in (Path.cwd(), *Path.cwd().parents)
    if (folder / "pyproject.toml").is_file() and (folder / "medical").is_dir()
)
os.chdir(root)
sys.path = [str(root), *(entry for entry in sys.path if Path(entry or ".").resolve() != root / "notebooks")]

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from core.data.checks import Quarantine
from medical.mri.data.case import Case, Listing, draw_splits
from medical.mri.data.checks import Reading, Rules, inspect, read_image
from medical.mri.data.layouts import read_acdc
from medical.mri.data.nifti import write_mask
from medical.mri.demo import write_demo
from medical.mri.evaluate import segment
from medical.mri.model import Architecture, load_model

warnings.filterwarnings("ignore", message="IProgress not found")
scratch = Path(tempfile.mkdtemp())
own = os.environ.get("KINDRED_MRI_FOLDER")
model = os.environ.get("KINDRED_MRI_MODEL")
output = Path(os.environ.get("KINDRED_MRI_OUTPUT") or scratch / "masks")
if own and not model:
    raise SystemExit("set KINDRED_MRI_MODEL too: the folder of a fine-tuned network")
print("your volumes" if own else "demo: generated hearts")

# %% [markdown]
# ## Volumes, and what is wrong with them
#
# Every file is read and checked before anything else happens: damaged files, NaN, wrong spacing, slices that are
# not axial, masks that lie elsewhere. Three files of the demo are broken on purpose.

# %%
size, spacing, parts, reading = (32, 32), 4.0, 4, Reading()
if own:
    network, architecture, config = load_model(model)
    size, spacing, parts = architecture.size, config["spacing"], 1
    reading = Reading(**config["reading"])  # how its training volumes were read
    files = sorted(Path(own).rglob("*.nii*"))
    cases = [Case(file.name.partition(".nii")[0], file.parent.name, str(file)) for file in files]
    listing = Listing(tuple(cases), tuple(config["structures"]), {})
else:
    listing = read_acdc(write_demo(scratch / "demo", patients=12, unlabelled=2, pixels=32))

found = Quarantine()
usable, facts = inspect(listing, Rules(parts, spacing, size, reading=reading), found)
print(f"{len(usable.cases)} of {len(listing.cases)} volumes can be used")
pd.DataFrame([vars(one) for one in found.findings], columns=["file", "level", "kind", "reason"])

# %% [markdown]
# ## A network
#
# Yours is loaded. The demo trains one: the encoder by the global loss on all volumes, the decoder by the local
# loss, then everything on six labelled volumes. `make repro PIPELINE=mri_segmentation` does this properly.

# %%
if not own:
    from medical.mri.learn.train import finetune, fresh_unet, labelled_choice, pretrain_global, pretrain_local
    from medical.mri.prepared import prepare

    usable = draw_splits(usable, {"train": 0.7, "valid": 0.1, "test": 0.2})
    prepared = prepare(usable, spacing=spacing, size=size, reading=reading)
    architecture = Architecture(
        size, prepared.classes, widths=(8, 16, 32), head_hidden=64, head_dim=32, momentum=0.1
    )
    network = fresh_unet(architecture)
    train, batch = prepared.volumes("train"), {"volumes": 3, "parts": parts, "progress": False}
    learned = pretrain_global(network, architecture, prepared, train, kind="gd", steps=24, **batch)
    pretrain_local(network, architecture, prepared, train, kind="lr", steps=12, blocks=2, **batch)
    tuned = finetune(
        network, prepared, labelled_choice(prepared, 6), steps=60, batch_size=12, learning_rate=0.005,
        validate_every=20, progress=False,
    )  # fmt: skip
    print(f"validation Dice {tuned.best_value:.2f} after {tuned.best_step} steps")

# %% [markdown]
# ## Masks
#
# Each mask has the shape, the axes and the affine of its image, so that any viewer lays it over.

# %%
rows, shown = [], []
chosen = usable.cases if own else [case for case in usable.cases if case.split == "test"]
for case in chosen:
    volume, _ = read_image(case, reading)
    mask = segment(network, volume.voxels, volume.geometry, spacing=spacing, size=size)
    file = write_mask(output / f"{case.id}.nii.gz", mask, volume.geometry)
    counts = np.bincount(mask.ravel(), minlength=len(usable.structures) + 1)[1:]
    rows.append(
        {"id": case.id, "file": file.name}
        | dict(zip((f"{name} (ml)" for name in usable.structures), counts * volume.geometry.millilitres))
    )
    if len(shown) < 3:
        shown.append((case, volume, mask))
print(f"{len(rows)} masks in {output if own else 'a temporary folder'}")
pd.DataFrame(rows).round(1)

# %%
figure, panels = plt.subplots(len(shown), 3, figsize=(7, 2.4 * len(shown)), squeeze=False)
for line, (case, volume, mask) in zip(panels, shown):
    image, answer = (volume.geometry.to_ras(one) for one in (volume.voxels, mask))
    for axes, share in zip(line, (0.3, 0.5, 0.7)):
        level = int(share * image.shape[2])
        axes.imshow(image[:, :, level].T, cmap="gray", origin="lower")
        outlined = np.ma.masked_equal(answer[:, :, level].T, 0)
        axes.imshow(
            outlined, cmap="Set1", vmin=1, vmax=9, alpha=0.45, origin="lower", interpolation="nearest"
        )
        axes.set_title(f"{case.id}, slice {level + 1}", fontsize=8)
        axes.set_axis_off()
figure.suptitle("Masks" + ("" if own else " (demo)"))
figure.tight_layout()

# %% [markdown]
# ## Your own labels
#
# To train on your data: a CSV with `id,image,label,group,split` (`label` may be empty, `group` is the patient),
# `data.source: manifest` with `root`, `manifest` and `structures` in `pipelines/mri_segmentation/params.yaml`,
# then `make repro PIPELINE=mri_segmentation`.
