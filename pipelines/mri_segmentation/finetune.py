"""Stage `finetune`: the whole network on few labelled volumes, from pretrained and from random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.stage import Stage, run_stage
from medical.mri.settings import Params

if TYPE_CHECKING:
    from core.encoders.unet import UNet
    from medical.mri.model import Architecture


def main(params: Params, stage: Stage) -> None:
    """Train every run; finished runs are kept, so that a killed stage goes on with the rest."""
    from core.data.digest import digest_of
    from core.files import atomic_directory
    from medical.mri.model import load_model
    from medical.mri.prepared import load_prepared
    from medical.mri.runs import PRETRAINED, RANDOM
    from medical.mri.training import train_runs

    prepared = load_prepared(stage.outputs / "prepared")
    folders = {PRETRAINED: stage.outputs / "pretrained", RANDOM: stage.outputs / "initial"}

    def start(name: str) -> tuple[UNet, Architecture, dict[str, Any]]:
        return load_model(folders[name], size=prepared.size, classes=prepared.classes)

    digests = [start(name)[2]["weights_sha256"] for name in folders]
    with atomic_directory(stage.outputs / "finetuned") as folder:
        train_runs(
            prepared,
            start,
            folder,
            labelled=params.finetune.labelled,
            extras=params.finetune.extras,
            mixup_alpha=params.finetune.mixup_alpha,
            rounds=params.finetune.rounds,
            fingerprint=digest_of(params.finetune, prepared.digest, digests),
            checkpoints=stage.checkpoints,
            seed=params.seed,
            threads=params.threads,
            **params.finetune.fitting,
            **params.trainer.model_dump(),
        )


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
