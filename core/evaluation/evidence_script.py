"""The command behind `make evidence PIPELINE=name`: options, parameters, a scratch folder, errors as one line."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.config import Settings, load_settings, parse_settings
from core.errors import KindredError
from core.stage import quiet_environment

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Request(Generic[S]):
    """What is to be compared.

    Attributes:
        params: the pipeline's validated parameters.
        source, root, manifest: from the command line, None where they were left out.
        scratch: a folder that is removed afterwards.
    """

    params: S
    source: str | None
    root: str | None
    manifest: str | None
    scratch: Path

    @property
    def data(self) -> Any:
        """The section ``data`` of the params with what the command line says instead, checked as a whole.

        The manifest of own data is that of the command line, of the section, or ROOT/manifest.csv.
        """
        section: Any = self.params.data  # type: ignore[attr-defined]  # every pipeline has it
        said = {"source": self.source, "root": self.root, "manifest": self.manifest}
        raw = section.model_dump(exclude_unset=True) | {k: v for k, v in said.items() if v is not None}
        if raw.get("source") == "manifest" and not raw.get("manifest"):
            raw["manifest"] = str(Path(raw.get("root") or ".") / "manifest.csv")
        return parse_settings(raw, type(section), origin="the command line")


def evidence_script(
    compare: Callable[[Request[S]], object],
    settings: type[S],
    pipeline: str,
    *,
    about: str | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """Run ``compare(request)`` as a script; returns its exit code, 2 after a user's mistake.

    Args:
        compare: does the work, through `core.evaluation.evidence.run_evidence`.
        settings: the pydantic model of the pipeline's params file.
        pipeline: its name.
        about: the text of ``--help``: the script's docstring.
        argv: command line; that of the process by default.
    """
    parser = argparse.ArgumentParser(prog=f"make evidence PIPELINE={pipeline}", description=about)
    parser.add_argument("--source", help="data.source; that of the params file by default")
    parser.add_argument("--root", help="data.root for that source")
    parser.add_argument("--manifest", help="data.manifest; ROOT/manifest.csv by default")
    parser.add_argument("--params", type=Path, default=Path("pipelines") / pipeline / "params.yaml")
    options = parser.parse_args(argv)
    quiet_environment()
    try:
        params = load_settings(options.params, settings)
        with tempfile.TemporaryDirectory(prefix=f"kindred-{pipeline}-") as scratch:
            compare(Request(params, options.source, options.root, options.manifest, Path(scratch)))
    except KindredError as error:
        print(f"error in evidence: {error}", file=sys.stderr)
        return 2
    return 0
