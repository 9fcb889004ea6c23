"""`kindred map-scene`: land cover, confidence and embeddings of a whole scene as GeoTIFFs with its georeference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import DataError

app = typer.Typer(help="Map scenes.", no_args_is_help=True)
REGISTERED = "models:/eo_pretraining@champion"


@app.command(name="map-scene")
def map_scene(
    scene: Annotated[
        Path, typer.Argument(help="A GeoTIFF of all bands, a folder of band files, or a STAC item.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the maps.")] = Path("maps"),
    name: Annotated[
        str | None, typer.Option(help="How the files begin; the scene's own name by default.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Folder of a model, or models:/NAME@ALIAS.", show_default=REGISTERED)
    ] = REGISTERED,
    scale: Annotated[
        str, typer.Option(help="auto, dn, dn_offset, reflectance, db, power, amplitude or raw.")
    ] = "auto",
    mask: Annotated[Path | None, typer.Option(help="Scene classification (SCL) of the same ground.")] = None,
    tile: Annotated[int, typer.Option(help="Pixels a side of a tile.", min=8)] = 224,
    stride: Annotated[int, typer.Option(help="Pixels from tile to tile.", min=1)] = 160,
    embedding: Annotated[bool, typer.Option(help="Write the embedding raster too.")] = False,
    scheduler: Annotated[
        str, typer.Option(help="serial, processes, local (Dask), or a scheduler's address.")
    ] = "serial",
) -> None:
    """Map a scene of any size; memory grows with its width, not with its area."""
    from core.stage import quiet_environment
    from earth_observation.data.own import scene_files
    from earth_observation.model import load_model
    from earth_observation.scene import Tiling
    from earth_observation.scene import map_scene as run

    quiet_environment()
    if not scene.exists():
        raise DataError(f"scene {scene}", seen="no such file or folder")
    folder = model_folder(model)
    files = scene_files(scene, load_model(folder).sensor, scene if scene.is_dir() else scene.parent)
    report = run(
        folder,
        files,
        out,
        name=name or scene.stem,
        tiling=Tiling(tile, stride, scheduler=scheduler),
        scale=scale,
        mask=mask or "",
        embedding=embedding,
    )
    for warning in report["warnings"]:
        print(f"note: {warning}")
    for file in report["files"]:
        print(out / file)


def model_folder(reference: str) -> Path:
    """The folder of a model: as given, or behind ``models:/NAME@ALIAS``."""
    if not reference.startswith("models:/"):
        return Path(reference)
    from core.tracking.catalog import local_model

    name, _, version = reference.removeprefix("models:/").replace("@", "/").partition("/")
    folder, _ = local_model(name, version or "champion")
    for place in (folder, *sorted(folder.glob("artifacts/*"))):
        if (place / "model.safetensors").is_file() and (place / "config.json").is_file():
            return place
    raise DataError(
        f"model {reference}", seen=f"{folder} without weights", expected="a model of eo_pretraining"
    )
