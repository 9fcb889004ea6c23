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
# # From your own ECGs to explained cases
#
# A folder of recordings in, for every recording the probabilities and the training ECGs that they rest on.
#
# Set `KINDRED_ECG` to a folder with WFDB records, `.npy` files (with a `.json` beside each: fs, leads, units) or
# `.mat` files. Without it, the notebook uses generated recordings, as a **demo**. The model is the fused model of
# the last run (`make repro PIPELINE=ecg_prototypes`; another folder: `KINDRED_ECG_MODEL`). Where there is none, a
# small one is trained here on the demo, in half a minute: good enough to show the calls.

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
from IPython.display import Image

from medical.ecg.data.conform import conform
from medical.ecg.data.problems import BadRecord
from medical.ecg.data.recording import read_recording
from medical.ecg.demo import write_demo
from medical.ecg.explain import explain
from medical.ecg.figures import contribution_figure, print_figure
from medical.ecg.model.folder import load_network

warnings.filterwarnings("ignore", message="IProgress not found")
scratch = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The model


# %%
def small_model(folder: Path):
    """Train on 160 generated recordings: a toy, to have something to call."""
    from medical.ecg.data.branches import read_branches
    from medical.ecg.data.ptbxl import read_ptbxl
    from medical.ecg.learn.stages import branch_configs, project_and_fuse, train_branches
    from medical.ecg.prepared import load_prepared, prepare
    from medical.ecg.preprocess import Preprocessing

    items = read_ptbxl(write_demo(folder / "train", records=160, seed=7))
    prepare(items, folder / "prepared", branches=read_branches(), preprocessing=Preprocessing())
    data = load_prepared(folder / "prepared")
    prototypes = {"rhythm": 3, "morphology": 3, "global": 3}
    configs = branch_configs(
        data, blocks=(1, 1, 1, 1), widths=(8, 8, 12, 16), prototypes=prototypes, addon="identity",
        classifier="balanced", pool="max",
    )  # fmt: skip
    learning = {"batch_size": 16, "augment": None}
    options = {"steps": 40, "learning_rate": 0.005}
    branches, _ = train_branches(
        data, configs, None, options=options, learning=learning, seed=0, progress=False
    )
    return project_and_fuse(data, branches)[0]


home = Path(os.environ.get("KINDRED_ECG_MODEL", "outputs/ecg_prototypes/model"))
network = load_network(home) if (home / "config.json").is_file() else small_model(scratch)
print(f"{len(network.labels)} labels, {len(network.prototypes)} prototypes: {', '.join(network.labels[:12])}")

# %% [markdown]
# ## The recordings
#
# Units, lead names and the sampling rate are taken from each file. What cannot be used is listed with its reason;
# what was changed (resampled, a gap filled) is noted.

# %%
own = os.environ.get("KINDRED_ECG")
folder = Path(own) if own else write_demo(scratch / "demo", records=60, seed=11) / "records100"
print("your recordings" if own else "demo: generated recordings")
files = sorted(f for f in folder.rglob("*") if f.suffix in (".hea", ".npy"))
files += sorted(f for f in folder.rglob("*.mat") if not f.with_suffix(".hea").is_file())
rows, signals = [], []
for file in files[:60]:
    try:
        done = conform(read_recording(file), network.preprocessing.form)
    except BadRecord as error:
        rows.append({"file": file.name, "problem": error.kind, "notes": str(error)})
        continue
    signals.append(done.signal)
    notes = "; ".join(note.reason for note in done.notes)
    rows.append({"file": file.name, "problem": "", "notes": notes, "fs": done.quality["fs"]})
table = pd.DataFrame(rows)
used = table[table["problem"] == ""].reset_index(drop=True)
print(f"{len(used)} of {len(table)} recordings can be used")
table.head()

# %% [markdown]
# ## Probabilities

# %%
found = network.predict(np.stack(signals))
probabilities = pd.DataFrame(found["probabilities"], columns=network.labels, index=used["file"])
probabilities.head().style.format("{:.2f}").background_gradient(cmap="Blues", vmin=0, vmax=1)

# %%
figure, axes = plt.subplots(figsize=(7, 3))
axes.bar(network.labels, (found["probabilities"] > 0.5).sum(0), color="tab:blue")
axes.set_ylabel("recordings above 0.5")
axes.set_title("What was found" + ("" if own else " · demo"))
axes.tick_params(axis="x", rotation=45)
figure.tight_layout()

# %% [markdown]
# ## One case explained
#
# The logit is bias + the sum of weight times similarity over all prototypes: nothing else enters.

# %%
case = int(found["probabilities"].max(1).argmax())
account = explain(network, signals[case][None], ids=[used["file"][case]])[0]
label = account["labels"][0]
listed = sum(one["contribution"] for one in label["contributions"])
print(f"{account['id']}: p({label['label']}) = {label['probability']:.2f}")
print(
    f"logit {label['logit']:.4f} = bias {label['bias']:.4f} + rest {label['rest']:.4f} + listed {listed:.4f}"
)
columns = ["classes", "ecg_id", "similarity", "weight", "contribution", "start_s", "end_s"]
pd.DataFrame(label["contributions"])[columns]

# %%
Image(contribution_figure(scratch / "sum.png", label, title=f"{account['id']}: {label['label']}"))

# %%
best = max(label["contributions"], key=lambda one: one["contribution"])
print_figure(
    scratch / "print.png",
    network.preprocessing(signals[case]),
    network.preprocessing.fs,
    title=f"{account['id']} | {label['label']} {label['probability']:.2f} | like ECG {best['ecg_id']}",
    window=(best["start_s"], best["end_s"]),
    caption="" if own else "demo",
)
Image(scratch / "print.png")

# %% [markdown]
# ## The same from a shell, and from a server
#
# ```
# kindred ecg-explain recordings/*.hea --out explained
# kindred ecg-review-export review            # prints of all prototypes, and a table for clinicians
# make serve PIPELINE=ecg_prototypes
# ```
