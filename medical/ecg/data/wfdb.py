"""WFDB records: the header as text, the samples as numbers, every inconsistency named.

Format: "WFDB Applications Guide", header(5) and signal(5). Samples of one file are interleaved; formats 16,
61, 24, 32, 80 and 212 are read. A record is one numpy call, so reading is bound by the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medical.ecg.data.problems import BadRecord, Note
from medical.ecg.data.recording import Recording

_BYTES = {"16": 2.0, "61": 2.0, "24": 3.0, "32": 4.0, "80": 1.0, "212": 1.5}
_INVALID = {"16": -(2**15), "61": -(2**15), "24": -(2**23), "32": -(2**31), "80": -128, "212": -2048}
_FORMAT = re.compile(r"^(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?$")
_GAIN = re.compile(r"^([0-9.eE+-]+)(?:\(([-+]?\d+)\))?(?:/(\S+))?$")
DEFAULT_GAIN = 200.0


@dataclass(frozen=True)
class Channel:
    """One signal line of a header. physical = (digital - baseline) / gain, in ``units`` ("" where not named)."""

    file: str
    format: str
    offset: int
    gain: float
    baseline: int
    units: str
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """A header: rate in samples a second, samples a channel (0: as many as the file holds), channels, comments."""

    name: str
    fs: float
    samples: int
    channels: tuple[Channel, ...]
    comments: tuple[str, ...] = ()


def parse_header(text: str, *, where: str = "header") -> Header:
    """Read the text of a ``.hea`` file.

    Raises:
        BadRecord: a line that is not understood, a record of several segments, a path in a file name.

    >>> head = parse_header("r 1 100 1000\\nr.dat 16 1000(0)/mV 16 0 -5 7 0 AVR\\n# Age: 50")
    >>> head.fs, head.channels[0].name, head.channels[0].gain, head.comments
    (100.0, 'AVR', 1000.0, ('Age: 50',))
    """
    lines = [line.strip() for line in text.splitlines()]
    comments = tuple(line.lstrip("# ") for line in lines if line.startswith("#"))
    body = [line for line in lines if line and not line.startswith("#")]
    try:
        first = body[0].split()
        if "/" in first[0]:
            raise BadRecord("header", f"{where}: records of several segments are not read")
        count = int(first[1])
        fs = float(re.split(r"[/(]", first[2])[0]) if len(first) > 2 else 250.0
        samples = int(first[3]) if len(first) > 3 else 0
        channels = tuple(_channel(line, where) for line in body[1 : 1 + count])
    except (IndexError, ValueError) as error:
        if isinstance(error, BadRecord):
            raise
        raise BadRecord("header", f"{where}: not a WFDB header ({error})") from None
    if len(channels) != count or count == 0 or fs <= 0 or samples < 0:
        raise BadRecord("header", f"{where}: {count} signal(s) announced, {len(channels)} described, {fs} Hz")
    return Header(first[0], fs, samples, channels, comments)


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of a record; ``path`` with or without a suffix."""
    place = _stem(path).with_name(f"{_stem(path).name}.hea")
    try:
        return parse_header(place.read_text(encoding="utf-8", errors="replace"), where=str(place))
    except FileNotFoundError:
        raise BadRecord("missing", f"{place}: the header file is not there") from None
    except OSError as error:
        raise BadRecord("unreadable", f"{place}: {error.strerror}") from None


def read_wfdb(path: str | os.PathLike[str], *, verify_checksum: bool = False) -> Recording:
    """Read a record from disk; ``path`` with or without ``.hea`` / ``.dat``.

    Raises:
        BadRecord: kinds ``missing``, ``header``, ``truncated`` (with expected and actual bytes), ``format``,
            and ``checksum`` where ``verify_checksum`` is set.
    """
    header = read_header(path)
    folder = _stem(path).parent
    files: dict[str, bytes] = {}
    for name in dict.fromkeys(channel.file for channel in header.channels):
        try:
            files[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            raise BadRecord("missing", f"{folder / name}: the signal file is not there") from None
        except OSError as error:
            raise BadRecord("unreadable", f"{folder / name}: {error.strerror}") from None
    return decode(header, files, where=str(folder), verify_checksum=verify_checksum)


def decode(
    header: Header, files: Mapping[str, bytes], *, where: str = "record", verify_checksum: bool = False
) -> Recording:
    """Samples in physical units from a header and the bytes of its signal files (see `read_wfdb`)."""
    notes: list[Note] = []
    signal: np.ndarray | None = None
    for name in dict.fromkeys(channel.file for channel in header.channels):
        columns = [place for place, channel in enumerate(header.channels) if channel.file == name]
        kind, offset = header.channels[columns[0]].format, header.channels[columns[0]].offset
        if any(header.channels[c].format != kind for c in columns):
            raise BadRecord("format", f"{where}/{name}: several sample formats in one file")
        content = files[name]
        width = _BYTES[kind] * len(columns)
        length = header.samples or int((len(content) - offset) / width)
        expected = offset + int(np.ceil(width * length))
        if len(content) < expected or length == 0:
            raise BadRecord(
                "truncated",
                f"{where}/{name}: saw {len(content)} bytes, expected {expected} ({length} samples of "
                f"{len(columns)} signals); copy the file again",
            )
        if len(content) > expected:
            reason = (
                f"{where}/{name}: {len(content)} bytes, {len(content) - expected} more than the header says"
            )
            notes.append(Note("longer", reason))
        digital = _digital(content[offset:expected], kind, length * len(columns)).reshape(length, -1)
        if verify_checksum:
            _verify(digital, [header.channels[c] for c in columns], f"{where}/{name}")
        if signal is None:
            signal = np.empty((length, len(header.channels)), dtype=np.float32)
        elif len(signal) != length:
            raise BadRecord("header", f"{where}: signal files of different length")
        signal[:, columns] = _physical(digital, [header.channels[c] for c in columns], _INVALID[kind])
    assert signal is not None
    return Recording(
        signal,
        header.fs,
        tuple(channel.name for channel in header.channels),
        tuple(channel.units for channel in header.channels),
        source=f"{where}/{header.name}",
        notes=tuple(notes),
    )


def write_wfdb(
    path: str | os.PathLike[str],
    signal: np.ndarray,
    *,
    fs: float,
    leads: tuple[str, ...],
    gain: float = 1000.0,
    units: str = "mV",
    comments: tuple[str, ...] = (),
) -> Path:
    """Write (T, L) numbers in ``units`` as a format 16 record ``path``.hea and ``path``.dat, NaN as invalid."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    digital = np.clip(np.rint(np.nan_to_num(signal) * gain), -32767, 32767).astype("<i2")
    digital[np.isnan(signal)] = -32768
    rate = f"{fs:g}"
    lines = [f"{place.name} {signal.shape[1]} {rate} {len(signal)}"]
    for column, lead in enumerate(leads):
        checksum = int(digital[:, column].astype(np.int64).sum()) & 0xFFFF
        first = digital[0, column]
        lines.append(f"{place.name}.dat 16 {gain:.1f}(0)/{units} 16 0 {first} {checksum} 0 {lead}")
    lines += [f"# {comment}" for comment in comments]
    place.with_name(f"{place.name}.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    place.with_name(f"{place.name}.dat").write_bytes(digital.tobytes())
    return place


def _stem(path: str | os.PathLike[str]) -> Path:
    place = Path(path)
    return place.with_suffix("") if place.suffix in (".hea", ".dat", ".mat") else place


def _channel(line: str, where: str) -> Channel:
    parts = line.split(maxsplit=8)
    form = _FORMAT.match(parts[1])
    if form is None or form[1] not in _BYTES or int(form[2] or 1) != 1:
        known = ", ".join(_BYTES)
        raise BadRecord("format", f"{where}: signal format {parts[1]!r} is not read; expected one of {known}")
    if Path(parts[0]).name != parts[0]:
        raise BadRecord("header", f"{where}: file name {parts[0]!r} leaves the folder of the header")
    gain = _GAIN.match(parts[2]) if len(parts) > 2 else None
    zero = int(parts[4]) if len(parts) > 4 else 0
    return Channel(
        file=parts[0],
        format=form[1],
        offset=int(form[4] or 0),
        gain=(float(gain[1]) if gain else 0.0) or DEFAULT_GAIN,
        baseline=int(gain[2]) if gain and gain[2] else zero,
        units=(gain[3] or "") if gain else "",
        checksum=int(parts[6]) if len(parts) > 6 else None,
        name=parts[8] if len(parts) > 8 else "",
    )


def _digital(content: bytes, kind: str, count: int) -> np.ndarray:
    """``count`` samples as integers."""
    if kind in ("16", "61", "32"):
        return np.frombuffer(content, dtype={"16": "<i2", "61": ">i2", "32": "<i4"}[kind], count=count)
    raw = np.frombuffer(content, dtype=np.uint8)
    if kind == "80":
        return raw[:count].astype(np.int16) - 128
    if kind == "24":
        low, middle, high = raw.reshape(-1, 3)[:count].astype(np.int32).T
        return ((high << 24 | middle << 16 | low << 8) >> 8).astype(np.int32)
    padded = np.concatenate([raw, np.zeros(-len(raw) % 3, np.uint8)]).reshape(-1, 3).astype(np.int16)
    pairs = np.stack(
        [padded[:, 0] | (padded[:, 1] & 0x0F) << 8, padded[:, 2] | (padded[:, 1] & 0xF0) << 4], 1
    )
    twelve = pairs.reshape(-1)[:count]
    return np.where(twelve > 2047, twelve - 4096, twelve).astype(np.int16)


def _physical(digital: np.ndarray, channels: list[Channel], invalid: int) -> np.ndarray:
    gain = np.array([channel.gain for channel in channels], dtype=np.float32)
    baseline = np.array([channel.baseline for channel in channels], dtype=np.float32)
    signal = (digital.astype(np.float32) - baseline) / gain
    bad = digital == invalid
    if bad.any():
        signal[bad] = np.nan
    return signal


def _verify(digital: np.ndarray, channels: list[Channel], where: str) -> None:
    sums = digital.astype(np.int64).sum(axis=0) & 0xFFFF
    wrong = [
        channel.name
        for total, channel in zip(sums, channels, strict=True)
        if channel.checksum is not None and int(total) != channel.checksum & 0xFFFF
    ]
    if wrong:
        raise BadRecord(
            "checksum",
            f"{where}: the checksum differs from the header's for {', '.join(wrong)}: samples changed",
        )
