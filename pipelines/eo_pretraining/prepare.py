"""Stage `prepare`: chips of one size as normalised bytes, with their label sets and land cover."""

from __future__ import annotations

from core.stage import Stage, run_stage
from earth_observation.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Cut, normalise and label the usable images."""
    from core.files import atomic_directory
    from earth_observation.data.items import load_items
    from earth_observation.data.write import write_store

    items, layout = load_items(stage.outputs / "data" / "items.json")
    with atomic_directory(stage.outputs / "prepared") as folder:
        write_store(
            items,
            layout,
            folder,
            **params.prepare.model_dump(),
            warp=params.data.align == "warp",
            scheduler=params.data.scheduler,
        )


if __name__ == "__main__":
    run_stage(main, Params)
