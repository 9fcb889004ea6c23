"""Predict a whole table or folder of files: resumable, and one bad row never stops the rest.

Run as ``python -P -m core.tracking.batch FOLDER INPUT OUTPUT`` with ``PYTHONPATH=FOLDER/code``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from core.errors import ConfigError, DataError, KindredError
from core.files import disk_trouble, read_json, write_json
from core.tracking.guard import plain_failure
from core.tracking.inputs import Inputs, Row, check_source
from core.tracking.request import check_rows, named_columns
from core.tracking.store import quiet_mlflow

GROUP_BYTES = 8 * 2**20


def main() -> int:
    """Command line; exit 0 when each row was answered or listed as an error, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="core.tracking.batch", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--label", default="model")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--column", default="")
    parser.add_argument("--pattern", default="*")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args()
    quiet_mlflow()
    try:
        import mlflow.pyfunc

        check_source(options.input)
        check_output(options.input, options.output)
        values = _assignments(options.set)
        model = mlflow.pyfunc.load_model(str(options.folder))
        done, failed = predict_file(
            model,
            options.input,
            options.output,
            label=options.label,
            batch=options.batch,
            column=options.column,
            values=values,
            pattern=options.pattern,
        )
    except KindredError as error:
        print(f"kindred: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not disk_trouble(error):
            raise
        print(f"kindred: {disk_trouble(error)}; what is written stays, and a rerun goes on", file=sys.stderr)
        return 2
    print(f"{done} rows answered in {options.output}")
    if failed:
        print(f"{failed} rows refused, with their reasons, in {errors_path(options.output)}")
    return 0


def predict_file(
    model: Any,
    source: Path,
    output: Path,
    *,
    label: str,
    batch: int = 64,
    column: str = "",
    values: Mapping[str, str] | None = None,
    pattern: str = "*",
) -> tuple[int, int]:
    """Answer every row of ``source``, a table or a folder (see `Inputs`); returns how many, and how many not.

    ``output`` gets one JSON object a row, ``{"row": n, "prediction": ...}``, n counted from 0, with the names of
    the files that were read for it; rows that the model refuses go to ``<output>.errors.jsonl`` with the reason.
    A repeated call asks about the rows that have no answer, refused ones too; that an output belongs to another input
    or model is an error. At most ``batch`` rows go to the model at once, fewer where their files are large.

    Raises:
        DataError: unreadable input, or an output that belongs to something else.
        ConfigError: an output that is the input, or a file that no call has begun.
    """
    check_source(source)
    check_output(source, output)
    state, errors = state_path(output), errors_path(output)
    columns = named_columns(model.metadata.get_input_schema())
    inputs = Inputs(source, columns, column, values or {}, pattern, leave_out=(output, errors, state))
    identity = {"input_sha256": inputs.identity(), "model": label}
    if state.exists() and read_json(state) != identity:
        raise DataError(
            f"{output} was begun with another input or model",
            remedy=f"choose another output, or delete {_present(output, errors, state)}",
        )
    if not state.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(b"")
        write_json(state, identity)
    errors.write_bytes(b"")  # refused rows are asked again: what refused them may be mended
    finished = _finished_rows(output)
    total, seen = inputs.count(), len(finished)
    with _appended(output) as good, _appended(errors) as bad:
        for group in _groups(inputs.rows(without=finished), batch):
            _answer(model, columns, group, good, bad)
            seen += len(group)
            print(f"\r{seen}/{total} rows", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    refused = len(_finished_rows(errors))
    if not refused:
        errors.unlink()
    return len(_finished_rows(output)), refused


def errors_path(output: Path) -> Path:
    """Where the refused rows of ``output`` are listed."""
    return output.with_name(output.name + ".errors.jsonl")


def state_path(output: Path) -> Path:
    """Where it stands to which input and model ``output`` belongs."""
    return output.with_name(output.name + ".state.json")


def check_output(source: Path, output: Path) -> None:
    """Raise ConfigError where the answers to ``source`` would overwrite it, or a file that no call has begun."""
    if output.is_dir():
        raise ConfigError(f"output {output}", seen="a folder", expected="the name of a .jsonl file")
    state, errors = state_path(output), errors_path(output)
    for file in (output, errors, state):
        if file.exists() and source.exists() and file.samefile(source):
            raise ConfigError(
                f"output {output} would overwrite the input",
                seen=str(file),
                expected=f"another file than {source}",
                remedy="choose another output with -o",
            )
    for file in () if state.exists() else (output, errors):
        if file.exists() and file.stat().st_size:
            raise ConfigError(
                f"output {file} exists already",
                seen=f"{file.stat().st_size} bytes, and no {state.name} beside it",
                expected="a new file, or an output that `kindred predict` has begun",
                remedy=f"choose another output with -o, or delete {_present(output, errors)}",
            )


def _assignments(texts: Iterable[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, sign, _ in pairs:
        if not name or not sign:
            raise ConfigError("--set", seen=name, expected="FIELD=VALUE")
    return {name: value for name, _, value in pairs}


def _present(*files: Path) -> str:
    return ", ".join(file.name for file in files if file.exists())


def _appended(path: Path) -> IO[str]:
    # Half a surrogate pair, as in the name of a Latin-1 file, is no UTF-8; written \udcxx it is JSON all the same.
    return path.open("a", encoding="utf-8", errors="backslashreplace")


def _groups(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == most or sum(one.size for one in group) >= GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def _answer(model: Any, columns: Mapping[str, str], group: list[Row], good: IO[str], bad: IO[str]) -> None:
    for row in group:
        if isinstance(row.content, str):
            _write(bad, {"row": row.number, **_files(row), "error": row.content})
    readable = [(row, row.content) for row in group if isinstance(row.content, dict)]
    for row, answer in zip((row for row, _ in readable), _answers(model, columns, readable), strict=True):
        if isinstance(answer, Exception):
            reason = _sentence(answer, row.number)
            _write(bad, {"row": row.number, **_files(row), "error": reason, "input": row.given})
        else:
            _write(good, {"row": row.number, **_files(row), "prediction": answer})
    for stream in (good, bad):
        stream.flush()
        os.fsync(stream.fileno())


def _answers(
    model: Any, columns: Mapping[str, str], readable: list[tuple[Row, dict[str, Any]]]
) -> Iterator[Any]:
    """An answer, or the exception, for each row: one bad row spoils a batch, so each then gets its own chance."""
    try:
        yield from _predict(model, columns, [content for _, content in readable]) if readable else []
        return
    except Exception as error:
        if len(readable) == 1:
            yield error
            return
    for _, content in readable:
        try:
            yield _predict(model, columns, [content])[0]
        except Exception as error:
            yield error


def _files(row: Row) -> dict[str, Any]:
    """The names of the files of a row, so that its answer can be told without counting."""
    return {"file": row.files[0] if len(row.files) == 1 else list(row.files)} if row.files else {}


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


if __name__ == "__main__":
    sys.exit(main())
