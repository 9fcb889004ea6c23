"""Clinicians rate prototypes: a gallery to look at, a table to fill in, and what the ratings say.

Questions and scale as in the review behind ProtoECGNet (Sethi et al. 2025): representativeness and clarity, 1 to
5 (strongly disagree to strongly agree), marks for the best and for bad prototypes, and a comment.
"""

from __future__ import annotations

import csv
import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.data.checks import disarm
from core.errors import ConfigError, DataError
from core.files import atomic_directory, atomic_write, write_json
from medical.ecg.data.branches import label_slugs
from medical.ecg.figures import CAPTION, print_figure
from medical.ecg.push import identity_of

COLUMNS = ("prototype", "rater", "representativeness", "clarity", "best", "bad", "comment")
IDENTITY = "identity"
RATINGS, PAGE, PRINTS = "ratings.csv", "index.html", "prints"
QUESTIONS = {
    "representativeness": "shows a typical presentation of its class",
    "clarity": "the signal can be interpreted and is not noisy",
}
_YES = {"1", "true", "yes", "x"}
_HEAD = "<!doctype html><meta charset=utf-8><title>Prototypes for review</title>"


def export_review(
    folder: str | os.PathLike[str],
    prototypes: Sequence[dict[str, Any]],
    signals: np.ndarray,
    fs: float,
    *,
    seconds_seen: float = 0.0,
    demo: bool = False,
) -> Path:
    """Write ``index.html`` with a print of every prototype, and ``ratings.csv`` to be filled in by each rater.

    Args:
        prototypes: of a `PrototypeNetwork`. signals: (P, 12, T) in mV, the recording of each.
        seconds_seen: receptive field, for the caption.

    Raises:
        ConfigError: the folder exists and is no earlier export, or one with ratings in it.
    """
    _check_replaceable(Path(folder))
    names = sorted({name for one in prototypes for name in one["classes"]})
    slugs = label_slugs(names)
    with atomic_directory(folder) as target:
        (target / PRINTS).mkdir()
        cards = []
        for number, (one, signal) in enumerate(zip(prototypes, signals, strict=True)):
            file = f"{PRINTS}/{number:04d}_{'_'.join(slugs[name] for name in one['classes'])}.png"
            print_figure(
                target / file, signal, fs, title=prototype_title(number, one, demo=demo),
                window=window_seconds(one, fs),
                caption=CAPTION.format(seconds=seconds_seen) if seconds_seen else "",
            )  # fmt: skip
            cards.append((number, one, file))
        atomic_write(target / PAGE, _page(cards, names, demo))
        with (target / RATINGS).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow([*COLUMNS, "classes", "ecg_id", IDENTITY])
            for number, one, _ in cards:
                named = [disarm("/".join(one["classes"])), disarm(one["ecg_id"]), disarm(identity_of(one))]
                writer.writerow([number, "", "", "", "", "", "", *named])
    return Path(folder)


def import_review(
    files: Sequence[str | os.PathLike[str]],
    prototypes: Sequence[dict[str, Any]],
    out: str | os.PathLike[str],
    *,
    pruned: Sequence[str] = (),
) -> dict[str, Any]:
    """Read filled tables of one or more raters, and write ``out``: means, agreement, and what is to be pruned.

    A prototype is on the prune list where at least half of its raters marked it as bad. Agreement between raters
    is the two-way random, single-rater intraclass correlation ICC(2,1) (Shrout & Fleiss 1979) over prototypes
    that all of them rated.

    Numbers are those of this model; ``prune_identities`` says the same by `identity_of`, which a projection is
    pruned by: a model that was pruned or trained again has other numbers.

    Args:
        pruned: identities that this model was pruned of before; they go on to be left out.

    Raises:
        DataError: a file that cannot be read, a missing column, a prototype that the model does not have, a rating
            outside 1 to 5, a row given twice; with file and row.
    """
    identities = [identity_of(one) for one in prototypes]
    ratings = [row for file in files for row in _read(Path(file), identities)]
    if not ratings:
        raise DataError("ratings", seen=0, expected="at least one filled row", remedy="fill in ratings.csv")
    keys = [(row["rater"], row["prototype"]) for row in ratings]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise DataError("prototype rated twice by one rater", seen=twice[:5], remedy="keep one row of each")
    raters = sorted({row["rater"] for row in ratings})
    report: dict[str, Any] = {"raters": raters, "ratings": len(ratings)}
    for question in QUESTIONS:
        values = [row[question] for row in ratings if row[question] is not None]
        table = _table(ratings, raters, question)
        report[question] = {
            "mean": float(np.mean(values)) if values else None,
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "icc": intraclass(table) if len(raters) > 1 else None,
            "rated_by_all": len(table),
        }
    by_prototype: dict[int, list[dict[str, Any]]] = {}
    for row in ratings:
        by_prototype.setdefault(row["prototype"], []).append(row)
    report["best"] = sorted(p for p, rows in by_prototype.items() if any(row["best"] for row in rows))
    report["prune"] = sorted(
        p for p, rows in by_prototype.items() if 2 * sum(r["bad"] for r in rows) >= len(rows)
    )
    report["prune_identities"] = list(dict.fromkeys([*pruned, *(identities[p] for p in report["prune"])]))
    report["prototypes"] = [
        {
            "prototype": p,
            IDENTITY: identities[p],
            "classes": list(prototypes[p]["classes"]),
            **{q: _mean([row[q] for row in rows]) for q in QUESTIONS},
            "bad": sum(row["bad"] for row in rows),
            "comments": [row["comment"] for row in rows if row["comment"]],
        }
        for p, rows in sorted(by_prototype.items())
    ]
    write_json(out, report)
    return report


def intraclass(table: np.ndarray) -> float | None:
    """ICC(2,1) of (items, raters); None where it is not defined.

    >>> round(intraclass(np.array([[1, 2], [3, 4], [5, 6.0]])), 3)
    0.889
    """
    items, raters = table.shape if table.ndim == 2 else (0, 0)
    if items < 2 or raters < 2:
        return None
    mean = table.mean()
    rows = raters * ((table.mean(1) - mean) ** 2).sum() / (items - 1)
    columns = items * ((table.mean(0) - mean) ** 2).sum() / (raters - 1)
    rest = ((table - table.mean(1, keepdims=True) - table.mean(0) + mean) ** 2).sum() / (
        (items - 1) * (raters - 1)
    )
    total = rows + (raters - 1) * rest + raters * (columns - rest) / items
    return float((rows - rest) / total) if total > 0 else None


def prototype_title(number: int, one: dict[str, Any], *, demo: bool = False) -> str:
    """What stands above a prototype's print."""
    start = "demo · " if demo else ""
    labels = ", ".join(one["labels"]) or "none"
    return (
        f"{start}prototype {number} of {'/'.join(one['classes'])} ({one['branch']}) | ECG {one['ecg_id']} | "
        f"labels: {labels} | similarity {one['score']:.2f}"
    )


def window_seconds(one: dict[str, Any], fs: float) -> tuple[float, float] | None:
    """The window of a prototype on its own recording, in seconds; None where all of all leads is compared."""
    if one["branch"] == "global":
        return None
    return one["start"] / fs, (one["start"] + one["length"]) / fs


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder that an export would empty of anything but an earlier export, or of ratings."""
    other = "export into another folder"
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}", seen="a file", expected="a folder for the review", remedy=other)
    files = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
    strange = sorted(
        file.as_posix()
        for file in files
        if file.as_posix() not in (PAGE, RATINGS)
        and (file.parent.as_posix(), file.suffix) != (PRINTS, ".png")
    )
    page = folder / PAGE
    if files and not strange and not (page.is_file() and page.read_bytes().startswith(_HEAD.encode())):
        strange = sorted(file.as_posix() for file in files)
    if strange:
        raise ConfigError(
            f"{folder} would be replaced",
            seen=strange[:5],
            expected="no folder, or an earlier export and nothing else",
            remedy=other,
        )
    if (folder / RATINGS).exists() and not _is_blank(folder / RATINGS):
        raise ConfigError(
            f"{folder / RATINGS} would be replaced", seen="ratings, or a changed table",
            expected="the table as it was exported", remedy=other,
        )  # fmt: skip


def _is_blank(path: Path) -> bool:
    """Whether no rater has written into a table; a table that is no longer the exported one counts as written."""
    try:
        rows = _rows(path, COLUMNS)
    except DataError:
        return False
    return not any((cell or "").strip() for _, row in rows for cell in (row[name] for name in COLUMNS[1:]))


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a table with their numbers in the file."""
    remedy = "save it as 'CSV UTF-8 (comma delimited)'"
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in columns if name not in (reader.fieldnames or [])]
            if missing:
                raise DataError(
                    f"{path}: column(s) {', '.join(missing)} missing", seen=reader.fieldnames,
                    expected=", ".join(columns), remedy=f"{remedy}, with all columns of the export",
                )  # fmt: skip
            return list(enumerate(reader, start=2))
    except FileNotFoundError:
        raise DataError(f"{path} is missing", expected=f"a filled {RATINGS}") from None
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path}", seen=str(error), expected="a table in UTF-8", remedy=remedy) from None


def _read(path: Path, identities: Sequence[str]) -> list[dict[str, Any]]:
    rows, count = _rows(path, (*COLUMNS, IDENTITY)), len(identities)
    found = []
    for number, row in rows:
        if not any((row[name] or "").strip() for name in COLUMNS[2:]):
            continue  # not rated
        where = f"{path} row {number}"
        prototype = (row["prototype"] or "").strip()
        if not prototype.isdigit() or int(prototype) >= count:
            raise DataError(
                f"prototype in {where}", seen=prototype, expected=f"a number from 0 to {count - 1}"
            )
        identity, expected = (row[IDENTITY] or "").strip(), disarm(identities[int(prototype)])
        if identity != expected:
            raise DataError(
                f"{IDENTITY} in {where}", seen=identity, expected=f"{expected!r}, as this model has",
                remedy="give the model that was exported for these ratings (--model), or export this one again",
            )  # fmt: skip
        found.append(
            {
                "prototype": int(prototype),
                "rater": (row["rater"] or "").strip() or path.stem,
                **{question: _score(row[question], f"{question} in {where}") for question in QUESTIONS},
                **{mark: (row[mark] or "").strip().lower() in _YES for mark in ("best", "bad")},
                "comment": (row["comment"] or "").strip(),
            }
        )
    return found


def _score(cell: str | None, where: str) -> int | None:
    text = (cell or "").strip()
    if not text:
        return None
    if text not in {"1", "2", "3", "4", "5"}:
        raise DataError(where, seen=text, expected="1, 2, 3, 4 or 5")
    return int(text)


def _table(ratings: Sequence[dict[str, Any]], raters: Sequence[str], question: str) -> np.ndarray:
    """(prototypes rated by all, raters)."""
    values = {(row["prototype"], row["rater"]): row[question] for row in ratings if row[question] is not None}
    everywhere = sorted({p for p, _ in values if all((p, rater) in values for rater in raters)})
    return np.array([[values[p, rater] for rater in raters] for p in everywhere], dtype=np.float64)


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _page(cards: Sequence[tuple[int, dict[str, Any], str]], names: Sequence[str], demo: bool) -> str:
    links = " · ".join(f'<a href="#{html.escape(name)}">{html.escape(name)}</a>' for name in names)
    parts = [
        _HEAD,
        "<style>body{font:15px sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}img{max-width:100%;"
        "border:1px solid #ddd}h2{margin-top:2em}</style>",
        f"<h1>Prototypes for review{' (demo data)' if demo else ''}</h1><p>{links}</p>",
        "<p>Rate each prototype in <code>ratings.csv</code>, 1 (strongly disagree) to 5 (strongly agree): "
        + "; ".join(f"<b>{name}</b>: {text}" for name, text in QUESTIONS.items())
        + ". Mark the best of a class and bad ones with x. Write your name in every row, or name the file after you."
        "</p>",
    ]
    for name in names:
        parts.append(f'<h2 id="{html.escape(name)}">{html.escape(name)}</h2>')
        parts += [
            f"<h3>Prototype {number}</h3><img src='{html.escape(file)}' alt='prototype {number}'>"
            for number, one, file in cards
            if one["classes"][0] == name
        ]
    return "\n".join(parts)
