"""Stage `evaluate`: retrieval in six directions, zero-shot findings, probes, phrases on films, figures."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.alignment.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Measure the model on the test patients; write metrics.json, tables and figures."""
    from core.files import atomic_directory, read_json
    from core.learning.determinism import set_threads
    from core.tracking.result import write_result
    from medical.alignment.model.folder import load_space
    from medical.alignment.prepared import load_prepared
    from medical.alignment.prompts import load_prompts
    from medical.alignment.report import evaluate

    set_threads(params.threads)
    out = stage.outputs
    validation = read_json(out / "validation.json")
    demo = validation["source"] == "demo"
    with atomic_directory(out / "evaluation") as folder:
        found = evaluate(
            load_space(out / "model"),
            load_prepared(out / "prepared"),
            load_prompts(params.evaluate.prompts),
            folder,
            history=read_json(out / "pretrain_history.json"),
            patterns=validation["patterns"],
            truth=out / "demo" / "demo_truth.csv" if demo else None,
            bootstrap=params.evaluate.bootstrap,
            explained=params.evaluate.explained,
            demo=demo,
        )
    result = {
        "pipeline": stage.pipeline,
        "title": "X-ray, ECG and report in one space (MoRE)",
        "source": validation["source"],
        "demo": demo,
        "data_digest": validation["data_digest"],
        **found,
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params)
