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
# # From your recordings to a timeline
#
# Tags of a folder, search by a sentence, and what is heard from when to when.
#
# Set the environment variable `KINDRED_SOUNDS` to a folder of recordings (wav, flac, ogg, opus, mp3, aiff),
# or edit the third cell. Without it the notebook makes a few synthetic recordings, as a **demo**.
#
# The model is the registered champion (`make repro PIPELINE=audio_temporal` makes one), or the folder named
# in `KINDRED_SOUND_MODEL`, which may also hold CLAP weights as transformers saves them. Where there is
# neither, a small one is trained here in some seconds, on synthetic sounds; it knows those and nothing else.

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
    if (folder / "pyproject.toml").is_file() and (folder / "audio_language").is_dir()
)
os.chdir(root)
sys.path = [str(root), *(entry for entry in sys.path if Path(entry or ".").resolve() != root / "notebooks")]

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile

from audio_language.cli import REGISTERED, open_model
from audio_language.collection import embed_folder, search_rows, tag_rows
from audio_language.timeline import draw_timeline, timeline, timeline_rows
from core.data.checks import Quarantine
from core.errors import KindredError
from core.learning.determinism import generator

warnings.filterwarnings("ignore", message="IProgress not found")

# %% [markdown]
# ## The model

# %%


def small_model():
    """A model that is trained here, on synthetic sounds."""
    from audio_language.adapt import adapt, plan_pairs
    from audio_language.data.sources import read_clips
    from audio_language.data.store import write_store
    from audio_language.demo import write_demo
    from audio_language.learn import train_base
    from audio_language.prepared import starting_model, with_head

    place = Path(tempfile.mkdtemp())
    demo = write_demo(place / "demo", classes=8, clips=3, seconds=0.5, rate=8000)
    (place / "store").mkdir()
    clips = write_store(read_clips("demo", demo, Quarantine()), place / "store", 8000)
    front = {"sample_rate": 8000, "window": 256, "hop": 128, "high": 4000.0, "seconds": 1.0, "mels": 32}
    model = starting_model(clips.clips, front_end=front, depths=[1, 1], width=8, dim=32, text_layers=2)
    quiet = {"progress": False, "threads": 1}
    train_base(
        model.net, clips, model.tokenizer, model.front, steps=80, batch_size=32, learning_rate=4e-3, **quiet
    )
    model = with_head(model, {"segments": 4, "inner": 32}, seed=0)
    plan = plan_pairs(clips, 100)
    adapt(model, clips, plan.train, steps={"single": 20, "order": 120}, batch_size=16, text_layers=2,
          learning_rate=3e-3, **quiet)  # fmt: skip
    return model


try:
    model = open_model(os.environ.get("KINDRED_SOUND_MODEL", REGISTERED))
    print("model:", os.environ.get("KINDRED_SOUND_MODEL", REGISTERED))
except KindredError as missing:
    print(f"no model yet ({missing}); training a small one on synthetic sounds")
    model = small_model()
print(f"it hears {model.seconds:g} s at a time and knows {len(model.labels)} labels")

# %% [markdown]
# ## The recordings

# %%


def demo_recordings(folder: Path) -> Path:
    """Four recordings of synthetic sounds, one after the other; the names say in which order."""
    from audio_language.synth import CLASSES, event

    rng = generator(7, "notebook")
    known = [label for label in model.labels if label in CLASSES] or list(CLASSES)
    seconds = model.seconds / 2
    for number in range(4):
        chosen = rng.choice(known, 3 + number, replace=False)
        wave = np.concatenate([event(name, 16_000, seconds, rng) for name in chosen])
        soundfile.write(folder / f"{number}-{'-'.join(chosen)}.wav", wave, 16_000)
    return folder


own = os.environ.get("KINDRED_SOUNDS")
recordings = Path(own) if own else demo_recordings(Path(tempfile.mkdtemp()))
print("your recordings" if own else "demo: synthetic recordings", "in", recordings)

# %% [markdown]
# ## Tags
#
# Every file is checked first: what is cut, empty, not a number or too short is listed, not guessed at.
# Give labels of your own with `labels=[...]`, and another wording with `prompt="a recording of {}"`.

# %%
quarantine = Quarantine()
found = embed_folder(model, recordings, quarantine)
print(quarantine.table() if quarantine.findings else "no file was left out")
pd.DataFrame(tag_rows(model, found, top=2)).head(12)

# %% [markdown]
# ## Search by a sentence

# %%
first, second = (label.replace("_", " ") for label in model.labels[:2])
pd.DataFrame(search_rows(model, found, [first, f"{first} before {second}"], top=3))

# %% [markdown]
# ## What is heard when

# %%
file = max(found.files, key=lambda name: (recordings / name).stat().st_size)
events = timeline(model, recordings / file)
pd.DataFrame(timeline_rows(file, events)).head(20)

# %%
figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
draw_timeline(axes, events, title=file + ("" if own else " · demo"))

# %% [markdown]
# ## The same from a shell, and from a server
#
# ```
# kindred tag FOLDER --out results
# kindred find-sound "a dog before a siren" --in FOLDER
# kindred timeline recording.wav
# make serve PIPELINE=audio_temporal
# curl localhost:5001/invocations -H 'Content-Type: application/json' \
#      -d "{\"audio\": \"$(base64 -w0 recording.wav)\", \"timeline\": true}"
# ```
