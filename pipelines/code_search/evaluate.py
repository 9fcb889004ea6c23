"""Stage `evaluate`: BM25, dense and hybrid search on held-out code, robustness to renaming, figures."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Search the test functions and write metrics.json, the rank of every query, and the figures."""
    from code_search.benchmarks import benchmark_task
    from code_search.evaluate import Vectors, sample_tasks
    from code_search.model import load_encoder
    from code_search.ranker import Ranker
    from code_search.report import evaluate
    from code_search.tables import load_split
    from core.files import atomic_directory, read_json
    from core.tracking.result import write_result

    settings, out = params.evaluate, stage.outputs
    renaming = settings.robustness
    encoder = load_encoder(out / "model", precision=settings.precision)
    tasks = sample_tasks(load_split(out / "corpus", "test"), settings.queries, settings.sample_seed)
    tasks += [benchmark_task(folder) for folder in settings.benchmarks]
    fusion = read_json(out / "fusion.json")
    with atomic_directory(out / "evaluation") as folder:
        found = evaluate(
            tasks,
            Vectors(encoder),
            encoder.ranker or Ranker(),
            folder,
            histories={name: read_json(out / f"{name}_history.json") for name in ("pretrain", "adapt")},
            fitted=fusion["mrr"],
            bootstrap=settings.bootstrap,
            functions=renaming.functions,
            counts=[None if count == "all" else count for count in renaming.counts],
            rates=renaming.rates,
            draws=renaming.draws,
        )
    validation = read_json(out / "validation.json")
    result = {
        "pipeline": stage.pipeline,
        "title": "Code search (CoCoSoDa)",
        "source": validation["source"],
        "demo": False,
        "data_digest": validation["data_digest"],
        **found,
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params)
