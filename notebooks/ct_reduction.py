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
# # Which of my CT slices are worth training on?
#
# From a folder of DICOM (or NIfTI) to a list of slices to keep, in four calls: `read_source`,
# `hash_slices`, `select`, `save_selection`.
#
# Set the environment variable `KINDRED_CT` to your folder (or edit the second cell). Without it, the
# notebook generates a few patients in the layout of LIDC-IDRI, as a **demo**.

# %%
# ruff: noqa: E402
import os
import sys
import tempfile
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

from medical.ct.coverage import height_deciles, kept_by, kept_curve, warnings_of
from medical.ct.data.layouts import read_source
from medical.ct.data.series import series_table, slice_table
from medical.ct.demo import write_demo
from medical.ct.images import load_images
from medical.ct.select import select
from medical.ct.selection import save_selection, slices_of, with_selection
from medical.ct.store import codes_of, hash_slices

# %%
own = os.environ.get("KINDRED_CT")
scratch = Path(tempfile.mkdtemp())
data = Path(own) if own else scratch / "demo"
source = os.environ.get("KINDRED_CT_SOURCE", "dicom") if own else "lidc"  # dicom, nifti, lidc, autopet, ...
window = "chest"  # lung, chest, brain, bone, abdomen, angio, or per_slice_minmax as published
results = Path("ct_reduction") if own else scratch / "results"
if not own:
    data.mkdir()
    write_demo(data, patients=6, size=64, density=0.5)
print("your data" if own else "demo: generated patients")

# %% [markdown]
# ## What is there
#
# Files are grouped into series by what their headers say, and ordered by position. What is no axial CT
# slice in Hounsfield units is left out, with the reason.

# %%
scan = read_source(source, data)
print(f"{scan.checked:,} files read, {len(scan.series)} series")
pd.DataFrame([vars(problem) for problem in scan.rejected], columns=["place", "kind", "reason"]).groupby(
    "kind"
).agg(files=("place", "size"), first=("reason", "first"))

# %%
for warning in scan.warnings:
    print(f"{warning.kind}: {warning.reason}")
series_table(scan.series).drop(columns="series").head(8)

# %% [markdown]
# ## Hash
#
# Each slice becomes 64 bits. A second run reads only what is new; a run that was killed goes on.

# %%
hashed = hash_slices(data, slice_table(scan.series), window=window, cache=results / "cache")
print(f"{len(hashed.table):,} slices hashed, {len(hashed.problems)} left out")
for problem in hashed.problems:
    print(f"{problem.kind}: {problem.place}: {problem.reason}")
again = hash_slices(data, slice_table(scan.series), window=window, cache=results / "cache")
print(f"{again.computed} series read the second time")

# %% [markdown]
# ## How much is redundant?

# %%
curve = pd.DataFrame(kept_curve(codes_of(hashed.table), hashed.table["series"].to_numpy(str)))
figure, axes = plt.subplots(figsize=(6, 3.4))
axes.fill_between(
    curve["threshold"], curve["lowest"], curve["highest"], alpha=0.15, label="lowest to highest series"
)
axes.plot(curve["threshold"], curve["ratio"], "o-", label="all series")
axes.set_xlabel("threshold: bits of 64 that may differ")
axes.set_ylabel("kept share")
axes.set_ylim(0, 1)
axes.legend()
axes.set_title("Kept share by threshold" + ("" if own else " (demo data)"))
figure.tight_layout()

# %% [markdown]
# ## Choose
#
# Within each series the first slice is kept, everything within 6 bits of it is dropped, and so on: the
# published rule ("Hash-6"). Every dropped slice has a kept one that stands for it.

# %%
selection = select(slices_of(hashed.table), method="dhash", threshold=6)
table = with_selection(hashed.table, selection)
save_selection(table, results / "selection", selection=selection, method="dhash", window=window)
print(f"kept {len(selection.keep):,} of {len(table):,} slices ({selection.ratio:.1%})")
print("see", results / "selection" / "kept.csv")
pd.read_csv(results / "selection" / "kept.csv").drop(columns=["series", "path"]).head()

# %% [markdown]
# ## Look before you train
#
# Kept slices above; below each the dropped slice that is least like it.

# %%
lost = table[~table["kept"]].sort_values("score", ascending=False).drop_duplicates("representative")
lost = lost.iloc[np.linspace(0, len(lost) - 1, min(6, len(lost))).astype(int)]
above = load_images(data, table.iloc[lost["representative"]], window=window, size=128)
below = load_images(data, lost, window=window, size=128)
figure, panels = plt.subplots(2, len(lost), figsize=(1.7 * len(lost), 3.8), squeeze=False)
for column in range(len(lost)):
    panels[0, column].imshow(above[column], cmap="gray")
    panels[1, column].imshow(below[column], cmap="gray")
    panels[1, column].set_title(f"{lost['score'].iloc[column]:.0f} bits", fontsize=9)
for axes in panels.flat:
    axes.axis("off")
figure.suptitle("Kept, and dropped for it" + ("" if own else " (demo data)"))
figure.tight_layout()

# %%
keep = table["kept"].to_numpy()
volumes, heights = table["series"].to_numpy(str), table["z_mm"].to_numpy()
for sentence in warnings_of(keep, volumes, heights, table["label"].to_numpy()):
    print("look:", sentence)
pd.DataFrame(kept_by(keep, height_deciles(volumes, heights))).rename(columns={"group": "tenth of the body"})

# %% [markdown]
# ## The same from a shell
#
# ```
# kindred ct hash FOLDER --source dicom --out ct_reduction
# kindred ct select --out ct_reduction --threshold 6
# kindred ct query --out ct_reduction --new another.dcm
# ```
