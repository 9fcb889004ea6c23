"""Prompt sets: what the findings are called in words, for zero-shot classification and explained diagnosis.

A YAML file, editable by the user:

    prefix: "The report from Xray is: "
    findings:
      Edema:
        present: [There is pulmonary edema]
        absent: [There is no pulmonary edema]
        phrase: pulmonary edema
        observations: [haze around the hila, thickened interstitial lines]
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from core.config import Settings, load_settings
from core.errors import ConfigError

PACKAGED = Path(__file__).parent


class Finding(Settings):
    """Statements that it is there and that it is not, the phrase that points to it, and what one may observe."""

    present: list[str] = Field(min_length=1)
    absent: list[str] = Field(min_length=1)
    phrase: str = ""
    observations: list[str] = Field(default_factory=list)


class Prompts(Settings):
    """A prompt set; ``prefix`` stands before every statement, as in the reports of the training."""

    prefix: str = ""
    findings: dict[str, Finding]

    def statements(self, name: str) -> tuple[list[str], list[str]]:
        """(present, absent) of a finding, with the prefix."""
        one = self.findings[name]
        return [self.prefix + text for text in one.present], [self.prefix + text for text in one.absent]

    @property
    def catalogue(self) -> dict[str, list[str]]:
        """Finding -> observations, of the findings that have any, for `medical.alignment.xplain`."""
        return {name: one.observations for name, one in self.findings.items() if one.observations}


def load_prompts(name: str | os.PathLike[str]) -> Prompts:
    """A packaged set by name (``demo``, ``chest``), or a YAML file.

    Raises:
        ConfigError: neither, or a file that does not fit.

    >>> "Edema" in load_prompts("chest").findings
    True
    """
    packaged = PACKAGED / f"{name}.yaml"
    path = packaged if packaged.is_file() else Path(name)
    if not path.is_file():
        known = sorted(file.stem for file in PACKAGED.glob("*.yaml"))
        raise ConfigError("prompt set", seen=str(name), expected=f"one of {', '.join(known)}, or a YAML file")
    return load_settings(path, Prompts)


def parse_prompts(raw: Mapping[str, Any]) -> Prompts:
    """Back from ``model_dump``."""
    return Prompts.model_validate(dict(raw))
