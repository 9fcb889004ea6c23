"""Every source of clips behind one call, and the check that reads each file once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audio_language.audio_file import AudioError, read_audio
from audio_language.data.captioned import read_audiocaps, read_captions, read_clotho
from audio_language.data.clip import SPLITS, Clip, labels_of, meaning, of_split
from audio_language.data.esc50 import FOLDS, read_esc50
from core.data.checks import Quarantine
from core.data.digest import digest_of
from core.data.form import ID, SPLIT, Column, ManifestForm, group
from core.data.parallel import parallel_map
from core.data.splits import check_splits
from core.errors import ConfigError, DataError

SOURCES = ("demo", "esc50", "audiocaps", "clotho", "captions", "manifest")
LOW_RATE = 16_000
FORM = ManifestForm(
    (
        ID,
        Column(
            "path", "a recording: wav, flac, ogg, opus, mp3 or aiff", "clips/a1.wav", needed=True, path=True
        ),
        group("the recording that the clip was cut from", "r7"),
        SPLIT,
        Column("label", "what is heard, in a word or two; label or caption is needed", "dog bark"),
        Column("caption", "what is heard, in a sentence", "A dog barks twice."),
    )
)


def read_clips(
    source: str,
    root: str | os.PathLike[str],
    quarantine: Quarantine,
    *,
    manifest: str | os.PathLike[str] | None = None,
    folds: Mapping[Any, Sequence[int]] = FOLDS,
    seed: int = 0,
) -> list[Clip]:
    """The clips of a source, as its tables list them; the files are not opened yet.

    Args:
        source: ``demo`` and ``esc50`` (ESC-50's layout, split by fold), ``audiocaps``, ``clotho``, ``captions``
            (a folder with ``captions.csv``) or ``manifest`` (the columns of ``FORM``).
        root: the folder of the data.
        quarantine: gets rows that cannot be used.
        manifest: the CSV of that source. folds: of ESC-50. seed: of splits that are not given.

    Raises:
        DataError: as the readers, and where a source recording is in two splits.
    """
    if source in ("demo", "esc50"):
        clips = read_esc50(root, quarantine, folds=folds)
    elif source == "audiocaps":
        clips = read_audiocaps(root, quarantine)
    elif source == "clotho":
        clips = read_clotho(root, quarantine)
    elif source == "captions":
        clips = read_captions(root, quarantine, seed=seed)
    elif source == "manifest":
        clips = _read_manifest(root, manifest or Path(root) / "manifest.csv", seed)
    else:
        raise ConfigError("data.source", seen=source, expected=f"one of {', '.join(SOURCES)}")
    clips = _without_repeats(clips, quarantine)
    check_splits([clip.group for clip in clips], [clip.split for clip in clips])
    return clips


def inspect(
    clips: Sequence[Clip],
    quarantine: Quarantine,
    *,
    model_rate: int,
    count_tokens: Callable[[str], int] | None = None,
    token_limit: int = 10**9,
    scheduler: str = "serial",
) -> tuple[list[Clip], dict[str, Any]]:
    """Decode every file once; faults go to the quarantine, what is worth knowing to its warnings.

    Warned of: several channels (averaged), silence, clipping, a low rate that has to be raised to
    ``model_rate``, captions beyond ``token_limit`` (cut), files of equal content.

    Returns:
        the usable clips, and facts: counts by split and class, hours, captions that several clips share, and
        a digest of names, labels, captions and contents.
    """
    kept: list[tuple[Clip, str]] = []
    contents: dict[str, str] = {}
    hours = 0.0
    for clip, found in zip(clips, parallel_map(_look, [clip.path for clip in clips], scheduler=scheduler)):
        if "fault" in found:
            quarantine.add(clip.id, *found["fault"])
            continue
        for kind, words in found["notes"]:
            quarantine.warn(clip.id, kind, words)
        if found["rate"] < min(LOW_RATE, model_rate):
            words = f"{found['rate']} Hz is raised to {model_rate} Hz and stays dull"
            quarantine.warn(clip.id, "low_rate", words)
        long = [text for text in clip.captions if count_tokens and count_tokens(text) > token_limit]
        if long:
            quarantine.warn(
                clip.id, "long_caption", f"{len(long)} caption(s) are cut at {token_limit} tokens"
            )
        if found["content"] in contents:
            quarantine.warn(clip.id, "duplicate_content", f"same content as {contents[found['content']]}")
        contents.setdefault(found["content"], clip.id)
        kept.append((clip, found["content"]))
        hours += found["seconds"] / 3600
    usable = [clip for clip, _ in kept]
    shared = Counter(key for clip in usable for key in {meaning(text) for text in clip.captions})
    facts = {
        "clips": {split: len(of_split(usable, split)) for split in SPLITS},
        "sources": {split: len({clip.group for clip in of_split(usable, split)}) for split in SPLITS},
        "classes": dict(Counter(clip.label for clip in usable if clip.label).most_common()),
        "hours": round(hours, 3),
        "captions_that_several_clips_share": sum(count > 1 for count in shared.values()),
        "data_digest": digest_of(
            [[c.id, c.group, c.split, c.label, list(c.captions), content] for c, content in kept]
        ),
    }
    return usable, facts


def check_enough(clips: Sequence[Clip]) -> None:
    """Refuse data on which nothing can be trained or tested. Raises DataError."""
    for split in ("train", "test"):
        found = of_split(clips, split)
        labels = labels_of(found)
        if len(found) < 4 or (labels and len(labels) < 3):
            raise DataError(
                f"usable clips of split {split}",
                seen=f"{len(found)} clips, {len(labels)} classes",
                expected="at least 4 clips, of at least 3 classes where they have labels",
                remedy="add clips, or change the splits (data.folds)",
            )
    bare = [clip.id for clip in clips if not clip.label and not clip.captions]
    if bare:
        raise DataError(
            "clips with neither label nor caption", seen=bare[:5], remedy="fill one of the columns"
        )


def _look(path: str) -> dict[str, Any]:
    """What one file holds, as plain values (it may come from another process)."""
    try:
        found = read_audio(path)
    except AudioError as error:
        return {"fault": (error.kind, str(error))}
    content = hashlib.sha256(found.wave.tobytes()).hexdigest()
    return {"rate": found.rate, "notes": found.notes, "content": content, "seconds": found.seconds}


def _read_manifest(root: Any, manifest: Any, seed: int) -> list[Clip]:
    table = FORM.read(manifest, root=root, seed=seed)
    rows = table[["id", "path", "group", "split", "label", "caption"]].itertuples(index=False, name=None)
    return [
        Clip(name, path, group, split, label, [caption] if meaning(caption) else [])
        for name, path, group, split, label, caption in rows
    ]


def _without_repeats(clips: Sequence[Clip], quarantine: Quarantine) -> list[Clip]:
    first: dict[str, str] = {}
    kept = []
    for clip in clips:
        if clip.path in first:
            quarantine.add(clip.id, "duplicate_path", f"the file of {first[clip.path]} once more")
        else:
            first[clip.path] = clip.id
            kept.append(clip)
    return kept
