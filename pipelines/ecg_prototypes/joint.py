"""Stage `joint`: backbone, add-on layers and prototypes of every branch together."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Train the branches one after the other; a killed run goes on from its last checkpoint."""
    from core.files import atomic_directory, read_json, write_json
    from core.tracking.weights import load_weights
    from medical.ecg.learn.stages import branch_configs, train_branches
    from medical.ecg.model.folder import save_branch
    from medical.ecg.prepared import load_prepared

    prepared = load_prepared(stage.outputs / "prepared")
    start = stage.outputs / "pretrained"
    branches, found = train_branches(
        prepared,
        branch_configs(prepared, **params.model.model_dump()),
        load_weights(start / "model.safetensors", read_json(start / "history.json")["weights_sha256"]),
        options=params.joint.options,
        learning=params.training.learning,
        seed=params.seed,
        threads=params.threads,
        checkpoint_dir=stage.checkpoints,
        fingerprint=prepared.facts["digest"],
        **params.training.fitting,
    )
    with atomic_directory(stage.outputs / "branches") as folder:
        for name, branch in branches.items():
            save_branch(branch, folder / name, facts={"digest": prepared.facts["digest"]})
        write_json(folder / "history.json", {name: result.history for name, result in found.items()})


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
