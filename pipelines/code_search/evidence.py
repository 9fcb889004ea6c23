"""Evidence: CoCoSoDa with all its parts against CoCoSoDa without each of them, over several seeds.

`make evidence PIPELINE=code_search [SOURCE=codesearchnet|manifest ROOT=folder]` writes
`reports/code_search/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import sys

from code_search.settings import Params
from core.evaluation.evidence_script import Request, evidence_script


def compare(request: Request[Params]) -> None:
    """Hand the pieces to the library, values only."""
    import os

    from code_search.ablation import ARMS, CLAIM, FULL, ablation_arms, fresh_copy
    from code_search.corpora import read_corpus
    from code_search.prepared import prepare, starting_encoder
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads

    params = request.params
    evidence, model, data = params.evidence, params.model, request.data
    set_threads(params.threads)
    corpus = read_corpus(
        **data.model_dump(exclude={"max_train", "on_problem"}),
        max_train=evidence.max_train,
        seed=params.seed,
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
        settings={
            "pretrain": settings,
            "model": model,
            "data": corpus.digest(),
            "queries": evidence.queries,
            "seed": params.seed,  # of the weights that all arms start from
        },
        source=data.source,
        default=data.source == "installed",
        primary="mrr_hidden",
    )


if __name__ == "__main__":
    sys.exit(evidence_script(compare, Params, "code_search", about=__doc__))
