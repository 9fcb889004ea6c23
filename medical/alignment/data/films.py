"""Data sets of films or reports alone: CheXpert, Actualmed's COVID films, Indiana University's reports.

Irvin et al. 2019 (CheXpert); agchung/Actualmed-COVID-chestxray-dataset; Demner-Fushman et al. 2016 (Open-I).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medical.alignment.data.items import Items, make_items
from medical.alignment.data.report import clean, label_report, usable
from medical.alignment.data.tables import find_table, inside, label_values, read_table

_HIDDEN = re.compile(r"\bX{2,}\b[-\w]*")


def read_chexpert(
    root: str, *, findings: Sequence[str], empty_reports: str, fractions: Mapping[str, float], seed: int
) -> Items:
    """CheXpert's ``train.csv`` and ``valid.csv``: frontal films with labels, and no reports.

    The official validation set is the test split here. With ``empty_reports="labels"`` texts are made of labels.
    """
    rows: list[dict[str, Any]] = []
    targets, lateral = [], 0
    for name, split in (("train", ""), ("valid", "test")):
        place = find_table(Path(root), f"{name}.csv")
        table = read_table(place, ["Path", "Frontal/Lateral", *findings])
        frontal = (table["Frontal/Lateral"] == "Frontal").to_numpy()
        lateral += int((~frontal).sum())
        values = label_values(table, findings, str(place))[frontal]
        kept = table[frontal]
        # paths start with the data set's folder name, which is that of the table
        below = [re.sub(r"^CheXpert[^/]*/", "", path) for path in kept["Path"]]
        paths = inside(place.parent, below, str(place))
        for number, (row, path) in enumerate(zip(kept.index, paths, strict=True)):
            patient = next((part for part in Path(path).parts if part.startswith("patient")), path)
            text = (
                label_report(dict(zip(findings, values[number].tolist())))
                if empty_reports == "labels"
                else ""
            )
            rows.append(
                {
                    "id": "-".join(Path(path).with_suffix("").parts[-3:]), "subject": patient, "split": split,
                    "xray": path, "ecg": "", "xray_report": text, "ecg_report": "", "row": int(row) + 2,
                }
            )  # fmt: skip
        targets.append(values)
    shares = {name: share for name, share in fractions.items() if name != "test"}
    shares = {name: share / sum(shares.values()) for name, share in shares.items()}
    return make_items(
        rows, findings, np.concatenate(targets), fractions=shares, seed=seed,
        facts={"films_not_frontal": lateral}, where=root,
    )  # fmt: skip


def read_actualmed(root: str, *, fractions: Mapping[str, float], seed: int) -> Items:
    """Actualmed's ``metadata.csv`` with ``images/``: films with one finding each, or none stated."""
    place = find_table(Path(root), "metadata.csv")
    table = read_table(place, ["patientid", "finding", "imagename"])
    names = sorted(set(table["finding"]) - {"", "No finding"})
    targets = np.full((len(table), len(names)), np.nan, dtype=np.float32)
    for row, finding in enumerate(table["finding"]):
        if finding:
            targets[row] = [float(finding == name) for name in names]
    images = inside(place.parent / "images", table["imagename"].tolist(), str(place))
    rows = [
        {
            "id": one.imagename, "subject": one.patientid, "split": "", "xray": images[number], "ecg": "",
            "xray_report": "", "ecg_report": "", "row": number + 2,
        }
        for number, one in enumerate(table.itertuples())
    ]  # fmt: skip
    return make_items(rows, names, targets, fractions=fractions, seed=seed, facts={}, where=root)


def read_indiana(root: str, *, fractions: Mapping[str, float], seed: int, most_findings: int = 14) -> Items:
    """Indiana's ``indiana_reports.csv``: reports with coded problems; frontal films where ``images/`` has them.

    De-identified words (XXXX) are taken out. Findings are the most frequent problems.
    """
    from collections import Counter

    place = find_table(Path(root), "indiana_reports.csv")
    table = read_table(place, ["uid", "Problems", "findings", "impression"])
    problems = [[one.strip() for one in cell.split(";") if one.strip()] for cell in table["Problems"]]
    counts = Counter(one for found in problems for one in set(found) if one.lower() != "normal")
    names = [name for name, _ in counts.most_common(most_findings)]
    targets = np.array([[float(name in found) for name in names] for found in problems], dtype=np.float32)
    films = _projections(place.parent)
    rows = []
    for number, one in enumerate(table.itertuples()):
        text = clean(_HIDDEN.sub(" ", f"{one.findings} {one.impression}"))
        rows.append(
            {
                "id": f"uid{one.uid}", "subject": one.uid, "split": "", "xray": films.get(one.uid, ""), "ecg": "",
                "xray_report": usable(text, "xray"), "ecg_report": "", "row": number + 2,
            }
        )  # fmt: skip
    return make_items(rows, names, targets, fractions=fractions, seed=seed, facts={}, where=root)


def _projections(folder: Path) -> dict[str, str]:
    """uid -> its first frontal film that is there."""
    if not (folder / "indiana_projections.csv").is_file():
        return {}
    table = read_table(folder / "indiana_projections.csv", ["uid", "filename", "projection"])
    found: dict[str, str] = {}
    for one in table[table["projection"] == "Frontal"].itertuples():
        for home in (folder / "images", folder / "images" / "images_normalized"):
            path = inside(home, [str(one.filename)], "indiana_projections.csv")[0]
            if one.uid not in found and Path(path).is_file():
                found[one.uid] = path
    return found
