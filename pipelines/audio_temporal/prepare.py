"""Stage `prepare`: the clips as mono 16-bit samples at the model's rate."""

from __future__ import annotations

from audio_language.settings import Params
from core.stage import Stage, run_stage


def main(params: Params, stage: Stage) -> None:
    """Decode and resample every clip; what a window cannot hold is not kept."""
    from audio_language.data.clip import load_clips
    from audio_language.data.store import write_store
    from audio_language.prepared import window_of
    from core.files import atomic_directory

    rate, seconds = window_of(params.model.base, params.model.front_end.model_dump())
    with atomic_directory(stage.outputs / "prepared") as folder:
        write_store(load_clips(stage.outputs / "data" / "clips.json"), folder, rate, longest_seconds=seconds)


if __name__ == "__main__":
    run_stage(main, Params)
