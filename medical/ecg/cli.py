"""`kindred ecg-explain`, `ecg-review-export` and `ecg-review-import`: cases and prototypes from the shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.errors import ConfigError

app = typer.Typer(help="Explain ECGs by prototypes, and review the prototypes.", no_args_is_help=True)

OUTPUTS = Path("outputs/ecg_prototypes")
Model = Annotated[Path, typer.Option(help="Folder of a fused model.")]


@app.command("ecg-explain")
def explain_command(
    files: Annotated[list[Path], typer.Argument(help="Recordings: WFDB, .npy with .json, or .mat.")],
    model: Model = OUTPUTS / "model",
    out: Annotated[Path, typer.Option(help="Folder for one JSON and one print a recording.")] = Path(
        "explained"
    ),
    threshold: Annotated[float, typer.Option(help="Probability from which a label is explained.")] = 0.5,
    unit: Annotated[str | None, typer.Option(help="Unit of recordings that name none: mV, uV or V.")] = None,
) -> None:
    """Probabilities of each recording, and the training ECGs that they rest on."""
    from dataclasses import replace

    from core.files import write_json
    from medical.ecg.data.conform import conform
    from medical.ecg.data.recording import read_recording
    from medical.ecg.explain import explain
    from medical.ecg.figures import print_figure
    from medical.ecg.model.folder import load_network

    _check_names(files)
    network = load_network(model)
    form = replace(network.preprocessing.form, default_unit=unit or network.preprocessing.default_unit)
    for file in files:
        done = conform(read_recording(file), form)
        account = explain(network, done.signal[None], ids=[file.stem], threshold=threshold)[0]
        account["notes"] = [f"{note.kind}: {note.reason}" for note in done.notes]
        write_json(out / f"{file.stem}.json", account)
        first = account["labels"][0]
        best = max(first["contributions"], key=lambda one: one["contribution"])
        print_figure(
            out / f"{file.stem}.png",
            network.preprocessing(done.signal),
            form.fs,
            title=f"{file.stem} | p({first['label']}) = {first['probability']:.2f}, like ECG {best['ecg_id']}",
            window=(best["start_s"], best["end_s"]),
        )
        said = ", ".join(f"{one['label']} {one['probability']:.2f}" for one in account["labels"])
        print(f"{file}: {said}")


def _check_names(files: Sequence[Path]) -> None:
    """Refuse recordings whose results would take the same names (also where case does not tell files apart)."""
    first: dict[str, Path] = {}
    for file in files:
        other = first.setdefault(file.stem.casefold(), file)
        if other is not file:
            raise ConfigError(
                "recordings of one name", seen=[str(other), str(file)],
                expected=f"a name each: both would be written to {file.stem}.json",
                remedy="rename one, or explain them one at a time with another --out",
            )  # fmt: skip


@app.command("ecg-review-export")
def export_command(
    out: Annotated[Path, typer.Argument(help="Folder for index.html, prints and ratings.csv.")],
    model: Model = OUTPUTS / "model",
    prepared: Annotated[Path, typer.Option(help="Folder of the prepare stage.")] = OUTPUTS / "prepared",
) -> None:
    """A gallery of all prototypes and a table for clinicians to rate them in."""
    import numpy as np

    from medical.ecg.explain import receptive_seconds
    from medical.ecg.model.folder import load_network
    from medical.ecg.prepared import load_prepared
    from medical.ecg.review import export_review

    network, data = load_network(model), load_prepared(prepared)
    at = {name: row for row, name in enumerate(data.table["id"])}
    signals = np.stack([data.signals[at[one["ecg_id"]]] for one in network.prototypes])
    fs = network.preprocessing.fs
    seconds = max(receptive_seconds(branch, fs) for branch in network.branches.values())  # type: ignore[arg-type]
    export_review(out, network.prototypes, signals, fs, seconds_seen=seconds)
    print(f"{len(signals)} prototypes in {out / 'index.html'}; ratings go into {out / 'ratings.csv'}")


@app.command("ecg-review-import")
def import_command(
    ratings: Annotated[list[Path], typer.Argument(help="Filled tables, one or more raters.")],
    model: Model = OUTPUTS / "model",
    out: Annotated[Path, typer.Option(help="Where the summary goes; project.prune takes it.")] = Path(
        "review.json"
    ),
) -> None:
    """Means, agreement between raters, and the list of prototypes to prune."""
    from core.files import read_json
    from medical.ecg.review import import_review

    facts = read_json(model / "config.json").get("facts", {})
    prototypes = read_json(model / "prototypes.json")
    found = import_review(ratings, prototypes, out, pruned=facts.get("pruned", []))
    for question in ("representativeness", "clarity"):
        one = found[question]
        mean = "not rated" if one["mean"] is None else f"mean {one['mean']:.2f}"
        agreement = "" if one["icc"] is None else f", ICC {one['icc']:.2f}"
        print(f"{question}: {mean}{agreement}")
    print(f"to prune: {found['prune'] or 'none'} ({out})")
