"""Stage `prepare`: the vocabulary, and the training pairs as token arrays."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Learn the vocabulary, then tokenize and type the training pairs."""
    import os

    from code_search.prepared import prepare, save_prepared
    from code_search.tables import load_split
    from core.files import atomic_directory

    prepared = prepare(
        load_split(stage.outputs / "corpus", "train"),
        **params.model.reading,
        workers=len(os.sched_getaffinity(0)),
    )
    with atomic_directory(stage.outputs / "prepared") as folder:
        save_prepared(prepared, folder)


if __name__ == "__main__":
    run_stage(main, Params)
