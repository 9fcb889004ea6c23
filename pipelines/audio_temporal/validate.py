"""Stage `validate`: make the demo where it is asked for, read every file once, list what cannot be used."""

from __future__ import annotations

from audio_language.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Write the usable clips, and the list of problems."""
    from audio_language.data.clip import relative_to_here, save_clips
    from audio_language.data.sources import check_enough, inspect, read_clips
    from audio_language.demo import write_demo
    from core.data.checks import Quarantine

    data, folder = params.data, stage.outputs / "data"
    root = data.root
    if data.source == "demo":
        root = str(write_demo(folder / "demo", **data.demo.model_dump(), seed=params.seed))
    quarantine = Quarantine(data.on_problem)
    assert root is not None  # the settings refuse another source without root
    listed = read_clips(
        data.source, root, quarantine, manifest=data.manifest, folds=data.folds, seed=params.seed
    )
    clips, facts = inspect(
        listed, quarantine, model_rate=params.model.front_end.sample_rate, scheduler=data.scheduler
    )
    checked = len(clips) + len({(one.file, one.row) for one in quarantine.offenders})
    quarantine.finish(stage.outputs, checked=checked, facts={"source": data.source, **facts})
    check_enough(clips)
    save_clips(relative_to_here(clips), folder / "clips.json")


if __name__ == "__main__":
    run_stage(main, Params)
