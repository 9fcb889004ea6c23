"""A recording as its file holds it, and the reading of every file form: WFDB, .npy with a sidecar, .mat."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medical.ecg.data.leads import LEADS
from medical.ecg.data.problems import BadRecord, Note


@dataclass(frozen=True)
class Recording:
    """What a file holds, nothing changed yet.

    Attributes:
        signal: (T, L) float32 in ``units``; NaN where the file marks a sample as invalid.
        fs: samples a second.
        leads: L names as in the file.
        units: L units as in the file, "" where it names none.
        notes: what was noticed while reading.
    """

    signal: np.ndarray = field(repr=False)
    fs: float
    leads: tuple[str, ...]
    units: tuple[str, ...]
    source: str = "recording"
    notes: tuple[Note, ...] = ()


def read_recording(path: str | os.PathLike[str], *, verify_checksum: bool = False) -> Recording:
    """Read one recording; the form is judged by the name.

    ==============================  =================================================================
    ``x``, ``x.hea``, ``x.dat``      WFDB; also the ``.mat``/``.hea`` pairs of the PhysioNet challenges
    ``x.npy``                        (T, L) or (L, T) numbers, with ``x.json``: ``{"fs": 500, "leads":
                                     ["I", ...], "units": "mV"}``
    ``x.mat`` without ``x.hea``      keys ``feats`` (L, T) and ``curr_sample_rate``; ``x.json`` may add
                                     leads and units; without leads, 12 rows are the standard order
    ==============================  =================================================================

    Raises:
        BadRecord: missing, truncated or unreadable, with the path.
    """
    place = Path(path)
    if place.suffix == ".npy":
        return _read_npy(place)
    if place.suffix == ".mat" and not place.with_suffix(".hea").is_file():
        return _read_mat(place)
    from medical.ecg.data.wfdb import read_wfdb

    return read_wfdb(place, verify_checksum=verify_checksum)


def _read_npy(path: Path) -> Recording:
    facts = _sidecar(path, required=True)
    try:
        signal = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise BadRecord("missing", f"{path}: the file is not there") from None
    except (ValueError, EOFError, OSError) as error:
        raise BadRecord("unreadable", f"{path}: {' '.join(str(error).split())}") from None
    leads = facts.get("leads")
    if not isinstance(leads, list) or not leads:
        raise BadRecord("leads", f"{path.with_suffix('.json')}: expected 'leads', the list of lead names")
    return _recording(path, signal, facts.get("fs"), tuple(map(str, leads)), facts)


def _read_mat(path: Path) -> Recording:
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except FileNotFoundError:
        raise BadRecord("missing", f"{path}: the file is not there") from None
    except Exception as error:  # scipy raises many kinds for a file that is not MATLAB's
        raise BadRecord("unreadable", f"{path}: {' '.join(str(error).split())[:200]}") from None
    absent = [key for key in ("feats", "curr_sample_rate") if key not in content]
    if absent:
        known = [key for key in content if not key.startswith("__")]
        raise BadRecord("unreadable", f"{path}: saw the keys {known}, expected feats and curr_sample_rate")
    facts = _sidecar(path, required=False)
    signal = np.asarray(content["feats"])
    leads = facts.get("leads") or (list(LEADS) if 12 in signal.shape else [])
    return _recording(
        path, signal, float(np.ravel(content["curr_sample_rate"])[0]), tuple(map(str, leads)), facts
    )


def _sidecar(path: Path, *, required: bool) -> dict[str, Any]:
    place = path.with_suffix(".json")
    try:
        facts = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise BadRecord(
                "missing", f"{place} is missing; expected {{'fs': 500, 'leads': ['I', ...], 'units': 'mV'}}"
            ) from None
        return {}
    except ValueError as error:
        raise BadRecord("unreadable", f"{place} is not JSON: {error}") from None
    if not isinstance(facts, dict):
        raise BadRecord("unreadable", f"{place}: expected an object with fs, leads and units")
    return facts


def _recording(
    path: Path, signal: np.ndarray, fs: object, leads: tuple[str, ...], facts: dict[str, object]
) -> Recording:
    if signal.ndim != 2 or signal.dtype.kind not in "iuf" or len(leads) not in signal.shape:
        raise BadRecord(
            "unreadable",
            f"{path}: saw shape {signal.shape} of {signal.dtype}, expected numbers (T, L) or (L, T), L = "
            f"{len(leads)} lead names",
        )
    if signal.shape[1] != len(leads):
        signal = signal.T
    if not isinstance(fs, int | float) or not fs > 0:
        raise BadRecord("rate", f"{path}: sampling rate: saw {fs!r}, expected a number > 0")
    units = facts.get("units") or ""
    named = tuple(map(str, units)) if isinstance(units, list) else (str(units),) * len(leads)
    return Recording(signal.astype(np.float32), float(fs), leads, named, source=str(path))
