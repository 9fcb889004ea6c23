"""A small generated data set in the layout of MIMIC-CXR-JPG, MIMIC-CXR's reports and MIMIC-IV-ECG."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConfigError
from core.files import atomic_directory
from core.learning.determinism import generator
from medical.alignment.phantom import (
    FINDINGS,
    FS,
    draw_ecg,
    draw_film,
    draw_state,
    ecg_statements,
    lesion_boxes,
    lesion_phrases,
    write_xray_report,
)
from medical.ecg.data.leads import LEADS
from medical.ecg.data.wfdb import write_wfdb

TRUTH = "demo_truth.csv"
ECG_ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""MIMIC-IV-ECG's order: aVF stands before aVL, other than in most data sets."""


def write_demo(
    root: str | os.PathLike[str], *, studies: int = 900, missing: float = 0.3, seed: int = 0
) -> Path:
    """Write ``studies`` generated studies below ``root``; equal arguments give equal files.

    Each study lacks each of film, ECG and report with probability ``missing``, but never all of them: a missing film
    leaves a lateral view, a missing report leaves no file and an ECG without statements. Some patients have a further
    ECG, ten days away, that no rule with a short window may link. ``demo_truth.csv`` says what was drawn, and where
    the film shows it.

    Args:
        studies: at least 30. missing: 0 to 0.9.
    """
    if studies < 30 or not 0 <= missing <= 0.9:
        raise ConfigError("demo (studies, missing)", seen=(studies, missing), expected=">= 30 and 0 to 0.9")
    rng = generator(seed, "alignment-demo")
    tables: dict[str, list[list[Any]]] = {
        name: [] for name in ("metadata", "split", "chexpert", "record", "machine", "truth")
    }
    with atomic_directory(root) as folder:
        subject, left = 10_000_000, 0
        for number in range(studies):
            if left == 0:
                subject, left = subject + int(rng.integers(1, 9)), int(rng.integers(1, 3))
            left -= 1
            _study(folder, tables, number, subject, missing, generator(seed, "alignment-demo", number))
        cxr, ecg = folder / "mimic-cxr-jpg", folder / "mimic-iv-ecg"
        _write(
            cxr / "mimic-cxr-2.0.0-metadata.csv",
            [
                "dicom_id",
                "subject_id",
                "study_id",
                "ViewPosition",
                "Rows",
                "Columns",
                "StudyDate",
                "StudyTime",
            ],
            tables["metadata"],
        )
        _write(
            cxr / "mimic-cxr-2.0.0-split.csv",
            ["dicom_id", "study_id", "subject_id", "split"],
            tables["split"],
        )
        _write(
            cxr / "mimic-cxr-2.0.0-chexpert.csv", ["subject_id", "study_id", *FINDINGS], tables["chexpert"]
        )
        _write(
            ecg / "record_list.csv",
            ["subject_id", "study_id", "file_name", "ecg_time", "path"],
            tables["record"],
        )
        statements = [f"report_{n}" for n in range(18)]
        _write(
            ecg / "machine_measurements.csv",
            ["subject_id", "study_id", "cart_id", "ecg_time", *statements],
            tables["machine"],
        )
        _write(
            folder / TRUTH,
            ["study_id", "finding", "top", "left", "bottom", "right", "phrase"],
            tables["truth"],
        )
    return Path(root)


def _study(
    folder: Path,
    tables: dict[str, list[list[Any]]],
    number: int,
    subject: int,
    missing: float,
    rng: np.random.Generator,
) -> None:
    from PIL import Image

    state = draw_state(rng)
    there = rng.random(3) >= missing
    if not there.any():
        there[int(rng.integers(3))] = True
    study, dicom = 50_000_000 + number, f"{number:08x}-{subject:08x}"
    day = np.datetime64("2150-01-01T00:00") + np.timedelta64(int(rng.integers(0, 20_000)) * 60, "m")
    stamp = str(day).replace("-", "").replace(":", "").split("T")
    home = folder / "mimic-cxr-jpg" / "files" / f"p{str(subject)[:2]}" / f"p{subject}" / f"s{study}"
    home.mkdir(parents=True, exist_ok=True)
    film = draw_film(state, rng)
    Image.fromarray(film).save(home / f"{dicom}.jpg", quality=92)
    view = ("AP" if rng.random() < 0.5 else "PA") if there[0] else "LATERAL"
    tables["metadata"].append([dicom, subject, study, view, *film.shape, stamp[0], f"{stamp[1]}00.000"])
    split = ("train", "validate", "test")[
        int(np.searchsorted([0.65, 0.75], (subject % 97) / 97, side="right"))
    ]
    tables["split"].append([dicom, study, subject, split])
    tables["chexpert"].append([subject, study, *state.labels.values()])
    for finding, boxes in lesion_boxes(state).items():
        tables["truth"] += [[study, finding, *box, lesion_phrases(state)[finding]] for box in boxes]
    if there[2]:
        reports = folder / "mimic-cxr-reports" / "files" / f"p{str(subject)[:2]}" / f"p{subject}"
        reports.mkdir(parents=True, exist_ok=True)
        (reports / f"s{study}.txt").write_text(write_xray_report(state, rng), encoding="utf-8")
    if there[1]:
        _record(folder, tables, 40_000_000 + number, subject, day + np.timedelta64(int(rng.integers(-360, 360)), "m"),
                draw_ecg(state, rng), ecg_statements(state) if there[2] else [])  # fmt: skip
    if rng.random() < 0.1:
        other = draw_state(rng)
        _record(folder, tables, 45_000_000 + number, subject, day + np.timedelta64(10, "D"), draw_ecg(other, rng),
                ecg_statements(other))  # fmt: skip


def _record(
    folder: Path, tables: dict[str, list[list[Any]]], study: int, subject: int, when: np.datetime64,
    signal: np.ndarray, statements: list[str],
) -> None:  # fmt: skip
    path = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
    order = [LEADS.index(name) for name in ECG_ORDER]
    write_wfdb(folder / "mimic-iv-ecg" / path, signal[order].T, fs=FS, leads=ECG_ORDER)
    time = str(when.astype("datetime64[s]")).replace("T", " ")
    tables["record"].append([subject, study, study, time, path])
    tables["machine"].append([subject, study, 1, time, *statements, *[""] * (18 - len(statements))])


def _write(path: Path, columns: list[str], rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
