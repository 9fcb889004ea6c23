"""A request to a served model, as strict JSON with known fields only, before MLflow parses it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core.errors import ServingError

_JSON_TYPES: dict[str, tuple[str, Any]] = {
    "string": ("text", str),
    "boolean": ("true or false", bool),
    "integer": ("a whole number", int),
    "long": ("a whole number", int),
    "float": ("a number", int | float),
    "double": ("a number", int | float),
}
FORMATS = ("dataframe_records", "dataframe_split", "inputs", "instances")


def normalise(body: bytes, columns: Mapping[str, str], params: Sequence[str]) -> bytes:
    """Check a JSON request and bring it into the form that MLflow expects.

    A bare object of field names, ``{"query": "read json"}``, becomes one row.

    Args:
        body: the request as sent.
        columns: field name -> MLflow type name; empty when the model takes unnamed tensors.
        params: names of request-wide parameters.

    Raises:
        ServingError: not an object, NaN or a number beyond float64, unknown field, wrong type, no rows.

    >>> normalise(b'{"query": "x"}', {"query": "string"}, [])
    b'{"dataframe_records": [{"query": "x"}]}'
    """
    request = strict_json(body)
    if not isinstance(request, dict):
        raise ServingError("the request", seen=type(request).__name__, expected="a JSON object")
    used = [name for name in FORMATS if name in request]
    if not used and columns and request:
        _only_known(request, [*columns, *params], "the request")
        wide = {name: request.pop(name) for name in params if name in request}
        request = {"dataframe_records": [request], **({"params": wide} if wide else {})}
        used = ["dataframe_records"]
    if len(used) != 1:
        fields = f", or an object with the fields {', '.join(columns)}" if columns else ""
        expected = f"exactly one of {', '.join(FORMATS)}{fields}"
        raise ServingError("the request", seen=sorted(request), expected=expected)
    _only_known(request, [used[0], "params"], "the request")
    _only_known(request.get("params") or {}, params, "params")
    check_rows(request[used[0]], used[0], columns)
    return json.dumps(request, allow_nan=False).encode()


def check_rows(data: Any, form: str, columns: Mapping[str, str]) -> None:
    """Raise ServingError for unknown fields and for values that MLflow would bend into another type.

    MLflow ignores fields that it does not know, and cuts 2.5 to 2 where the signature says integer.
    """
    if form == "dataframe_split":
        _only_known(data, ["columns", "data", "index"], form)
        names, rows = data.get("columns"), data.get("data")
        if not isinstance(names, list) or not isinstance(rows, list):
            raise ServingError(form, expected="the lists 'columns' and 'data'")
        if any(not isinstance(row, list) or len(row) != len(names) for row in rows):
            raise ServingError(f"data of {form}", expected=f"rows of {len(names)} values")
        rows = [dict(zip(map(str, names), row)) for row in rows]
    else:
        rows = data
    if not isinstance(rows, list | dict) or not rows:
        raise ServingError(f"{form} holds no rows", expected="a list of at least one row")
    if isinstance(rows, dict) and columns:
        _only_known(rows, columns, form)
        for name, value in rows.items():
            for row, cell in enumerate(value if isinstance(value, list) else [value]):
                _check_cell(name, cell, columns[name], row)
    elif columns and (form.startswith("dataframe") or isinstance(rows[0], dict)):
        for number, row in enumerate(rows):
            _only_known(row, columns, f"row {number}")
            for name, cell in row.items():
                _check_cell(name, cell, columns[name], number)
        for name in (name for name, kind in columns.items() if kind in ("integer", "long")):
            given = sum(row.get(name) is not None for row in rows)
            if 0 < given < len(rows):
                raise ServingError(
                    f"{name} is given in {given} of {len(rows)} rows", expected="all rows or none"
                )


def strict_json(body: bytes) -> Any:
    """Parse JSON as the standard has it: no NaN, no Infinity, no 1e400, no endless nesting."""

    if not body.strip():
        raise ServingError("the request is empty", expected="a JSON object")

    def refuse(text: str) -> Any:
        raise ServingError(f"the request holds {text}", expected="finite numbers")

    def number(text: str) -> float:
        value = float(text)
        return value if abs(value) != float("inf") else refuse(text[:40])

    try:
        return json.loads(body, parse_constant=refuse, parse_float=number)
    except ServingError:
        raise
    except RecursionError:
        raise ServingError("the request is nested too deeply") from None
    except ValueError as error:  # includes bad UTF-8 and integers with thousands of digits
        raise ServingError("the request is not JSON", seen=str(error)) from None


def named_columns(schema: Any) -> dict[str, str]:
    """Field name -> MLflow type name ('array' where nested) of an input schema; empty for tensors."""
    if schema is None or not schema.has_input_names():
        return {}
    return {one.name: getattr(one.type, "name", "array") for one in schema.inputs}


def _only_known(found: Any, known: Collection[str], where: str) -> None:
    if not isinstance(found, dict):
        raise ServingError(where, seen=type(found).__name__, expected="an object")
    unknown = sorted(set(found) - set(known))
    if unknown:
        expected = f"only {', '.join(known)}" if known else "none"
        raise ServingError(f"unknown field {unknown[0][:80]!r} in {where}", expected=expected)


def _check_cell(name: str, value: Any, kind: str, row: int) -> None:
    wanted = _JSON_TYPES.get(kind)
    if wanted is None or value is None:
        return
    words, types = wanted
    fits = isinstance(value, types) and isinstance(value, bool) == (kind == "boolean")
    if not fits or (types is int and not -(2**63) <= value < 2**63):
        raise ServingError(f"{name} in row {row}", seen=value, expected=words)
