"""The demo: synthetic sound events as files in the layout of ESC-50, deterministic, nothing to download."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np

from audio_language.synth import CLASSES, event
from core.errors import ConfigError
from core.files import atomic_directory, atomic_write
from core.learning.determinism import generator

FOLDS = 5


def write_demo(
    folder: str | os.PathLike[str],
    *,
    classes: int = 24,
    clips: int = 4,
    seconds: float = 1.0,
    rate: int = 16_000,
    seed: int = 0,
) -> Path:
    """Write a data set of sound events that does not exist anywhere: ``audio/*.wav`` and ``meta/esc50.csv``.

    Files are called FOLD-CLIP-TAKE-TARGET.wav as in ESC-50 (Piczak 2015): 16-bit mono. Every clip is a
    source of its own.

    Args:
        folder: replaced whole.
        classes: how many, 3 to 24. clips: of each class in each of the five folds.
        seconds, rate: of a clip (ESC-50 has 5 s at 44.1 kHz).
        seed: fixes every sample.

    Returns:
        The folder.

    Raises:
        ConfigError: numbers out of range.
    """
    import soundfile

    if not 3 <= classes <= len(CLASSES) or clips < 1 or not 0.3 <= seconds <= 10:
        raise ConfigError(
            "demo (classes, clips, seconds)",
            seen=(classes, clips, seconds),
            expected=f"3 to {len(CLASSES)}, >= 1, 0.3 to 10",
        )
    names = list(CLASSES)[:classes]
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
    with atomic_directory(folder) as out:
        (out / "audio").mkdir()
        for fold in range(1, FOLDS + 1):
            for target, name in enumerate(names):
                for number in range(clips):
                    source = 100_000 + (fold * 1000 + target) * 100 + number
                    wave = event(name, rate, seconds, generator(seed, "event", name, fold, number))
                    file = f"{fold}-{source}-A-{target}.wav"
                    soundfile.write(out / "audio" / file, np.round(wave * 32767).astype(np.int16), rate)
                    table.writerow([file, fold, target, name, target < 10, source, "A"])
        atomic_write(out / "meta" / "esc50.csv", rows.getvalue())
    return Path(folder)
