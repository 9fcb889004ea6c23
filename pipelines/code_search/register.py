"""Stage `register`: the trained encoder and an index of the standard library become a registered model.

Everything that this pipeline writes to MLflow is written here. DVC must not skip it: `registered.json` is
marked `persist` in dvc.yaml, which keeps this stage out of DVC's run cache, so it runs whenever an input
differs from the last run, even where the same inputs were seen before (the champion may be another by
now). Registering the same content with the same result again makes no new version. When the MLflow
database is deleted, nothing that DVC watches changes: `dvc repro -f -s pipelines/code_search/dvc.yaml:register`.
"""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Log the run, index the repository that travels with the model, and register both."""
    import tempfile
    from pathlib import Path

    from code_search import serve
    from code_search.carry import carried_index
    from core.files import read_json
    from core.tracking import read_result, register, start_run

    out = stage.outputs
    result = read_result(out / "metrics.json")
    values = params.model_dump()
    with start_run(stage.pipeline, "train", values, data_digest=result.data_digest) as run:
        for name in ("pretrain", "adapt"):
            run.log_history(read_json(out / f"{name}_history.json"), prefix=f"{name}/")
        run.log_figures(out / figure.file for figure in result.figures)
    with tempfile.TemporaryDirectory(prefix="kindred-index-") as scratch:
        index = carried_index(out / "model", Path(scratch), params.registry)
        register(
            stage.pipeline,
            model_code=serve.__file__,
            artifacts={"encoder": out / "model", "index": index},
            weights=out / "model" / "model.safetensors",
            packages=["core", "code_search"],
            requirements=serve.REQUIREMENTS,
            signature=serve.signature(),
            input_example=serve.input_example(),
            result=result,
            params=values,
            limits=serve.LIMITS,
            output=out / "registered.json",
        )


if __name__ == "__main__":
    run_stage(main, Params)
