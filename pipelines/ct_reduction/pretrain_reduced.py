"""Stage `pretrain_reduced`: contrastive pretraining on the kept slices of the training patients."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ct.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the encoder; a killed run goes on from its last checkpoint."""
    from medical.ct.runs import pretrain_stage

    pretrain_stage(params, stage.outputs, "reduced", checkpoint_dir=stage.checkpoints)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
