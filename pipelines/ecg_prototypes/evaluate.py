"""Stage `evaluate`: test scores with intervals, the check of highlighted windows, cases, prototypes, figures."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Score the test recordings and write metrics.json and the evaluation folder."""
    import numpy as np

    from core.files import atomic_directory, read_json
    from core.learning.determinism import set_threads
    from core.tracking.result import write_result
    from medical.ecg.demo import EVENTS_FILE
    from medical.ecg.model.folder import load_network
    from medical.ecg.prepared import load_prepared
    from medical.ecg.report import evaluate
    from medical.ecg.windows import read_events

    set_threads(params.threads)
    out = stage.outputs
    validation = read_json(out / "validation.json")
    demo = validation["source"] == "demo"
    histories = {
        **read_json(out / "pretrained" / "history.json")["histories"],
        **{f"joint {name}": one for name, one in read_json(out / "branches" / "history.json").items()},
        **read_json(out / "baseline" / "history.json"),
    }
    with atomic_directory(out / "evaluation") as folder:
        found = evaluate(
            load_prepared(out / "prepared"),
            load_network(out / "model"),
            np.load(out / "baseline" / "test_logits.npy"),
            folder,
            projection=read_json(out / "projection.json"),
            histories=histories,
            events=read_events(out / "demo" / EVENTS_FILE),
            demo=demo,
            **params.evaluate.model_dump(),
        )
    result = {
        "pipeline": stage.pipeline,
        "title": "ECG prototypes (ProtoECGNet)",
        "source": validation["source"],
        "demo": demo,
        "data_digest": validation["data_digest"],
        **found,
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params)
