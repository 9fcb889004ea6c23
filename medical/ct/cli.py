"""`kindred ct hash`, `select`, `query`: from a folder of CT to the list of slices worth training on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.exit_codes import NOTHING_FOUND
from core.errors import DataError

if TYPE_CHECKING:
    from medical.ct.data.series import Scan

app = typer.Typer(help="Commands of the CT reduction.", no_args_is_help=True)
ct = typer.Typer(help="Find near-duplicate CT slices.", no_args_is_help=True)
app.add_typer(ct, name="ct")

Root = Annotated[Path, typer.Argument(help="The folder with the data.")]
Out = Annotated[Path, typer.Option(help="The folder of the results.")]
Source = Annotated[str, typer.Option(help="dicom, nifti, lidc, autopet, covid_ct_md or manifest.")]
Scheduler = Annotated[
    str, typer.Option(help="serial, processes, local (Dask here) or the address of a Dask scheduler.")
]


@ct.command("hash")
def hash_folder(
    root: Root,
    out: Out = Path("ct_reduction"),
    source: Source = "dicom",
    manifest: Annotated[str | None, typer.Option(help="The CSV of own data, with --source manifest.")] = None,
    window: Annotated[str, typer.Option(help="A window by name, or per_slice_minmax.")] = "chest",
    size: Annotated[int, typer.Option(help="Side of the hash: 8 (64 bits) or 16.")] = 8,
    scheduler: Scheduler = "processes",
) -> None:
    """Hash every slice below ROOT. Stopped or killed, it goes on where it was; what did not change is not read."""
    from core.data.checks import findings_csv
    from core.files import atomic_write, write_json
    from medical.ct.coverage import kept_curve
    from medical.ct.data.layouts import read_source
    from medical.ct.data.series import slice_table
    from medical.ct.store import codes_of, hash_slices

    scan = read_source(source, root, manifest=manifest, scheduler=scheduler)
    if not scan.series:
        raise DataError(
            f"no CT series below {root}", seen=_kinds(scan), remedy="choose another --source or folder"
        )
    hashed = hash_slices(
        root,
        slice_table(scan.series),
        window=window,
        hash_size=size,
        cache=out / "cache",
        scheduler=scheduler,
        progress="hash",
    )
    scan.rejected += hashed.problems
    atomic_write(out / "rejected.csv", findings_csv(_findings(scan)))
    hashed.table.to_parquet(out / "slices.parquet", index=False)
    write_json(out / "hash.json", {"window": window, "hash_size": size, "root": str(root.resolve())})
    print(
        f"{len(hashed.table):,} slices of {hashed.table['series'].nunique()} series hashed "
        f"({hashed.computed} series now), {len(scan.rejected):,} left out: see {out / 'rejected.csv'}"
    )
    print("threshold  kept share")
    for row in kept_curve(codes_of(hashed.table), hashed.table["series"].to_numpy(str), range(0, 17, 2)):
        print(f"{row['threshold']:>9}  {row['ratio']:.1%}")


@ct.command("select")
def select_folder(
    out: Out = Path("ct_reduction"),
    threshold: Annotated[int, typer.Option(help="Largest distance of a duplicate, in bits.")] = 6,
    scope: Annotated[str, typer.Option(help="volume or dataset.")] = "volume",
    target_ratio: Annotated[
        float | None, typer.Option(help="Find the threshold that keeps this share instead.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="How far from that share it may be.")] = 0.05,
) -> None:
    """Choose the slices to keep: kept.csv, removed.csv, and the index that `query` asks."""
    import pandas as pd

    from core.errors import ConfigError
    from core.files import read_json
    from medical.ct.select import select, select_to_ratio
    from medical.ct.selection import save_selection, slices_of, with_selection

    if scope not in ("volume", "dataset"):
        raise ConfigError("--scope", seen=scope, expected="volume or dataset")
    facts = read_json(out / "hash.json")
    table = pd.read_parquet(out / "slices.parquet")
    slices, shared = slices_of(table), {"method": "dhash", "scope": scope}
    found = (
        select(slices, threshold=threshold, **shared)  # type: ignore[arg-type]
        if target_ratio is None
        else select_to_ratio(slices, ratio=target_ratio, tolerance=tolerance, **shared)  # type: ignore[arg-type]
    )
    folder = out / "selection"
    save_selection(
        with_selection(table, found), folder, selection=found, method="dhash", window=facts["window"]
    )
    print(
        f"kept {len(found.keep):,} of {len(table):,} slices ({found.ratio:.1%}) at threshold {found.threshold:g}: "
        f"see {folder / 'kept.csv'}"
    )


@ct.command("query")
def query(
    new: Annotated[Path, typer.Option("--new", help="A DICOM, NIfTI or image file, or a folder of DICOM.")],
    out: Out = Path("ct_reduction"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask whether new slices are near-duplicates of kept ones. Exit code 3 where none of them is new."""
    from medical.ct.data.series import Problem
    from medical.ct.index import open_index

    index = open_index(out / "selection" / "index")
    names, images = [], []
    for name, image in _images(new, index.window):
        if isinstance(image, Problem):
            print(f"{name}: left out, {image.reason}", file=sys.stderr)  # stdout may be JSON
        else:
            names.append(name)
            images.append(image)
    if not images:
        raise DataError(f"{new}", expected="at least one readable CT slice")
    found = index.query(images)
    rows = [
        {"slice": name, "exemplar": one.exemplar, "distance": one.distance, "duplicate": one.duplicate}
        for name, one in zip(names, found)
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            word = "duplicate" if row["duplicate"] else "new"
            print(f"{word:<9}  {row['distance']:>2} bits from {row['exemplar']}: {row['slice']}")
    if all(one.duplicate for one in found):
        raise typer.Exit(NOTHING_FOUND)


def _images(path: Path, window: str) -> Any:
    """(name, image or problem) of each slice that ``path`` holds."""
    from medical.ct.data.dicom import scan_dicom
    from medical.ct.data.layouts import IMAGES, files_below
    from medical.ct.data.nifti import is_nifti, scan_nifti
    from medical.ct.data.pixels import series_images
    from medical.ct.data.series import Scan, Series, Slice, existing_folder, slice_table
    from medical.ct.index import slice_name

    root = existing_folder(path if path.is_dir() else path.parent)
    if path.suffix.lower() in IMAGES:
        scan = Scan([Series(path.name, path.name, "image", (Slice(path.name, 0, 0.0),))])
    elif is_nifti(path):
        scan = scan_nifti(root, [path], fewest=1)
    else:
        scan = scan_dicom(root, files_below(path) if path.is_dir() else [path], fewest=1)
    for problem in scan.rejected:
        yield problem.place, problem
    for series in scan.series:
        rows = slice_table([series]).to_dict("records")
        for row, image in zip(rows, series_images(root, rows, window), strict=True):
            yield slice_name(row), image


def _findings(scan: Scan) -> list[Any]:
    from core.data.checks import Finding

    return [Finding(one.place, None, "quarantined", one.kind, one.reason) for one in scan.rejected]


def _kinds(scan: Scan) -> dict[str, int]:
    from collections import Counter

    return dict(Counter(one.kind for one in scan.rejected))
