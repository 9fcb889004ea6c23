"""Stage `validate`: read every file once, list what cannot be used and why, keep the pairs by split."""

from __future__ import annotations

from code_search.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Read the corpus and write it with the list of problems."""
    from collections import Counter

    from code_search.corpora import SPLITS, read_corpus
    from code_search.tables import save_splits
    from core.data.checks import Quarantine
    from core.files import atomic_directory

    data = params.data
    quarantine = Quarantine(data.on_problem)
    corpus = read_corpus(
        data.source,
        root=data.root,
        manifest=data.manifest,
        languages=data.languages,
        max_train=data.max_train,
        max_valid=data.max_valid,
        max_test=data.max_test,
        valid_fraction=data.valid_fraction,
        seed=params.seed,
        scheduler=data.scheduler,
    )
    for file in corpus.files:
        if file.status == "skipped":
            quarantine.add(f"{file.group}/{file.path}", file.reason, file.reason)
        elif file.reason:
            quarantine.warn(f"{file.group}/{file.path}", file.status, file.reason)
    splits = {split: getattr(corpus, split) for split in SPLITS}
    quarantine.finish(
        stage.outputs,
        checked=len(corpus.files),
        facts={
            "source": data.source,
            "data_digest": corpus.digest(),
            "pairs": {split: len(functions) for split, functions in splits.items()},
            "groups": {split: len({f.group for f in functions}) for split, functions in splits.items()},
            "languages": dict(Counter(f.language for f in corpus.train)),
            "functions_left_out": corpus.dropped,
        },
    )
    with atomic_directory(stage.outputs / "corpus") as folder:
        save_splits(splits, folder)


if __name__ == "__main__":
    run_stage(main, Params)
