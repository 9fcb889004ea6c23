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
# # From your own films, ECGs and reports to a cross-modal search
#
# Set the environment variable `KINDRED_XRAY_FOLDER` to a folder with a `manifest.csv` (see the next cell but one).
# Any of film, ECG and report may be missing in a row. Without it, the notebook generates a small **demo**.
#
# `make repro PIPELINE=xray_ecg_report` does the same at full size and registers a model.

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
warnings.filterwarnings("ignore", message="IProgress not found")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from core.data.checks import Quarantine
from medical.alignment.data.sources import Checks, check_items, read_items
from medical.alignment.demo import write_demo
from medical.alignment.learn.train import new_space, train_space
from medical.alignment.phantom import FINDINGS
from medical.alignment.prepared import load_prepared, prepare
from medical.alignment.preprocess import Preprocessing
from medical.alignment.search import Library

pd.set_option("display.max_colwidth", 70)

# %% [markdown]
# ## Your data
#
# ```
# subject_id,xray_path,xray_time,ecg_path,ecg_time,report_xray,report_ecg,labels,split
# p7,films/a1.png,2024-03-01 08:00,ecgs/a1.hea,2024-03-01 09:30,Clear lungs and a normal heart.,Sinus rhythm.,none,
# ```

# %%
own = os.environ.get("KINDRED_XRAY_FOLDER")
scratch = Path(tempfile.mkdtemp())
if own:
    items = read_items("manifest", own, manifest=str(Path(own) / "manifest.csv"))
else:
    folder = write_demo(scratch / "demo", studies=120, missing=0.2)
    items = read_items("demo", str(folder), findings=FINDINGS)
quarantine = Quarantine()
items, facts = check_items(items, quarantine, Checks())
print("your data" if own else "demo: generated films, ECGs and reports")
print(f"{len(items)} items of {facts['patients']} patients; what they have: {facts['patterns']}")
if quarantine.findings:
    print(quarantine.table())

# %% [markdown]
# ## One space
#
# A small model, trained here in seconds. For real data take the settings of `params.paper.yaml`, or a registered
# model: `load_space` of `medical.alignment.model.folder` reads its folder.

# %%
prepare(items, scratch / "prepared", preprocessing=Preprocessing(image_size=48, mean=0.5, std=0.25))
prepared = load_prepared(scratch / "prepared")
space = new_space(
    prepared,
    encoder="tiny",
    length=64,
    text_width=32,
    text_layers=1,
    text_heads=4,
    lora=None,
    architecture={
        "patch": 12,
        "ecg_patch": 50,
        "ecg_window": 1,
        "ecg_stem": 24,
        "width": 32,
        "depth": 1,
        "heads": 4,
        "attention_drop": (0.0, 0.0),
        "dim": 32,
        "head_hidden": 64,
        "head_norm": "layer",
        "pool": "patches",
    },
    objective={"method": "pairwise"},
    seed=0,
)
result = train_space(
    space,
    prepared,
    steps=60,
    batch_size=32,
    augmentation=None,
    modality_dropout=0.0,
    optimization={"learning_rate": 0.004, "weight_decay": 0.05},
    seed=0,
    progress=False,
)
print(f"loss {result.history[0]['loss']:.2f} -> {result.history[-1]['loss']:.2f} in {result.seconds:.0f} s")

# %% [markdown]
# ## A sentence asks for films

# %%
library = Library(space, prepared)
question = "The report from Xray is: There are bilateral pleural effusions. There is severe cardiomegaly."
films = library.by_text(question, "xray", top=5)
films.drop(columns=["subject"])

# %% [markdown]
# ## A film asks for ECGs and reports

# %%
first = int(films["row"].iloc[0])
library.by_item(first, "xray", "ecg", top=3).drop(columns=["subject"])

# %%
library.by_item(first, "xray", "text", top=3)[["score", "id", "text"]]

# %% [markdown]
# ## A picture of the answer

# %%
figure, panels = plt.subplots(2, len(films), figsize=(2.5 * len(films), 4.4))
for place, row in enumerate(films["row"]):
    panels[0, place].imshow(prepared.film(row), cmap="gray", vmin=0, vmax=255)
    panels[0, place].set_title(f"{place + 1}: {films['score'].iloc[place]:.2f}", fontsize=9)
    panels[0, place].set_axis_off()
    panels[1, place].set_axis_off()
    if prepared.present[row, 1]:
        signal = prepared.signal(row)[1, :400]
        panels[1, place].plot(np.arange(len(signal)) / 100, signal, color="black", linewidth=0.7)
    else:
        panels[1, place].text(0.5, 0.5, "no ECG", ha="center", va="center")
figure.suptitle("Films found for the sentence, and lead II of their ECGs" + ("" if own else " · demo"))
figure.tight_layout()

# %% [markdown]
# ## From a server
#
# ```
# make serve PIPELINE=xray_ecg_report
# curl localhost:5001/invocations -H 'Content-Type: application/json' \
#      -d '{"text": "There is severe pulmonary edema.", "top": 3}'
# ```
