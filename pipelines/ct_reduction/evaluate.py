"""Stage `evaluate`: the selection and what it is worth, as numbers, figures and an HTML report."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ct.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Write metrics.json, the figures, and report.html."""
    import numpy as np
    import pandas as pd

    from core.files import atomic_directory, read_json
    from core.tracking.result import write_result
    from medical.ct.report import evaluate
    from medical.ct.sources import small_images

    out = stage.outputs
    table = pd.read_parquet(out / "selection" / "slices.parquet")
    probes = {
        name: dict(np.load(out / "probe" / f"{name}.npz", allow_pickle=False)) for name in ("full", "reduced")
    }
    demo = params.data.source == "demo"
    digest = read_json(out / "hashes" / "validation.json")["data_digest"]
    with atomic_directory(out / "evaluation") as folder:
        found = evaluate(
            table,
            pd.read_csv(out / "series.csv", keep_default_na=False, dtype=str),
            folder,
            selection=read_json(out / "selection" / "selection.json"),
            curve=read_json(out / "hashes" / "curve.json"),
            hashing=read_json(out / "hashes" / "speed.json"),
            rejected=pd.read_csv(out / "hashes" / "rejected.csv", keep_default_na=False),
            runs={name: read_json(out / f"pretrain_{name}.json") for name in ("full", "reduced")},
            probes=probes,
            load=small_images(params),
            demo=demo,
            digest=digest,
            bootstrap=params.evaluate.bootstrap,
            gallery=params.evaluate.gallery,
            seed=params.seed,
        )
    result = {
        "pipeline": stage.pipeline,
        "title": "CT dataset reduction",
        "source": params.data.source,
        "demo": demo,
        "data_digest": digest,
        **found,
    }
    write_result(out / "metrics.json", result)


if __name__ == "__main__":
    run_stage(main, Params)
