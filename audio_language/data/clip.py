"""A clip: one audio file with what is known about it, and lists of clips as files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from audio_language.prompts import words
from core.files import read_json, write_json

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Clip:
    """One sound.

    Attributes:
        id: unique name. path: the file. group: its source recording; groups never straddle splits.
        split: train, valid or test. label: its class; "" where it only has captions.
        captions: sentences about it; none where it only has a label.
    """

    id: str
    path: str
    group: str
    split: str
    label: str = ""
    captions: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What stands for the sound in a composed caption: the label in words, else the first caption.

        >>> Clip("1", "a.wav", "g", "train", label="clock_tick").name
        'clock tick'
        """
        return words(self.label) if self.label else clause(self.captions[0])


def clause(caption: str) -> str:
    """A caption as a part of a sentence: without capital at its start and full stop at its end.

    >>> clause("A dog barks.")
    'a dog barks'
    """
    text = " ".join(caption.split()).rstrip(".!? ")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def meaning(caption: str) -> str:
    """What near-identical captions share: letters and digits, in lower case.

    >>> meaning("A dog barks.") == meaning("a dog  barks")
    True
    """
    return " ".join(re.findall(r"[^\W_]+", caption.casefold()))


def labels_of(clips: Iterable[Clip]) -> list[str]:
    """The classes that occur, sorted."""
    return sorted({clip.label for clip in clips if clip.label})


def of_split(clips: Iterable[Clip], split: str) -> list[Clip]:
    """The clips of one split, in their order."""
    return [clip for clip in clips if clip.split == split]


def relative_to_here(clips: Iterable[Clip]) -> list[Clip]:
    """Paths below the working folder made relative to it, so that a list is the same on every machine."""
    here = Path.cwd()
    return [
        replace(clip, path=Path(clip.path).relative_to(here).as_posix())
        if Path(clip.path).is_relative_to(here)
        else clip
        for clip in clips
    ]


def save_clips(clips: Sequence[Clip], path: str | os.PathLike[str]) -> None:
    """Write a list of clips as JSON."""
    write_json(path, [asdict(clip) for clip in clips])


def load_clips(path: str | os.PathLike[str]) -> list[Clip]:
    """Read what `save_clips` wrote."""
    return [Clip(**row) for row in read_json(path)]
