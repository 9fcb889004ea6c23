"""The layout of the PhysioNet/CinC challenges: ``x.hea`` with ``x.mat`` (or .dat), diagnoses as SNOMED codes.

Reyna et al. 2021, "Will two do? Varying dimensions in electrocardiography". The header's comments hold
``Dx: 426783006,...``, ``Age:`` and ``Sex:``. Patients are not named there: each recording is its own.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data.manifest import FRACTIONS
from core.data.splits import group_split
from core.errors import DataError
from medical.ecg.data.items import Items
from medical.ecg.data.problems import BadRecord
from medical.ecg.data.wfdb import read_header

NAMES = {
    "164889003": "AF", "164890007": "AFL", "713427006": "CRBBB", "426783006": "NSR", "445118002": "LAnFB",
    "164909002": "LBBB", "251146004": "LQRSV", "698252002": "NSIVCB", "10370003": "PR", "284470004": "PAC",
    "427172004": "PVC", "164947007": "LPR", "111975006": "LQT", "164917005": "QAb", "59118001": "RBBB",
    "427393009": "SA", "426177001": "SB", "427084000": "STach", "63593006": "SVPB", "164934002": "TAb",
    "59931005": "TInv", "17338001": "VPB", "270492004": "IAVB", "713426002": "IRBBB", "39732003": "LAD",
    "47665007": "RAD",
}  # fmt: skip
"""SNOMED CT code -> abbreviation of the diagnoses that the 2020 and 2021 challenges scored."""
_MAPPINGS = ("dx_mapping_scored.csv", "Dx_map.csv")


def read_cinc(
    root: str | os.PathLike[str],
    *,
    min_records: int = 1,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
) -> Items:
    """All recordings below ``root``, split at random; headers are read, signals are not.

    Codes get their abbreviation from ``dx_mapping_scored.csv`` or ``Dx_map.csv`` in the root, else from the
    scored diagnoses; other codes keep their number.

    Args:
        min_records: labels of fewer recordings are left out.

    Raises:
        DataError: no header, or no diagnosis found.
    """
    import pandas as pd

    base = Path(root)
    names = NAMES | _mapping(base)
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for number, path in enumerate(sorted(base.rglob("*.hea")), start=1):
        try:
            comments = read_header(path).comments
        except BadRecord as error:
            comments = ()
            unreadable.append(str(error))
        said = {key.strip().lower(): value.strip() for key, _, value in (c.partition(":") for c in comments)}
        codes = [code.strip() for code in said.get("dx", "").split(",") if code.strip()]
        rows.append(
            {
                "id": path.relative_to(base).with_suffix("").as_posix(),
                "patient": path.relative_to(base).with_suffix("").as_posix(),
                "path": str(path.resolve()),
                "labels": tuple(dict.fromkeys(names.get(code, code) for code in codes)),
                "row": number,
                "age": _number(said.get("age", "")),
                "sex": said.get("sex", ""),
            }
        )
    if not rows:
        raise DataError(f"no .hea file below {base}", remedy="set data.root to the folder of recordings")
    counts: dict[str, int] = {}
    for row in rows:
        for name in row["labels"]:
            counts[name] = counts.get(name, 0) + 1
    labels = sorted(name for name, count in counts.items() if count >= min_records)
    if not labels:
        raise DataError(
            f"no diagnosis in the headers below {base}", expected="comments such as '# Dx: 426783006'"
        )
    for row in rows:
        row["labels"] = tuple(name for name in labels if name in row["labels"])
    frame = pd.DataFrame(rows)
    frame["split"] = group_split(frame["patient"].tolist(), fractions, seed)
    rare = sorted(set(counts) - set(labels))
    return Items(frame, labels, {"unreadable_headers": len(unreadable), "rare_labels": rare})


def _mapping(base: Path) -> dict[str, str]:
    for name in _MAPPINGS:
        place = base / name
        if place.is_file():
            with place.open(encoding="utf-8-sig", newline="") as stream:
                rows = [
                    {key.strip().lower(): cell for key, cell in row.items()} for row in csv.DictReader(stream)
                ]
            code = next((key for key in (rows[0] if rows else {}) if "code" in key), "")
            if code and "abbreviation" in rows[0]:
                return {row[code].strip(): row["abbreviation"].strip() for row in rows}
    return {}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
