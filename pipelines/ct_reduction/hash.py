"""Stage `hash`: decode every slice once and hash it; what was hashed before comes from the cache."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ct.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Hash the slices; list those whose pixels cannot be used; write the kept share by threshold."""
    import time

    import pandas as pd

    from core.data.checks import Quarantine
    from core.files import atomic_directory, atomic_write, write_json
    from medical.ct.coverage import kept_curve
    from medical.ct.sources import source_root
    from medical.ct.store import codes_of, hash_slices, rejected_csv

    table = pd.read_parquet(stage.outputs / "slices.parquet")
    start = time.perf_counter()
    hashed = hash_slices(
        source_root(params.data, params.seed),
        table,
        window=params.data.window,
        hash_size=params.hash.size,
        cache=params.hash.cache,
        scheduler=params.hash.scheduler,
        workers=params.hash.workers,
        progress="hash",
    )
    seconds = time.perf_counter() - start
    quarantine = Quarantine(params.data.on_problem)
    for problem in hashed.problems:
        quarantine.add(problem.place, problem.kind, problem.reason)
    with atomic_directory(stage.outputs / "hashes") as folder:
        quarantine.finish(folder, checked=len(table), facts={"data_digest": hashed.digest})
        hashed.table.to_parquet(folder / "slices.parquet", index=False)
        curve = kept_curve(
            codes_of(hashed.table), hashed.table["series"].to_numpy(str), params.hash.thresholds
        )
        write_json(folder / "curve.json", curve)
        atomic_write(
            folder / "rejected.csv", rejected_csv(stage.outputs / "validation.json", hashed.problems)
        )
        facts = {"seconds": round(seconds, 3), "slices": len(table), "series_hashed_now": hashed.computed}
        write_json(folder / "speed.json", facts)


if __name__ == "__main__":
    run_stage(main, Params)
