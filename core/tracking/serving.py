"""Guards of a served model: what a request may hold, said once, checked before any model code runs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import KindredError, ServingError

Kind = Literal["text", "integer", "number", "boolean", "array"]
_KIND_WORDS = {
    "text": "text",
    "integer": "a whole number",
    "number": "a finite number",
    "boolean": "true or false",
    "array": "an array of finite numbers",
}


@dataclass(frozen=True)
class Field:
    """One named value of a request row.

    Args:
        name: column name.
        kind: ``text``, ``integer``, ``number``, ``boolean`` or ``array`` (nested lists of numbers).
        required: whether each row must have it; otherwise ``default`` stands in.
        default: value for a row without it.
        low, high: bounds of a number, inclusive.
        longest: characters of a text, or elements of an array.
        choices: the only texts allowed, when given.
        shape: shape of an array, with None for an axis of any length; () for any shape.
    """

    name: str
    kind: Kind
    required: bool = True
    default: Any = None
    low: float = -math.inf
    high: float = math.inf
    longest: int = 10_000
    choices: tuple[str, ...] = ()
    shape: tuple[int | None, ...] = ()


def read_request(model_input: Any, fields: Sequence[Field], *, max_rows: int = 1000) -> list[dict[str, Any]]:
    """Turn what MLflow hands to ``predict`` into checked rows: a list of ``{field name: value}``.

    Args:
        model_input: DataFrame, list of mappings, mapping of columns or one mapping, or, where exactly one
            field is required, a list of its values or a numpy array whose first axis is the rows.
        fields: what a row may hold.
        max_rows: most rows of one request.

    Returns:
        rows with every field present; integers as int, numbers as float, arrays as float64 ndarray.

    Raises:
        ServingError: empty request, too many rows, unknown or missing field, wrong type or shape, NaN or
            infinity, a text or array that is too long, a path or URL where an array belongs.

    >>> read_request([{"query": "read json"}], [Field("query", "text"), Field("top", "integer", False, 10)])
    [{'query': 'read json', 'top': 10}]
    """
    known = {field.name: field for field in fields}
    count, raw_rows = _raw_rows(model_input, fields)
    if count == 0:
        raise ServingError("the request is empty", expected="at least one row")
    if count > max_rows:
        raise ServingError(
            "rows in the request",
            seen=count,
            expected=f"at most {max_rows}",
            remedy="send it in several requests",
        )
    rows = []
    for number, raw in enumerate(raw_rows):
        unknown = [str(name) for name in raw if name not in known]
        if unknown:
            raise ServingError(
                f"row {number} has the unknown field {unknown[0][:80]!r}", expected=f"only {', '.join(known)}"
            )
        rows.append({name: _value(field, raw.get(name), number) for name, field in known.items()})
    return rows


def request_signature(fields: Sequence[Field], outputs: Mapping[str, str] | None = None) -> Any:
    """The MLflow signature of a request's fields; ``outputs`` maps output columns to MLflow types."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    types = {
        "text": DataType.string,
        "integer": DataType.long,
        "number": DataType.double,
        "boolean": DataType.boolean,
    }
    columns = []
    for field in fields:
        column: Any = types.get(field.kind)
        if column is None:
            column = DataType.double
            for _ in field.shape or (None,):
                column = Array(column)
        columns.append(ColSpec(column, field.name, required=field.required))
    answers = [ColSpec(kind, name) for name, kind in (outputs or {}).items()]
    return ModelSignature(inputs=Schema(columns), outputs=Schema(answers) if answers else None)


def guarded(predict: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a pyfunc's ``predict``: a KindredError reaches the client as status 400 with its sentence.

    Any other exception passes: it is a bug in the model, not in the request.
    """
    import pandas as pd

    @functools.wraps(predict)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return predict(*args, **kwargs)
        except KindredError as error:
            from mlflow.exceptions import MlflowException

            raise MlflowException.invalid_parameter_value(str(error)) from None

    # MLflow warns at every start about a predict without type hint, and checks nothing for this one.
    wrapper.__annotations__ = {"model_input": pd.DataFrame, **getattr(predict, "__annotations__", {})}
    return wrapper


def _raw_rows(data: Any, fields: Sequence[Field]) -> tuple[int, Iterator[Mapping[str, Any]]]:
    """Number of rows and an iterator over them; nothing is copied before the number was checked."""
    required = [field.name for field in fields if field.required]
    if hasattr(data, "columns") and hasattr(data, "iterrows"):
        names = [str(name) for name in data.columns]
        return len(data), (dict(zip(names, row)) for row in data.itertuples(index=False, name=None))
    if isinstance(data, Mapping):
        columns = dict(data)
        lengths = {
            len(value) for value in columns.values() if isinstance(value, list) or hasattr(value, "shape")
        }
        if not lengths:
            return 1, iter([columns])
        if len(lengths) > 1 or not all(isinstance(v, list) or hasattr(v, "shape") for v in columns.values()):
            raise ServingError("the columns of the request have different lengths", seen=sorted(lengths))
        count = lengths.pop()
        return count, ({name: column[row] for name, column in columns.items()} for row in range(count))
    if isinstance(data, str) or not hasattr(data, "__len__"):
        data = [data]
    if len(data) and isinstance(data[0], Mapping):
        if not all(isinstance(row, Mapping) for row in data):
            raise ServingError("the request mixes objects and bare values", expected="a list of objects")
        return len(data), iter(data)
    if len(required) != 1:
        raise ServingError(
            "the request", seen=type(data).__name__, expected=f"rows with the fields {required}"
        )
    return len(data), ({required[0]: value} for value in data)


def _value(field: Field, value: Any, row: int) -> Any:
    name = f"{field.name} in row {row}"
    if _absent(value):
        if field.required:
            raise ServingError(f"{name} is missing", expected=_KIND_WORDS[field.kind])
        return field.default
    if field.kind == "array":
        return _array(field, value, name)
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()  # numpy scalar -> Python
    if field.kind == "text":
        return _text(field, value, name)
    if field.kind == "boolean":
        if not isinstance(value, bool):
            raise ServingError(name, seen=value, expected=_KIND_WORDS["boolean"])
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ServingError(name, seen=value, expected=_KIND_WORDS[field.kind])
    # pandas turns a column of integers with a gap into floats, so a whole float counts as an integer.
    if field.kind == "integer" and value != int(value):
        raise ServingError(name, seen=value, expected=_KIND_WORDS["integer"])
    if not field.low <= value <= field.high:
        raise ServingError(name, seen=value, expected=f"between {field.low:g} and {field.high:g}")
    return int(value) if field.kind == "integer" else float(value)


def _absent(value: Any) -> bool:
    if value is None:
        return True
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _text(field: Field, value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ServingError(name, seen=value, expected="text")
    if not value.strip():
        raise ServingError(f"{name} is empty", expected="text")
    if len(value) > field.longest:
        raise ServingError(
            f"length of {name}", seen=len(value), expected=f"at most {field.longest} characters"
        )
    if field.choices and value not in field.choices:
        raise ServingError(name, seen=value, expected=f"one of {', '.join(field.choices)}")
    return value


def _array(field: Field, value: Any, name: str) -> Any:
    import numpy as np

    if isinstance(value, str | bytes):
        raise ServingError(
            name,
            seen=value,
            expected=_KIND_WORDS["array"],
            remedy="send the numbers themselves; the server opens no file or URL named in a request",
        )
    try:
        array = np.asarray(value)
        if array.dtype == object:  # rows as MLflow nests them, or ragged lists
            array = np.asarray(value.tolist() if hasattr(value, "tolist") else value, dtype=np.float64)
    except (ValueError, TypeError):
        raise ServingError(
            f"{name} is ragged or holds what is not a number", expected=_KIND_WORDS["array"]
        ) from None
    if array.dtype.kind not in "iuf":
        raise ServingError(f"{name} holds {array.dtype}", expected=_KIND_WORDS["array"])
    if array.size > field.longest:
        raise ServingError(f"elements of {name}", seen=array.size, expected=f"at most {field.longest}")
    fits = len(array.shape) == len(field.shape) and all(
        want is None or want == have for want, have in zip(field.shape, array.shape)
    )
    if array.size == 0 or (field.shape and not fits):
        wanted = tuple("any" if want is None else want for want in field.shape)
        raise ServingError(
            f"shape of {name}", seen=array.shape, expected=str(wanted) if wanted else "not empty"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ServingError(f"{name} holds NaN or infinity", expected=_KIND_WORDS["array"])
    return array
