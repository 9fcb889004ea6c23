"""Stage `validate`: make the demo where it is asked for, read every raster once, list what cannot be used."""

from __future__ import annotations

from core.stage import Stage, run_stage
from earth_observation.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Write the usable images, and the list of problems."""
    from core.data.checks import Quarantine
    from earth_observation.data.items import save_items
    from earth_observation.data.sources import Checking, check_enough, inspect, read_items
    from earth_observation.demo import write_demo

    data, folder = params.data, stage.outputs / "data"
    root = data.root
    if data.source == "demo":
        root = str(write_demo(folder / "demo", **data.demo.model_dump(), seed=params.seed))
    quarantine = Quarantine(data.on_problem)
    assert root is not None  # the settings refuse another source without root
    items, layout = read_items(
        data.source,
        root,
        quarantine,
        manifest=data.manifest,
        product=data.product,
        fractions=data.fractions,
        seed=params.seed,
        **data.own,
    )
    checking = Checking(layout, data.scale, data.align == "warp", data.limits)
    usable, facts = inspect(items, checking, quarantine, scheduler=data.scheduler)
    quarantine.finish(stage.outputs, checked=len(items), facts={"source": data.source, **facts})
    if params.prepare.blocks is None:
        check_enough(usable)
    save_items(usable, layout, folder / "items.json")


if __name__ == "__main__":
    run_stage(main, Params)
