"""`kindred map-scene`: maps of a whole scene. `kindred landslides`: landslides from colour and terrain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import ConfigError, DataError

app = typer.Typer(help="Map scenes and landslides.", no_args_is_help=True)
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
    from core.tracking.find import model_folder
    from earth_observation.data.own import scene_files
    from earth_observation.model import load_model
    from earth_observation.scene import Tiling
    from earth_observation.scene import map_scene as run

    quiet_environment()
    if not scene.exists():
        raise DataError(
            f"scene {scene}",
            seen="no such file or folder",
            expected="a GeoTIFF, a folder of band files or a STAC item",
        )
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


@app.command()
def landslides(
    picture: Annotated[
        Path | None, typer.Argument(help="GeoTIFF in colour; generated ground where left out.")
    ] = None,
    dem: Annotated[
        Path | None, typer.Argument(help="Elevation of the same ground, in metres, on any grid.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Known landslides to learn from: a raster (1, 0; 255 unknown), or GeoJSON polygons."
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder `model` of an earlier training, instead of labels.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for model, metrics and maps; replaced.")] = Path(
        "landslides"
    ),
    tile: Annotated[int, typer.Option(help="Pixels a side of a tile, a multiple of 8.", min=16)] = 64,
    steps: Annotated[int, typer.Option(help="Of training.", min=1)] = 150,
    alpha: Annotated[
        float, typer.Option(help="Weight of the hyper-pixel contrast; 0 leaves it out.", min=0)
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Of weights, batches and generated ground.")] = 0,
    threads: Annotated[
        int | None, typer.Option(help="Of torch; equal results need the same number.", min=1)
    ] = None,
) -> None:
    """Learn landslides from colour and terrain (HPCL-Net), score them on blocks kept apart, map the whole ground."""
    from core.learning.determinism import set_threads
    from core.stage import quiet_environment
    from earth_observation.landslide.demo import write_landslides
    from earth_observation.landslide.ground import default_files, read_ground
    from earth_observation.landslide.recipe import check_out, learn_and_map, map_with

    quiet_environment()
    set_threads(threads)
    if picture is None:
        print("no picture is given: generated ground (demo data)")
        drawn = Path(f"{out}-demo")
        check_out(drawn, [model], written=[file.name for file in default_files(drawn)])
        picture, dem, labels = default_files(write_landslides(drawn, seed=seed))
    if dem is None or (labels is None) == (model is None):
        raise ConfigError(
            "landslides", seen={"dem": dem, "labels": labels, "model": model},
            expected="PICTURE DEM with --labels to train, or with --model to map",
        )  # fmt: skip
    check_out(out, [picture, dem, labels, model])
    ground = read_ground(picture, dem, labels)
    for note in ground.notes:
        print(f"note: {note}")
    if model is not None:
        map_with(model, ground, out)
    else:
        found = learn_and_map(ground, out, tile=tile, steps=steps, alpha=alpha, seed=seed)
        for name, value in found.items():
            print(f"{name:22s} {value:.3f}" if value % 1 else f"{name:22s} {value:.0f}")
    for file in sorted(out.iterdir()):
        print(file)
