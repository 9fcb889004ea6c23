"""Audio files: read with soundfile, checked, mixed to mono, resampled; long ones in blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
REFUSED = (".m4a", ".aac", ".mp4", ".wma", ".webm", ".mka", ".3gp", ".amr")
SHORTEST_SECONDS = 0.1
SILENT_DB = -60.0
CLIPPED_LEVEL, CLIPPED_SHARE = 0.999, 0.01
OGG_PAGE = 65_307  # bytes of the largest page
LARGEST_RATIO = 2000  # of resampling: a filter bank of this many phases, some tens of MB


class AudioError(DataError):
    """An audio file that cannot be used; ``kind`` is a short fixed word to count by."""

    def __init__(self, kind: str, path: Any, **words: Any) -> None:
        super().__init__(f"audio file {path}", **words)
        self.kind = kind


@dataclass(frozen=True)
class Recording:
    """A decoded file.

    Attributes:
        wave: (samples,) float32 mono, the mean of the channels; integers were divided by their full scale.
        rate: samples a second. channels: in the file.
        notes: (kind, sentence) of what is worth knowing about a usable file.
    """

    wave: np.ndarray
    rate: int
    channels: int
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.wave) / self.rate


def open_audio(path: str | os.PathLike[str], *, name: str = "") -> Any:
    """An open ``soundfile.SoundFile``, after the checks that need no decoding; ``name`` stands in messages.

    Raises:
        AudioError: ``missing``, ``unsupported`` (m4a, aac, wma, webm and the like), ``unreadable``, ``empty``
            (0 frames) or ``truncated`` (the file ends before its header says).
    """
    import soundfile

    file, name = Path(path), name or str(path)
    if not file.is_file():
        raise AudioError("missing", name, seen="nothing there", expected="a file")
    if file.suffix.lower() in REFUSED:
        raise AudioError("unsupported", name, seen=file.suffix, remedy="convert it to wav or flac")
    _refuse_short_container(file, name)
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        raise AudioError(
            "unreadable", name, seen=_words(error), expected="wav, flac, ogg, opus, mp3 or aiff",
            remedy="convert it to wav or flac",
        ) from None  # fmt: skip
    if sound.frames == 0:
        sound.close()
        raise AudioError("empty", name, seen="0 samples", expected="a recording")
    return sound


def read_audio(
    path: str | os.PathLike[str], *, name: str = "", longest_seconds: float | None = None
) -> Recording:
    """Decode a whole file to mono float32, and check it.

    Args:
        name: stands for the path in messages. longest_seconds: refuse a longer file before it is decoded.

    Raises:
        AudioError: those of `open_audio`; ``truncated``, ``not_finite`` (NaN or infinity) or ``too_short`` (less
            than 0.1 s); ``too_long``.
    """
    file, path = path, name or path
    with open_audio(file, name=name) as sound:
        rate, channels, promised = sound.samplerate, sound.channels, sound.frames
        if longest_seconds is not None and promised > longest_seconds * rate:
            seen = f"{promised / rate:.0f} s"
            raise AudioError("too_long", path, seen=seen, expected=f"at most {longest_seconds:g} s")
        frames = _decode(sound, path)
    _refuse_missing(path, promised, len(frames), sound.format)
    if not np.isfinite(frames).all():
        count = int((~np.isfinite(frames)).sum())
        raise AudioError(
            "not_finite", path, seen=f"{count} samples that are NaN or infinite", expected="numbers"
        )
    wave = frames[:, 0] if channels == 1 else frames.mean(axis=1, dtype=np.float64).astype(np.float32)
    if len(wave) < SHORTEST_SECONDS * rate:
        raise AudioError(
            "too_short", path, seen=f"{len(wave) / rate:.3f} s", expected=f"at least {SHORTEST_SECONDS} s"
        )
    return Recording(wave, rate, channels, _notes(wave, frames, channels))


def _notes(wave: np.ndarray, frames: np.ndarray, channels: int) -> list[tuple[str, str]]:
    notes = []
    if channels > 1:
        notes.append(("multichannel", f"{channels} channels were averaged"))
    level = 20 * np.log10(max(float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))), 1e-12))
    if level < SILENT_DB:
        notes.append(("silent", f"its level is {max(level, -240):.0f} dBFS"))
    share = float((np.abs(frames) >= CLIPPED_LEVEL).mean())
    if share > CLIPPED_SHARE:
        notes.append(("clipped", f"{share:.1%} of the samples are at full scale"))
    return notes


def resample(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """(samples,) mono float32 at ``rate`` Hz to ``target`` Hz, by torchaudio's windowed sinc.

    A ratio of large primes is replaced by the nearest one with terms up to 2000 (an error of pitch below
    1e-6).

    >>> resample(np.zeros(441, np.float32), 44100, 16000).shape
    (160,)
    """
    if rate == target:
        return wave
    import torch
    from torchaudio.functional import resample as sinc

    ratio = _ratio(rate, target)
    found = sinc(torch.from_numpy(np.ascontiguousarray(wave)), ratio.denominator, ratio.numerator)
    return found.numpy()


def load_clip(path: str | os.PathLike[str], target: int) -> np.ndarray:
    """The samples (n,) of a whole file as mono float32 at ``target`` Hz. Raises `AudioError`."""
    found = read_audio(path)
    return resample(found.wave, found.rate, target)


def stream(path: str | os.PathLike[str], target: int, *, block_seconds: float = 30.0) -> Iterator[np.ndarray]:
    """A file of any length as consecutive blocks of mono float32 at ``target`` Hz.

    Joined, the blocks are `load_clip` of the file, to rounding; memory holds two blocks whatever its length.

    Raises:
        AudioError: as `read_audio`, when the fault is reached.
    """
    with open_audio(path) as sound:
        rate, promised = sound.samplerate, sound.frames
        ratio = _ratio(rate, target)
        unit = ratio.denominator
        context = unit * -(-64 * max(1, unit // ratio.numerator + 1) // unit)  # beyond the filter's reach
        size = max(1, round(block_seconds * rate / unit)) * unit
        kept = np.zeros(0, np.float32)
        lead, read, ended = 0, 0, False
        while not ended:
            frames = _decode(sound, path, size)
            read += len(frames)
            ended = len(frames) < size
            if not np.isfinite(frames).all():
                raise AudioError("not_finite", path, seen="NaN or infinite samples", expected="numbers")
            kept = np.concatenate([kept, frames.mean(axis=1)]) if len(kept) else frames.mean(axis=1)
            if not ended and len(kept) <= lead + context:
                continue
            done = len(kept) if ended else len(kept) - context
            found = resample(kept, rate, target) if len(kept) else kept
            first = lead // unit * ratio.numerator
            last = len(found) if ended else done // unit * ratio.numerator
            if last > first:
                yield found[first:last]
            start = max(0, done - context) // unit * unit
            kept, lead = kept[start:], done - start
        _refuse_missing(path, promised, read, sound.format)
        if read < SHORTEST_SECONDS * rate:
            raise AudioError(
                "too_short", path, seen=f"{read / rate:.3f} s", expected=f"at least {SHORTEST_SECONDS} s"
            )


def windows(
    blocks: Iterator[np.ndarray], size: int, hop: int, *, least: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, samples) of windows of ``size`` samples every ``hop``, over blocks of any lengths.

    The last window is shorter where the recording ends inside it, and comes only where at least ``least`` of
    its samples are new. A recording shorter than a window gives one.

    >>> [(start, w.tolist()) for start, w in windows(iter([np.arange(3), np.arange(3, 5)]), 2, 2)]
    [(0, [0, 1]), (2, [2, 3]), (4, [4])]
    """
    kept, start, covered = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        kept = np.concatenate([kept, block]) if len(kept) else block
        while len(kept) >= size:
            yield start, kept[:size]
            covered = start + size
            skip = min(hop, len(kept))
            kept, start = kept[skip:], start + skip
    if len(kept) and (start == 0 or start + len(kept) - covered >= least):
        yield start, kept


def _ratio(rate: int, target: int) -> Fraction:
    """target / rate, in terms small enough for a filter bank."""
    ratio = Fraction(target, rate)
    if max(ratio.numerator, ratio.denominator) > LARGEST_RATIO:
        ratio = ratio.limit_denominator(LARGEST_RATIO if ratio < 1 else max(1, int(LARGEST_RATIO / ratio)))
    return ratio


def _decode(sound: Any, path: Any, frames: int = -1) -> np.ndarray:
    import soundfile

    try:
        return sound.read(frames, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError("unreadable", path, seen=_words(error), remedy="fetch or export it again") from None


def _refuse_missing(path: Any, promised: int, found: int, container: str) -> None:
    # An mp3's count may be an estimate, or off by its padding: only a clear shortfall is a fault.
    slack = max(4096, promised // 50) if container in ("MP3", "MPEG") else 0
    if found < promised - slack:
        raise AudioError(
            "truncated", path, seen=f"{found} of {promised} samples", remedy="fetch or export it again"
        )


def _refuse_short_container(file: Path, name: str) -> None:
    """wav, aiff, ogg: libsndfile reads what is there of a cut file and says nothing, so look at its end."""
    size = file.stat().st_size
    with file.open("rb") as raw:
        head = raw.read(12)
        raw.seek(max(0, size - OGG_PAGE))
        tail = raw.read() if head[:4] == b"OggS" else b""
    remedy = "fetch or export it again"
    if head[:4] in (b"RIFF", b"FORM") and len(head) == 12:
        declared = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        if (
            declared not in (0, 0xFFFFFFFF) and declared + 8 > size + 1
        ):  # a stream's writer leaves 0 or all ones
            expected = f"{declared + 8}, as its header says"
            raise AudioError("truncated", name, seen=f"{size} bytes", expected=expected, remedy=remedy)
    if tail:
        page = tail[tail.rfind(b"OggS") :]
        length = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else OGG_PAGE
        if len(page) < length or not page[5] & 4:
            raise AudioError(
                "truncated", name, seen="no last page", expected="a whole Ogg stream", remedy=remedy
            )


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "error_string", error)).split())
