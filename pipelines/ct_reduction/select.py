"""Stage `select`: which slices stay, which slice stands for each that goes, and the index of those that stay."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ct.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Choose, and write kept.csv, removed.csv, the whole table and the index."""
    import pandas as pd

    from medical.ct.selection import save_selection, select_slices, with_selection

    table = pd.read_parquet(stage.outputs / "hashes" / "slices.parquet")
    selection = select_slices(table, params)
    save_selection(
        with_selection(table, selection),
        stage.outputs / "selection",
        selection=selection,
        method=params.select.method,
        window=params.data.window,
    )
    print(f"kept {len(selection.keep):,} of {len(table):,} slices ({selection.ratio:.1%})")


if __name__ == "__main__":
    run_stage(main, Params)
