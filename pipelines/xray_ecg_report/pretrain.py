"""Stage `pretrain`: films, ECGs and reports are brought into one space."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.alignment.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the space; a killed run goes on from its last checkpoint."""
    from core.data.digest import digest_of
    from core.files import write_json
    from medical.alignment.augment import Augmentation
    from medical.alignment.learn.train import new_space, train_space
    from medical.alignment.model.lora import trained_parameters
    from medical.alignment.prepared import load_prepared

    prepared = load_prepared(stage.outputs / "prepared")
    space = new_space(
        prepared,
        architecture=params.model.towers,
        objective=params.objective.model_dump(),
        seed=params.seed,
        **params.model.language,
    )
    for name in ("xray", "ecg", "text"):
        trained, whole = trained_parameters(getattr(space.towers, name))
        print(f"{name} tower: {trained:,} of {whole:,} parameters are trained ({trained / whole:.1%})")
    print(
        f"{space.facts['texts_cut']} of {space.facts['training_texts']} reports are cut at model.text_length"
    )
    settings = params.pretrain
    result = train_space(
        space,
        prepared,
        augmentation=None if settings.augment is None else Augmentation(**settings.augment.model_dump()),
        optimization=settings.optimization,
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=digest_of(settings, params.model, params.objective, prepared.facts["digest"]),
        **settings.model_dump(
            include={
                "steps",
                "batch_size",
                "modality_dropout",
                "validate_every",
                "gradient_clip",
                "every_n_steps",
            }
        ),
        **params.trainer.model_dump(),
    )
    space.save(stage.outputs / "pretrained")
    write_json(stage.outputs / "pretrain_history.json", result.history)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
