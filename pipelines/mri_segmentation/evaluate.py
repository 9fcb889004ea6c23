"""Stage `evaluate`: Dice and Hausdorff distance on the test patients, masks as NIfTI files, figures."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.mri.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Score every fine-tuned network; write metrics.json, patients.csv, masks and figures."""
    from core.files import atomic_directory, read_json
    from core.tracking.result import write_result
    from medical.mri.prepared import load_prepared
    from medical.mri.report import evaluate
    from medical.mri.runs import RUNS, read_runs, served_run

    out = stage.outputs
    runs = read_runs(out / "finetuned" / RUNS)
    validation = read_json(out / "validation.json")
    demo = validation["source"] == "demo"
    with atomic_directory(out / "evaluation") as folder:
        found = evaluate(
            load_prepared(out / "prepared"),
            runs,
            out / "finetuned",
            {"untrained": out / "initial", "pretrained": out / "pretrained_global"},
            folder,
            served=served_run(runs),
            histories={
                name: read_json(out / f"pretrain_{name}_history.json") for name in ("global", "local")
            },
            bootstrap=params.evaluate.bootstrap,
            demo=demo,
        )
    result = {
        "pipeline": stage.pipeline,
        "title": "MRI segmentation with few labels (global and local contrast)",
        "source": validation["source"],
        "demo": demo,
        "data_digest": validation["data_digest"],
        **found,
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params)
