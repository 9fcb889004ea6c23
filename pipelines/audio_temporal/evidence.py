"""Evidence: TeminAL with the temporal head against the base and against leaving parts out, over several seeds.

`make evidence PIPELINE=audio_temporal [SOURCE=esc50 ROOT=folder]` writes
`reports/audio_temporal/evidence.json` and a figure; for another source, files beside them.
"""

from __future__ import annotations

import sys

from audio_language.settings import Params
from core.evaluation.evidence_script import Request, evidence_script


def compare(request: Request[Params]) -> None:
    """Hand the pieces to the library, values only."""
    from audio_language.ablation import CLAIM, Comparison, comparisons
    from audio_language.data.sources import check_enough, inspect, read_clips
    from audio_language.data.store import write_store
    from audio_language.demo import write_demo
    from audio_language.prepared import window_of
    from core.data.checks import Quarantine
    from core.evaluation.evidence import run_evidence
    from core.learning.determinism import set_threads

    params, scratch = request.params, request.scratch
    data, evidence, adapt = request.data, params.evidence, params.adapt
    source, root = data.source, data.root
    set_threads(params.threads)
    if source == "demo":
        root = str(write_demo(scratch / "demo", **data.demo.model_dump(), seed=params.seed))
    quarantine = Quarantine()
    rate, seconds = window_of(params.model.base, params.model.front_end.model_dump())
    listed = read_clips(
        source,
        root or "",
        quarantine,
        manifest=data.manifest,
        folds=data.folds,
        seed=params.seed,
    )
    clips, facts = inspect(listed, quarantine, model_rate=rate)
    check_enough(clips)
    (scratch / "store").mkdir()
    pretrain = params.pretrain.model_dump(exclude={"every_n_steps"})
    steps = {"single": adapt.steps_single, "order": evidence.steps_order or adapt.steps_order}
    settings = {
        "model": {"base": params.model.base, **params.model.architecture},
        "pretrain": {**pretrain, "steps": evidence.pretrain_steps or pretrain["steps"]},
        "adapt": {"steps": steps, "loss": adapt.loss, "rehearsal": adapt.rehearsal, **adapt.training},
        "head": params.model.head.model_dump() if params.model.head else {},
        "pairs": adapt.pairs,
        "fractions": adapt.fractions,
        "test_pairs": evidence.pairs,
    }
    comparison = Comparison(
        write_store(clips, scratch / "store", rate, longest_seconds=seconds),
        **settings,  # type: ignore[arg-type]
        progress=False,
    )
    run_evidence(
        "audio_temporal",
        CLAIM,
        comparison.arms(),
        seeds=evidence.seeds,
        comparisons=comparisons(),
        settings={**settings, "data": facts["data_digest"]},
        source=source,
        primary="order_text",
    )


if __name__ == "__main__":
    sys.exit(evidence_script(compare, Params, "audio_temporal", about=__doc__))
