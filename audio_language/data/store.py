"""Decoded clips at the model's rate in one 16-bit file, read by memory map: any size, little memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio_language.audio_file import load_clip
from audio_language.data.clip import Clip, load_clips, save_clips
from core.errors import DataError
from core.files import read_json, write_json

AUDIO, INDEX, CLIPS = "audio.i16", "index.json", "clips.json"


class AudioStore:
    """Clips and their samples.

    Attributes:
        clips: in the order of the samples. rate: Hz.

    ``store[i]`` is clip i as (samples,) float32 in -1..1; ``len(store)`` the number of clips.
    """

    def __init__(self, clips: Sequence[Clip], samples: np.ndarray, bounds: np.ndarray, rate: int) -> None:
        self.clips, self.rate = list(clips), rate
        self._samples, self._bounds = samples, bounds

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> np.ndarray:
        start, stop = self._bounds[index], self._bounds[index + 1]
        return self._samples[start:stop].astype(np.float32) / 32768.0

    def indices(self, split: str) -> list[int]:
        """Of the clips of one split."""
        return [index for index, clip in enumerate(self.clips) if clip.split == split]


def write_store(
    clips: Sequence[Clip], folder: str | os.PathLike[str], rate: int, *, longest_seconds: float | None = None
) -> AudioStore:
    """Decode, mix to mono, resample and keep ``clips`` in an existing folder; one clip at a time in memory.

    Args:
        rate: Hz. longest_seconds: keep the start of a longer clip.
    """
    out, bounds = Path(folder), [0]
    longest = None if longest_seconds is None else round(longest_seconds * rate)
    with (out / AUDIO).open("wb") as stream:
        for clip in clips:
            wave = load_clip(clip.path, rate)[:longest]
            whole = np.round(wave * 32768.0).clip(-32768, 32767).astype("<i2")
            stream.write(whole.tobytes())
            bounds.append(bounds[-1] + len(whole))
    write_json(out / INDEX, {"rate": rate, "bounds": bounds})
    save_clips(clips, out / CLIPS)
    return open_store(out)


def open_store(folder: str | os.PathLike[str]) -> AudioStore:
    """Open what `write_store` wrote. Raises DataError where its files do not fit each other."""
    home = Path(folder)
    index, clips = read_json(home / INDEX), load_clips(home / CLIPS)
    bounds = np.asarray(index["bounds"], dtype=np.int64)
    if len(bounds) != len(clips) + 1 or (home / AUDIO).stat().st_size != 2 * bounds[-1]:
        raise DataError(f"{home} is damaged", remedy="run the prepare stage again")
    samples = np.memmap(home / AUDIO, dtype="<i2", mode="r") if bounds[-1] else np.zeros(0, "<i2")
    return AudioStore(clips, samples, bounds, int(index["rate"]))
