"""Evidence: CoCoSoDa with all its parts against CoCoSoDa without each of them, over several seeds.

`make evidence PIPELINE=code_search [SOURCE=codesearchnet|manifest ROOT=folder]` writes
`reports/code_search/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from code_search.settings import Params
from core.config import load_settings
from core.errors import KindredError
from core.stage import quiet_environment

PARAMS = Path("pipelines/code_search/params.yaml")


def main() -> int:
    """Read the corpus, train every arm with every seed, write what came out."""
    parser = argparse.ArgumentParser(prog="make evidence PIPELINE=code_search", description=__doc__)
    parser.add_argument("--source", help="data.source; that of the params file by default")
    parser.add_argument("--root", help="data.root for that source")
    parser.add_argument("--manifest", help="data.manifest; ROOT/manifest.csv by default")
    parser.add_argument("--params", type=Path, default=PARAMS)
    options = parser.parse_args()
    quiet_environment()
    try:
        compare(load_settings(options.params, Params), options)
    except KindredError as error:
        print(f"error in evidence: {error}", file=sys.stderr)
        return 2
    return 0


def compare(params: Params, options: argparse.Namespace) -> None:
    """Hand the pieces to the library, values only."""
    import os

    from code_search.ablation import ARMS, CLAIM, FULL, ablation_arms, fresh_copy
    from code_search.corpora import read_corpus
    from code_search.prepared import prepare, starting_encoder
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads

    evidence, model, source = params.evidence, params.model, options.source or params.data.source
    set_threads(params.threads)
    corpus = read_corpus(
        source,
        root=options.root or params.data.root,
        manifest=options.manifest or str(Path(options.root or ".") / "manifest.csv"),
        languages=params.data.languages,
        max_train=evidence.max_train,
        max_valid=params.data.max_valid,
        max_test=params.data.max_test,
        valid_fraction=params.data.valid_fraction,
        seed=params.seed,
        scheduler=params.data.scheduler,
    )
    prepared = prepare(corpus.train, **model.reading, workers=len(os.sched_getaffinity(0)))
    start = starting_encoder(prepared, seed=params.seed, **model.architecture)
    settings = params.pretrain.model_dump(exclude={"every_n_steps"}) | {"steps": evidence.steps}
    run_evidence(
        "code_search",
        CLAIM,
        ablation_arms(
            prepared,
            lambda seed: fresh_copy(start),
            corpus.valid,
            corpus.test,
            queries=evidence.queries,
            settings=settings,
            threads=params.threads,
            validate_every=evidence.steps,
            progress=False,
        ),
        seeds=evidence.seeds,
        comparisons=[(FULL, arm) for arm in ARMS if arm != FULL],
        settings={"pretrain": settings, "model": model, "data": corpus.digest(), "queries": evidence.queries},
        source=source,
        default=source == "installed",
        primary="mrr_hidden",
    )


if __name__ == "__main__":
    sys.exit(main())
