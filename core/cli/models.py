"""Commands that use registered models: list, promote, roll back, ask, serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from core.cli import processes

Model = Annotated[str, typer.Argument(help="A registered model, e.g. code_search; `kindred models list`.")]
Alias = Annotated[str, typer.Option(help="champion, challenger or a version number.")]

models = typer.Typer(help="List, promote and roll back registered models.", no_args_is_help=True)


def predict(
    model: Model,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="CSV or JSONL file, one row an item; or a folder, one file an item."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL file for the answers.")] = Path(
        "predictions.jsonl"
    ),
    alias: Alias = "champion",
    batch: Annotated[int, typer.Option(min=1, help="Most rows a call.")] = 64,
    column: Annotated[str, typer.Option(help="Of a folder: the model's field that its files go to.")] = "",
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Of a folder: a field that is the same for all."),
    ] = None,
    pattern: Annotated[str, typer.Option(help="Of a folder: which files, e.g. '*.wav'.")] = "*",
) -> None:
    """Ask a registered model about every row or file; started again, it goes on where it stopped.

    In a table, a column FIELD_file names files whose content is sent as FIELD.
    """
    from core.tracking.catalog import local_model
    from core.tracking.inputs import check_source

    check_source(source)
    folder, version = local_model(model, alias)
    options = ["--label", f"{model} v{version}", "--batch", str(batch)]
    # Only what was asked for: the model may carry a batch module that is older than this command.
    options += [f"--column={column}"] if column else []
    options += [f"--pattern={pattern}"] if pattern != "*" else []
    options += [f"--set={value}" for value in values or ()]
    places = [str(source.absolute()), str(output.absolute())]
    processes.run_model("core.tracking.batch", folder, [*places, *options])


def serve(
    model: Model,
    alias: Alias = "champion",
    host: Annotated[
        str, typer.Option(help="Address to listen on; there is no login, so think twice.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 5001,
    max_mib: Annotated[
        float | None, typer.Option(help="Largest request; the model's own limit by default.")
    ] = None,
) -> None:
    """Serve a registered model over HTTP until Ctrl-C or SIGTERM.

    POST http://HOST:PORT/invocations with {"dataframe_records": [{...}, ...]}.
    """
    from core.tracking.catalog import local_model

    folder, version = local_model(model, alias)
    size = [] if max_mib is None else ["--max-mib", str(max_mib)]
    options = ["--host", host, "--port", str(port), "--label", f"{model} v{version}", *size]
    processes.run_model("core.tracking.server", folder, options)


def ui(port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000) -> None:
    """Open MLflow's user interface over the runs and models of this repository."""
    from core.tracking.store import ARTIFACTS, connect, database_file, tracking_uri

    root = processes.enter_root()
    uri = tracking_uri(root)
    file = database_file(uri)
    if file is None:
        print(f"MLflow runs at {uri}")
        return
    connect(root)
    artifacts = (file.parent / ARTIFACTS).absolute().as_uri()
    print(f"http://127.0.0.1:{port}  (Ctrl-C stops it)", flush=True)
    store = ["--backend-store-uri", uri, "--default-artifact-root", artifacts]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    processes.become([sys.executable, "-m", "mlflow", "server", *store, *address])


@models.command("list")
def list_models() -> None:
    """Every version of every model, with its alias, metric and why it is where it is."""
    from core.tracking.catalog import list_models as find

    rows = find()
    if not rows:
        print("No model is registered yet. Run: make repro")
    for row in rows:
        value = "" if row["value"] is None else f"{row['metric']} {row['value']:.4g}"
        aliases = ",".join(row["aliases"]) or "-"
        facts = f"{aliases:<10}  {value}  {row['weights_sha256'][:12]}  {row['reason']}"
        print(f"{row['name']}  v{row['version']}  {facts}")


@models.command()
def promote(name: Model, version: Annotated[int, typer.Argument(help="Version to serve.")]) -> None:
    """Make a version the champion by hand."""
    from core.tracking.promotion import promote as make_champion

    make_champion(name, version)
    print(f"{name} v{version} is the champion")


@models.command()
def rollback(name: Model) -> None:
    """Give the champion's place back to the version that held it before."""
    from core.tracking.promotion import rollback as go_back

    print(f"{name} v{go_back(name)} is the champion again")


@models.command()
def card(name: Model, alias: Alias = "champion") -> None:
    """Print a model's card: data, results with intervals, limits, parameters."""
    from core.tracking.catalog import model_card

    print(model_card(name, alias))
