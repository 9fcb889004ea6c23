"""Configuration: frozen pydantic models, unknown keys forbidden, read once at the edge of a stage."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import ConfigError


class Settings(BaseModel):
    """Base of every section of a params file: immutable, no unknown key, no silent conversion of text to numbers.

    >>> class Train(Settings):
    ...     steps: int = 10
    >>> Train(steps=3).steps
    3
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)
_EXPONENT_AS_TEXT = re.compile(r"^[+-]?\d+(\.\d*)?[eE][+-]?\d+$")


def load_settings(path: str | os.PathLike[str], model: type[S]) -> S:
    """Read a YAML params file into ``model``.

    Raises:
        ConfigError: naming the file, the key's path, the value seen, what is expected and the remedy.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing", remedy="run from the repository root, or pass --params"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML", seen=str(error)) from None
    return parse_settings(raw if raw is not None else {}, model, origin=str(path))


def parse_settings(raw: Any, model: type[S], *, origin: str) -> S:
    """Validate plain data against ``model``; ``origin`` names the source in messages."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin}", seen=raw, expected="a mapping of sections to values")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = [_explain(item, raw, model, origin) for item in error.errors()]
        first = problems[0]
        if len(problems) > 1:
            others = "; ".join(str(p) for p in problems[1:6])
            raise ConfigError(f"{first}\n  also: {others}") from None
        raise first from None


def _explain(item: Any, raw: dict[str, Any], model: type[BaseModel], origin: str) -> ConfigError:
    where = ".".join(str(part) for part in item["loc"]) or "(top level)"
    name = f"{where} in {origin}"
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, item["loc"][:-1])
        close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"use one of: {', '.join(sorted(known))}"
        return ConfigError(f"{name} is not a known key", remedy=remedy)
    if item["type"] == "missing":
        return ConfigError(f"{name} is missing", remedy="add it")
    seen = item.get("input")
    remedy = ""
    if isinstance(seen, str) and _EXPONENT_AS_TEXT.match(seen):
        remedy = f"YAML reads {seen} as text; write {seen.replace('e', '.0e') if '.' not in seen else seen} or a plain decimal"
    return ConfigError(name, seen=seen, expected=item["msg"][0].lower() + item["msg"][1:], remedy=remedy)


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    current: Any = model
    for part in location:
        fields = getattr(current, "model_fields", {})
        current = fields[part].annotation if part in fields else None
    return list(getattr(current, "model_fields", {}))
