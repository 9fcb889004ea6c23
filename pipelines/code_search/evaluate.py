"""Stage `evaluate`: BM25, dense and hybrid search on held-out code, robustness to renaming, figures."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Search the test functions and write metrics.json, the rank of every query, and the figures."""
    from code_search.corpora import load_split
    from code_search.evaluate import Vectors, benchmark_task, sample_tasks
    from code_search.model import load_encoder
    from code_search.report import evaluate
    from core.files import atomic_directory, read_json
    from core.stage import stage_costs
    from core.tracking.result import write_result

    settings, out = params.evaluate, stage.outputs
    encoder = load_encoder(out / "model", precision=settings.precision)
    tasks = sample_tasks(load_split(out / "corpus", "test"), settings.queries, settings.sample_seed)
    tasks += [benchmark_task(folder) for folder in settings.benchmarks]
    with atomic_directory(out / "evaluation") as folder:
        found = evaluate(
            tasks,
            Vectors(encoder),
            encoder.dense_weight,
            histories={name: read_json(out / f"{name}_history.json") for name in ("pretrain", "adapt")},
            fusion=read_json(out / "fusion.json"),
            folder=folder,
            settings=settings,
            seed=params.seed,
        )
    validation = read_json(out / "validation.json")
    result = {
        "pipeline": stage.pipeline,
        "title": "Code search (CoCoSoDa)",
        "source": validation["source"],
        "demo": False,
        "data_digest": validation["data_digest"],
        **found,
        **stage_costs(stage.pipeline),
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params)
