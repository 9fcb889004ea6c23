"""A tiny data set and an untrained model, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio_language.data.sources import read_clips
from audio_language.data.store import AudioStore, write_store
from audio_language.demo import write_demo
from audio_language.embed import SoundModel
from audio_language.prepared import starting_model, with_head
from core.data.checks import Quarantine

RATE = 8000
FRONT = {
    "sample_rate": RATE,
    "mels": 32,
    "window": 256,
    "hop": 128,
    "low": 30.0,
    "high": 4000.0,
    "seconds": 1.0,
}
SIZES = {"width": 8, "depths": (1, 1), "dim": 16, "text_width": 16, "text_layers": 2}


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory) -> Path:
    """Eight classes of half a second in ESC-50's layout."""
    return write_demo(tmp_path_factory.mktemp("sounds") / "demo", classes=8, clips=2, seconds=0.5, rate=RATE)


@pytest.fixture(scope="session")
def store(demo_folder, tmp_path_factory) -> AudioStore:
    """The same, decoded."""
    return write_store(read_clips("esc50", demo_folder, Quarantine()), tmp_path_factory.mktemp("store"), RATE)


@pytest.fixture(scope="session")
def front() -> dict:
    """Fields of the front end: windows of a second at 8 kHz."""
    return FRONT


@pytest.fixture(scope="session")
def untrained(store) -> SoundModel:
    """A model with random weights and a temporal head; not to be trained in place."""
    base = starting_model(store.clips, seed=0, front_end=FRONT, **SIZES)
    return with_head(base, {"segments": 4, "inner": 16, "heads": 2}, 0)
