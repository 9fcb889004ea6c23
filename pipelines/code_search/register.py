"""Stage `register`: the trained encoder and an index of the standard library become a registered model.

Everything that this pipeline writes to MLflow is written here. DVC must not skip it, so `registered.json` is
marked `persist` in dvc.yaml, which keeps this stage out of DVC's run cache: it runs whenever an input
differs from the last run, even where the same inputs were seen before (the champion may be another one by
now). Registering the same content with the same result again makes no new version. Deleting the MLflow
database changes nothing that DVC watches; then run `dvc repro -f -s pipelines/code_search/dvc.yaml:register`.
"""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage

REQUIREMENTS = [
    "bm25s",
    "filelock",
    "numpy",
    "pandas",
    "pathspec",
    "pydantic",
    "PyStemmer",
    "pyyaml",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
]
LIMITS = [
    "Trained and tested on English documentation of Python libraries; other languages are read by the same "
    "vocabulary and were not tested unless a benchmark is listed above.",
    "Test queries are the first lines of docstrings, which are more careful than what people type.",
    "Names carry much of the search: see the rows with names hidden and with variables renamed.",
    "Finds functions by what they say, not by what they do: it proves nothing about a function's behaviour.",
]


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
        index = carried_index(
            out / "model",
            Path(scratch),
            root=params.registry.index_root,
            exclude=params.registry.index_exclude,
        )
        register(
            stage.pipeline,
            model_code=serve.__file__,
            artifacts={"encoder": out / "model", "index": index},
            weights=out / "model" / "model.safetensors",
            packages=["core", "code_search"],
            requirements=REQUIREMENTS,
            signature=serve.signature(),
            input_example=serve.input_example(),
            result=result,
            params=values,
            limits=LIMITS,
            validation=out / "validation.json",
            output=out / "registered.json",
        )


if __name__ == "__main__":
    run_stage(main, Params)
