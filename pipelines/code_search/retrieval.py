"""Note how well a run finds: its retrieval figures go into the committed `reports/code_search/retrieval.json`.

    python -m pipelines.code_search.retrieval [--params FILE] [--outputs FOLDER] [--benchmark FOLDER ...]

There is one entry a params file, named after it; the table of the documentation is made from them
(`python docs/generate_pages.py`). ``--benchmark`` searches further CodeSearchNet or CodeXGLUE language folders
with the run's model, beyond those that `evaluate.benchmarks` named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from code_search.settings import Params
from core.config import load_settings
from core.errors import DataError, KindredError
from core.stage import quiet_environment

REPORT = Path("reports") / "code_search" / "retrieval.json"


def note(params: Params, name: str, outputs: Path, benchmarks: Sequence[str], report: Path) -> None:
    """Put the figures of one run beside those of other params files.

    Raises:
        DataError: the run is not there, or was trained with other settings than ``params``.
    """
    from code_search.scores import metrics, retrieval_rows
    from core.data.digest import digest_of
    from core.files import read_json, write_json
    from core.tracking.result import read_result

    result = read_result(outputs / "metrics.json")
    for stage, settings in (("pretrain", params.pretrain), ("adapt", params.adapt)):
        steps = read_json(outputs / f"{stage}_history.json")[-1]["step"]
        if steps != settings.steps:
            raise DataError(
                f"{outputs}: steps of {stage}", seen=steps, expected=f"{settings.steps}, as {name} says",
                remedy="pass the params file of this run with --params",
            )  # fmt: skip
    found: dict[str, Any] = {key: metric.model_dump() for key, metric in result.metrics.items()}
    if benchmarks:
        found |= metrics(*_searched(params, outputs, benchmarks), params.evaluate.bootstrap)
    validation = read_json(outputs / "validation.json")
    entry = {
        "encoder": params.model.encoder,
        "settings": digest_of(params.model_dump(include={"seed", "data", "model", "pretrain", "adapt"})),
        "source": result.source,
        "data_digest": result.data_digest,
        "evaluation_digest": result.evaluation_digest,
        "pairs": validation["pairs"],
        "rows": retrieval_rows(found),
    }
    kept = read_json(report) if report.is_file() else {}
    write_json(report, dict(sorted({**kept, name: entry}.items(), key=lambda one: one[0].count("."))))


def _searched(params: Params, outputs: Path, folders: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """The tasks of benchmark folders, and the ranks of the run's model on them."""
    from code_search.benchmarks import benchmark_task
    from code_search.evaluate import Vectors, rank_task
    from code_search.model import load_encoder
    from code_search.ranker import Ranker
    from core.learning.determinism import set_threads

    set_threads(params.threads)
    encoder = load_encoder(outputs / "model", precision=params.evaluate.precision)
    vectors, tasks = Vectors(encoder), [benchmark_task(folder) for folder in folders]
    return tasks, [rank_task(task, vectors, encoder.ranker or Ranker()) for task in tasks]


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.code_search.retrieval", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("pipelines/code_search/params.yaml"))
    parser.add_argument("--outputs", type=Path, default=Path("outputs/code_search"))
    parser.add_argument("--benchmark", action="append", default=[], help="a language folder; may be repeated")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the figures go")
    options = parser.parse_args(argv)
    quiet_environment()
    try:
        params = load_settings(options.params, Params)
        note(params, options.params.name, options.outputs, options.benchmark, options.report)
    except KindredError as error:
        print(f"error in retrieval: {error}", file=sys.stderr)
        return 2
    print(f"{options.report}: {options.params.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
