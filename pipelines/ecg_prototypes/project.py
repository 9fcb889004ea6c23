"""Stage `project`: prototypes become real recordings, then the classifiers and the fusion are fitted on them."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.ecg.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Project, fit, leave out what a review asks for, and write the fused model."""
    from core.files import write_json
    from core.learning.determinism import set_threads
    from medical.ecg.learn.stages import fuse, project_and_fuse, prune
    from medical.ecg.model.folder import load_branch, save_network
    from medical.ecg.prepared import load_prepared
    from medical.ecg.push import identity_of, read_pruned

    set_threads(params.threads)
    settings = params.project
    prepared = load_prepared(stage.outputs / "prepared")
    folder = stage.outputs / "branches"
    branches = {name: load_branch(folder / name, labels=labels) for name, labels in prepared.branches.items()}
    network, report = project_and_fuse(
        prepared,
        branches,
        **settings.model_dump(include={"distinct", "l1", "l2", "classifier_l1", "iterations"}),
    )
    facts = {"digest": prepared.facts["digest"]}
    if settings.prune:
        bad = read_pruned(settings.prune, network.prototypes)
        network, report["not_pruned"] = prune(network, list(bad.values()))
        left = {identity_of(one) for one in network.prototypes}
        facts["pruned"] = [one for one in bad if one not in left]  # the next review goes on from here
        report["fusion"] = fuse(
            network, prepared, l1=settings.l1, l2=settings.l2, iterations=settings.iterations
        )
    save_network(network, stage.outputs / "model", facts=facts)
    write_json(stage.outputs / "projection.json", report)


if __name__ == "__main__":
    run_stage(main, Params, needs_torch=True)
