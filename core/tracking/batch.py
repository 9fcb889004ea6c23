"""Predict a whole CSV or JSONL file: resumable, and one bad row never stops the rest.

Run as ``python -P -m core.tracking.batch FOLDER INPUT OUTPUT`` with ``PYTHONPATH=FOLDER/code``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

from core.errors import DataError, KindredError
from core.files import read_json, sha256_file, write_json
from core.tracking.guard import plain_failure
from core.tracking.request import check_rows, named_columns
from core.tracking.store import quiet_mlflow


def main() -> int:
    """Command line; exit 0 when each row was answered or listed as an error, 2 for a mistake in the input."""
    parser = argparse.ArgumentParser(prog="core.tracking.batch", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--label", default="model")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    quiet_mlflow()
    try:
        import mlflow.pyfunc

        check_input(options.input)
        model = mlflow.pyfunc.load_model(str(options.folder))
        done, failed = predict_file(
            model, options.input, options.output, label=options.label, batch=options.batch
        )
    except KindredError as error:
        print(f"kindred: {error}", file=sys.stderr)
        return 2
    print(f"{done} rows answered in {options.output}")
    if failed:
        print(f"{failed} rows refused, with their reasons, in {errors_path(options.output)}")
    return 0


def predict_file(model: Any, source: Path, output: Path, *, label: str, batch: int = 64) -> tuple[int, int]:
    """Answer every row of ``source``; returns the numbers of rows answered and refused.

    ``output`` gets one JSON object a row, ``{"row": n, "prediction": ...}``, n counted from 0; rows that
    the model refuses go to ``<output>.errors.jsonl`` with the reason. An interrupted call goes on after
    the last whole line; that a finished or interrupted output belongs to another input or model is an error.

    Raises:
        DataError: unreadable input, or an output that belongs to something else.
    """
    check_input(source)
    identity = {"input_sha256": sha256_file(source), "model": label}
    state, errors = output.with_name(output.name + ".state.json"), errors_path(output)
    if state.exists() and read_json(state) != identity:
        raise DataError(
            f"{output} was begun with another input or model",
            remedy=f"choose another output, or delete {state.name}",
        )
    if not state.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        for file in (output, errors):
            file.write_bytes(b"")
        write_json(state, identity)
    finished = _finished_rows(output) | _finished_rows(errors)
    columns, total = named_columns(model.metadata.get_input_schema()), _count(source)
    with output.open("a", encoding="utf-8") as good, errors.open("a", encoding="utf-8") as bad:
        pending = ((number, row) for number, row in read_rows(source, columns) if number not in finished)
        seen = len(finished)
        while group := list(islice(pending, batch)):
            _answer(model, columns, group, good, bad)
            seen += len(group)
            print(f"\r{seen}/{total} rows", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    refused = len(_finished_rows(errors))
    if not refused:
        errors.unlink()
    return len(_finished_rows(output)), refused


def read_rows(source: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Rows of a CSV or JSONL file; a row that cannot be read is yielded as the sentence that says why."""
    with source.open(encoding="utf-8-sig", newline="") as stream:
        if source.suffix.lower() == ".csv":
            for number, row in enumerate(csv.DictReader(stream)):
                if None in row or None in row.values():
                    yield number, "the row has more or fewer cells than the header"
                else:
                    yield (
                        number,
                        {name: _typed(cell, columns.get(name, "string")) for name, cell in row.items()},
                    )
            return
        for number, line in enumerate(one for one in stream if one.strip()):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"not JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else "not a JSON object"


def check_input(source: Path) -> None:
    """Raise DataError unless ``source`` is a readable .csv, .jsonl or .ndjson file in UTF-8."""
    if source.suffix.lower() not in (".csv", ".jsonl", ".ndjson"):
        raise DataError(f"input {source}", seen=source.suffix, expected="a .csv, .jsonl or .ndjson file")
    try:
        with source.open(encoding="utf-8") as stream:
            for _ in stream:
                pass
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8", seen=str(error), remedy="convert it with iconv") from None
    except OSError as error:
        raise DataError(f"{source} cannot be read", seen=error.strerror) from None


def errors_path(output: Path) -> Path:
    """Where the refused rows of ``output`` are listed."""
    return output.with_name(output.name + ".errors.jsonl")


def _answer(
    model: Any, columns: Mapping[str, str], group: list[tuple[int, Any]], good: IO[str], bad: IO[str]
) -> None:
    readable = [(number, row) for number, row in group if isinstance(row, dict)]
    for number, reason in group:
        if isinstance(reason, str):
            _write(bad, {"row": number, "error": reason})
    try:
        answers = _predict(model, columns, [row for _, row in readable]) if readable else []
        for (number, _), answer in zip(readable, answers):
            _write(good, {"row": number, "prediction": answer})
    except Exception:
        # One bad row spoils a batch, so each gets its own chance.
        for number, row in readable:
            try:
                answer = _predict(model, columns, [row])[0]
            except Exception as error:
                _write(bad, {"row": number, "error": _sentence(error, number), "input": row})
            else:
                _write(good, {"row": number, "prediction": answer})
    for stream in (good, bad):
        stream.flush()
        os.fsync(stream.fileno())


def _predict(model: Any, columns: Mapping[str, str], rows: list[dict[str, Any]]) -> list[Any]:
    import pandas as pd

    check_rows(rows, "dataframe_records", columns)
    answers = model.predict(pd.DataFrame.from_records(rows))
    answers = answers.to_dict("records") if hasattr(answers, "to_dict") else list(answers)
    if len(answers) != len(rows):
        raise DataError(f"{len(rows)} rows were asked, {len(answers)} answers came back")
    return [_plain(answer) for answer in answers]


def _plain(answer: Any) -> Any:
    text = json.dumps(
        answer, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value)
    )
    return json.loads(text)


def _sentence(error: Exception, row: int) -> str:
    message = plain_failure(400, json.dumps({"message": str(error)}).encode())[1]
    # The row was sent alone, so the model calls it row 0.
    return message.replace("in row 0", f"in row {row}")


def _write(stream: IO[str], row: dict[str, Any]) -> None:
    stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _finished_rows(path: Path) -> set[int]:
    """Row numbers in a results file; a half-written last line is cut off."""
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
    return {json.loads(line)["row"] for line in whole.splitlines()}


def _count(source: Path) -> int:
    return sum(1 for _ in read_rows(source, {}))


def _typed(cell: str, kind: str) -> Any:
    """A CSV cell in the type of its column; what does not convert is left for the model to refuse."""
    if kind != "string" and cell == "":
        return None
    try:
        if kind in ("long", "integer"):
            return int(cell)
        if kind in ("double", "float"):
            return float(cell)
    except ValueError:
        return cell
    if kind == "boolean" and cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    return json.loads(cell) if kind == "array" and cell.startswith("[") else cell


if __name__ == "__main__":
    sys.exit(main())
