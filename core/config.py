"""Configuration: frozen pydantic models, unknown keys forbidden, read once at the edge of a stage."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ConfigError


class Settings(BaseModel):
    """Base of every section of a params file: immutable, no unknown key, no text silently read as a number.

    >>> class Train(Settings):
    ...     steps: int = 10
    >>> Train(steps=3).steps
    3
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Trainer(Settings):
    """The section that every training pipeline has: what `core.learning.fit.fit` runs on."""

    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    accelerator: str = "cpu"
    devices: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    strategy: str = "auto"
    workers: int = Field(default=0, ge=0)


S = TypeVar("S", bound=Settings)
_EXPONENT_AS_TEXT = re.compile(r"^[+-]?\d+(\.\d*)?[eE][+-]?\d+$")


def load_settings(path: str | os.PathLike[str], model: type[S]) -> S:
    """Read a YAML params file into ``model``.

    Raises:
        ConfigError: naming the file, the key's path, the value seen, what is expected and the remedy.
    """
    try:
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_OnceLoader)
    except (FileNotFoundError, IsADirectoryError):
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
        remedy = f"YAML reads {seen} as text; write {_yaml_number(seen)} or a plain decimal"
    return ConfigError(name, seen=seen, expected=item["msg"][0].lower() + item["msg"][1:], remedy=remedy)


def _yaml_number(text: str) -> str:
    """The same number with the point and the sign in the exponent that YAML 1.1 asks for."""
    mantissa, exponent = re.split("[eE]", text)
    mantissa += ".0" if "." not in mantissa else "0" if mantissa.endswith(".") else ""
    return f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue  # an item of a list: the models of its elements are already at hand
        models = [
            found
            for current in models
            if part in current.model_fields
            for found in _models_in(current.model_fields[part].annotation)
        ]
    return [name for current in models for name in current.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation mentions: itself, or inside Optional, a union, a list or a dict."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that is given twice in one mapping, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key, Hashable):
                continue
            if key in seen:
                problem = f"key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
