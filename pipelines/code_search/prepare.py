"""Stage `prepare`: the vocabulary, the training pairs as token arrays, and which words go together."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Learn the vocabulary, tokenize and type the training pairs, learn the table of words."""
    import os

    from code_search.prepared import prepare_with_words, save_prepared
    from code_search.tables import load_split
    from core.files import atomic_directory

    functions = load_split(stage.outputs / "corpus", "train")
    workers = len(os.sched_getaffinity(0))
    prepared, table = prepare_with_words(functions, workers=workers, **params.model.reading)
    with atomic_directory(stage.outputs / "prepared") as folder:
        save_prepared(prepared, folder)
        table.save(folder / "translation.safetensors")


if __name__ == "__main__":
    run_stage(main, Params)
