"""Stage `prepare`: every volume as slices of one size, in percentile units, with its mask where it has one."""

from __future__ import annotations

from core.stage import Stage, run_stage
from medical.mri.settings import Params


def main(params: Params, stage: Stage) -> None:
    """Normalise, resample and crop; one array for all volumes."""
    from core.files import atomic_directory
    from medical.mri.listing import load_listing
    from medical.mri.prepared import prepare, save_prepared

    listing, facts, reading = load_listing(stage.outputs / "volumes.json")
    prepared = prepare(
        listing,
        spacing=params.prepare.spacing,
        size=params.prepare.size,
        reading=reading,
        scheduler=params.data.scheduler,
        digests={name: one["digest"] for name, one in facts.items()},
    )
    with atomic_directory(stage.outputs / "prepared") as folder:
        save_prepared(prepared, folder)


if __name__ == "__main__":
    run_stage(main, Params)
