"""MIMIC-CXR-JPG with MIMIC-CXR's reports and MIMIC-IV-ECG; and Symile-MIMIC's tables over both.

Johnson et al. 2019 (MIMIC-CXR-JPG 2.0.0), Gow et al. 2023 (MIMIC-IV-ECG 1.0), Saporta et al. 2024 (Symile-MIMIC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import DataError
from medical.alignment.data.items import Items, make_items
from medical.alignment.data.link import Rule, link
from medical.alignment.data.report import ecg_report, label_report, usable, xray_report
from medical.alignment.data.tables import find_table, inside, label_values, read_table, times

if TYPE_CHECKING:
    import pandas as pd

CXR = "mimic-cxr-2.0.0"
VIEWS = ("PA", "AP")
STATEMENTS = [f"report_{number}" for number in range(18)]
SPLITS = {"train": "train", "validate": "valid", "val": "valid", "valid": "valid", "test": "test"}


def read_mimic(
    root: str,
    *,
    findings: Sequence[str],
    rule: Rule,
    keep_unlinked: bool,
    empty_reports: str,
    official_split: bool,
    fractions: Mapping[str, float],
    seed: int,
) -> Items:
    """Films, ECGs and reports of a folder that holds the data sets' own folders.

    An item is a frontal (PA or AP) film with the ECG that ``rule`` links to it. With ``keep_unlinked`` films
    without an ECG, ECGs without a film, and studies of which only the report can be used, are items too.

    Args:
        findings: label columns of the CheXpert table.
        empty_reports: ``drop`` the text of a study without a usable report, or build one from its ``labels``.
        official_split: use the split table for the patients it names.

    Raises:
        DataError: a table is missing or lacks a column; a patient in two splits.
    """
    base = Path(root)
    films, lateral = _films(base, findings)
    ecgs = _ecgs(base)
    if official_split:
        films["split"] = _splits(base, films)
    pairs, counts = link(films, ecgs, rule)
    partner = pairs.groupby("film")["ecg"].agg(list).to_dict() if len(pairs) else {}
    texts = _reports(base, films, findings, empty_reports)
    rows: list[dict[str, Any]] = []
    targets = []
    nothing = np.full(len(findings), np.nan, dtype=np.float32)
    labels = films[list(findings)].to_numpy(np.float32)
    used: set[Any] = set()
    ecg_columns = {name: ecgs[name].tolist() for name in ("path", "text", "study")}
    for place, film in enumerate(films.itertuples()):
        linked = partner.get(film.Index, [None] if keep_unlinked else [])
        for ecg in linked:
            if not film.path and ecg is None and not texts[place]:
                continue
            used.add(ecg)
            rows.append(
                {
                    "id": f"s{film.study}" if ecg is None else f"s{film.study}-e{ecg_columns['study'][ecg]}",
                    "subject": film.subject,
                    "split": film.split,
                    "xray": film.path,
                    "ecg": "" if ecg is None else ecg_columns["path"][ecg],
                    "xray_report": texts[place],
                    "ecg_report": "" if ecg is None else ecg_columns["text"][ecg],
                    "row": film.row,
                }
            )
            if film.dicom:
                rows[-1]["id"] += f"-{film.dicom[:8]}"
            targets.append(labels[place])
    if keep_unlinked:
        for ecg in ecgs.itertuples():
            if ecg.Index not in used:
                rows.append(
                    {
                        "id": f"e{ecg.study}", "subject": ecg.subject, "split": "", "xray": "", "ecg": ecg.path,
                        "xray_report": "", "ecg_report": ecg.text, "row": ecg.row,
                    }
                )  # fmt: skip
                targets.append(nothing)
    known = {row["subject"]: row["split"] for row in rows if row["split"]}
    for row in rows:
        row["split"] = row["split"] or known.get(row["subject"], "")
    facts = {"link": counts, "films_not_frontal": lateral}
    return make_items(
        rows, findings, np.array(targets), fractions=fractions, seed=seed, facts=facts, where=str(base)
    )


def read_symile_mimic(
    root: str, *, findings: Sequence[str], empty_reports: str, seed: int, fractions: Mapping[str, float]
) -> Items:
    """Symile-MIMIC's ``train.csv``, ``val.csv`` and ``test.csv`` over the two MIMIC folders below ``root``.

    Needs the columns subject_id, hadm_id, cxr_study_id, cxr_path, ecg_path and the findings; ECG statements and
    X-ray reports are added where their data sets are there. Laboratory values are not read.
    """
    base = Path(root)
    cxr = find_table(base, f"{CXR}-metadata.csv").parent
    ecg = find_table(base, "record_list.csv").parent
    statements = _statements(ecg)
    columns = ["subject_id", "hadm_id", "cxr_study_id", "cxr_path", "ecg_path", *findings]
    rows: list[dict[str, Any]] = []
    targets = []
    for name in ("train", "val", "test"):
        place = find_table(base, f"{name}.csv")
        table = read_table(place, columns)
        table["subject"], table["study"] = table["subject_id"], table["cxr_study_id"].str.split(".").str[0]
        values = label_values(table, findings, str(place))
        table[list(findings)] = values
        texts = _reports(base, table, findings, empty_reports)
        films, records = (
            inside(cxr, table["cxr_path"].tolist(), str(place)),
            inside(ecg, table["ecg_path"].tolist(), str(place)),
        )
        for number, one in enumerate(table.itertuples()):
            rows.append(
                {
                    "id": f"h{one.hadm_id}", "subject": one.subject_id, "split": SPLITS[name],
                    "xray": films[number], "ecg": records[number], "xray_report": texts[number],
                    "ecg_report": statements.get(Path(records[number]).name, ""), "row": number + 2,
                }
            )  # fmt: skip
        targets.append(values)
    return make_items(
        rows, findings, np.concatenate(targets), fractions=fractions, seed=seed, facts={}, where=str(base)
    )


def _films(base: Path, findings: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Frontal films, and one row without a film for each study that has none; labels joined by study."""
    place = find_table(base, f"{CXR}-metadata.csv")
    table = read_table(
        place, ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"]
    )
    table["row"] = np.arange(2, len(table) + 2)
    table["time"] = times(table["StudyDate"], table["StudyTime"])
    frontal = table["ViewPosition"].isin(VIEWS)
    others = table[~frontal & ~table["study_id"].isin(table["study_id"][frontal])]
    kept = table[frontal].copy()
    kept["path"] = [
        str(
            place.parent.resolve()
            / f"files/p{one.subject_id[:2]}/p{one.subject_id}/s{one.study_id}/{one.dicom_id}.jpg"
        )
        for one in kept.itertuples()
    ]
    alone = others.drop_duplicates("study_id").assign(path="", dicom_id="")
    import pandas as pd

    films = pd.concat([kept, alone]).rename(
        columns={"subject_id": "subject", "study_id": "study", "dicom_id": "dicom"}
    )
    chexpert = find_table(base, f"{CXR}-chexpert.csv")
    labels = read_table(chexpert, ["subject_id", "study_id"])
    labels = labels[["study_id"]].join(
        pd.DataFrame(
            label_values(labels, findings, str(chexpert)), columns=list(findings), index=labels.index
        )
    )
    films = films.merge(labels.drop_duplicates("study_id"), left_on="study", right_on="study_id", how="left")
    films["split"] = ""
    return films.sort_values("row", kind="stable").reset_index(drop=True), int((~frontal).sum())


def _splits(base: Path, films: pd.DataFrame) -> list[str]:
    place = find_table(base, f"{CXR}-split.csv")
    table = read_table(place, ["study_id", "subject_id", "split"])
    unknown = sorted(set(table["split"]) - set(SPLITS))
    if unknown:
        raise DataError(f"{place}: split", seen=unknown[:5], expected=f"one of {', '.join(SPLITS)}")
    of_study = dict(zip(table["study_id"], table["split"].map(SPLITS)))
    return [of_study.get(study, "") for study in films["study"]]


def _ecgs(base: Path) -> pd.DataFrame:
    place = find_table(base, "record_list.csv")
    table = read_table(place, ["subject_id", "study_id", "ecg_time", "path"])
    texts = _statements(place.parent)
    table = table.rename(columns={"subject_id": "subject", "study_id": "study"})
    table["row"] = np.arange(2, len(table) + 2)
    table["path"] = inside(place.parent, table["path"].tolist(), str(place))
    table["text"] = [texts.get(study, "") for study in table["study"]]
    table["time"] = times(table["ecg_time"])
    return table


def _statements(folder: Path) -> dict[str, str]:
    """Study id -> its machine statements as one text."""
    place = folder / "machine_measurements.csv"
    if not place.is_file():
        return {}
    table = read_table(place, ["study_id", "report_0"])
    columns = [name for name in STATEMENTS if name in table]
    return {
        study: usable(ecg_report(found), "ecg")
        for study, *found in table[["study_id", *columns]].itertuples(index=False, name=None)
    }


def _reports(base: Path, films: pd.DataFrame, findings: Sequence[str], empty: str) -> list[str]:
    """The report text of each film's study, read once a study."""
    folders = [place.resolve() for place in (base, *sorted(base.glob("*/")), *sorted(base.glob("*/*/")))]
    homes = [place for place in folders if (place / "files").is_dir()]
    known: dict[str, str] = {}
    found = []
    labels = films[list(findings)].to_numpy(np.float32)
    for number, one in enumerate(films[["subject", "study"]].itertuples(index=False)):
        if one.study not in known:
            part = f"files/p{one.subject[:2]}/p{one.subject}/s{one.study}.txt"
            place = next((home / part for home in homes if (home / part).is_file()), None)
            raw = place.read_text(encoding="utf-8", errors="replace") if place else ""
            text = usable(xray_report(raw), "xray")
            if not text and empty == "labels":
                text = label_report(dict(zip(findings, labels[number].tolist())))
            known[one.study] = text
        found.append(known[one.study])
    return found
