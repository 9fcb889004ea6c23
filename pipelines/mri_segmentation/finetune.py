"""Stage `finetune`: the whole network on few labelled volumes, from pretrained and from random weights."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.mri.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train every run; finished runs are kept, so that a killed stage goes on with the rest."""
    from core.data.digest import digest_of
    from core.files import atomic_directory
    from medical.mri.model import load_model
    from medical.mri.prepared import load_prepared
    from medical.mri.training import PRETRAINED, RANDOM, train_runs

    prepared = load_prepared(stage.outputs / "prepared")
    folders = {PRETRAINED: stage.outputs / "pretrained", RANDOM: stage.outputs / "initial"}
    fits = {"size": prepared.size, "classes": prepared.classes}
    digests = [load_model(folder, **fits)[2]["weights_sha256"] for folder in folders.values()]
    with atomic_directory(stage.outputs / "finetuned") as folder:
        train_runs(
            prepared,
            lambda name: load_model(folders[name], **fits),
            folder,
            labelled=params.finetune.labelled,
            extras=params.finetune.extras,
            mixup_alpha=params.finetune.mixup_alpha,
            fingerprint=digest_of(params.finetune, prepared.digest, digests),
            checkpoints=stage.checkpoints,
            seed=params.seed,
            threads=params.threads,
            **params.finetune.fitting,
            **params.trainer.model_dump(),
        )


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
