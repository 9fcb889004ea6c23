"""Stage `adapt`: the findings head on the frozen space, and the calibration of zero-shot scores."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.alignment.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Fit what turns vectors into probabilities; write the model."""
    from core.learning.determinism import set_threads
    from medical.alignment.adapt import adapt
    from medical.alignment.model.folder import load_space
    from medical.alignment.prepared import load_prepared
    from medical.alignment.prompts import load_prompts

    set_threads(params.threads)
    space = load_space(stage.outputs / "pretrained")
    adapt(
        space,
        load_prepared(stage.outputs / "prepared"),
        load_prompts(params.evaluate.prompts),
        seed=params.seed,
        **params.adapt.model_dump(),
    )
    space.save(stage.outputs / "model")


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
