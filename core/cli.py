"""The command `kindred`: one entrance to pipelines, reports, registered models and the domains' own commands.

Exit codes: 0 done; 2 a mistake that the user can mend (one sentence on stderr); 130 stopped by Ctrl-C; 1 a
defect in Kindred (with a traceback). Heavy libraries are imported inside the commands, for a quick start.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from core.errors import ConfigError, KindredError, RegistryError

COMMANDS = "kindred.commands"
EPILOG = "Exit codes: 0 done, 2 a mistake in the input (one sentence says which), 1 a defect in Kindred."


class LazyGroup(TyperGroup):
    """Kindred's own commands plus those that domains offer; a domain is imported only when it is needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Own commands first, then the domains'."""
        own = super().list_commands(ctx)
        return [*own, *(name for name in domain_commands() if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name; domains are asked only for names that are not Kindred's own."""
        return super().get_command(ctx, cmd_name) or domain_commands().get(cmd_name)


def domain_commands() -> dict[str, Any]:
    """Name -> command of every installed domain; one that cannot be imported is reported and left out."""
    found: dict[str, Any] = {}
    for entry in sorted(metadata.entry_points(group=COMMANDS), key=lambda one: one.name):
        try:
            found |= typer.main.get_group(entry.load()).commands
        except Exception as error:
            print(f"kindred: commands of {entry.name} are not available: {error}", file=sys.stderr)
    return found


app = typer.Typer(
    cls=LazyGroup,
    help="Contrastive-learning pipelines: run them, read their report, serve their models.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models = typer.Typer(help="List, promote and roll back registered models.", no_args_is_help=True)
app.add_typer(models, name="models")

Pipeline = Annotated[str, typer.Argument(help="Name of a pipeline, e.g. code_search.")]
Model = Annotated[str, typer.Argument(help="Name of a registered model, e.g. code_search.")]
Alias = Annotated[str, typer.Option(help="champion, challenger or a version number.")]


@app.command()
def repro(
    pipeline: Annotated[str, typer.Argument(help="One pipeline; all of them when left out.")] = "",
) -> None:
    """Run what is out of date, build the report, print the results."""
    from core.report import print_results

    root = _enter_root()
    targets = [_definition(pipeline)] if pipeline else sorted(Path("pipelines").glob("*/dvc.yaml"))
    if not targets:
        raise ConfigError("pipelines/*/dvc.yaml", expected="at least one pipeline")
    _run_dvc("repro", *map(str, targets))
    # With one pipeline asked for, the others may never have run; dvc would insist on running them first.
    if pipeline:
        _run("pipelines.report")
    else:
        _run_dvc("repro", "dvc.yaml")
    print_results(root)


@app.command()
def validate(
    pipeline: Pipeline,
    params: Annotated[
        Path | None, typer.Option(help="Parameter file; the pipeline's own by default.")
    ] = None,
) -> None:
    """Read every item of a pipeline's data once and list what is wrong with it."""
    chosen = params.absolute() if params else None
    root = _enter_root()
    _definition(pipeline)
    _run(
        f"pipelines.{pipeline}.validate",
        "--params",
        str(chosen or root / "pipelines" / pipeline / "params.yaml"),
    )


@app.command()
def report() -> None:
    """Build the HTML report from what has run so far, and print the results."""
    from core.report import print_results

    root = _enter_root()
    _run("pipelines.report")
    print_results(root)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000) -> None:
    """Open MLflow's user interface over the runs and models of this repository."""
    from core.tracking.store import ARTIFACTS, connect, database_file, tracking_uri

    root = _enter_root()
    uri = tracking_uri(root)
    file = database_file(uri)
    if file is None:
        print(f"MLflow runs at {uri}")
        return
    connect(root)
    artifacts = (file.parent / ARTIFACTS).absolute().as_uri()
    print(f"http://127.0.0.1:{port}  (Ctrl-C stops it)", flush=True)
    store = ["--backend-store-uri", uri, "--default-artifact-root", artifacts]
    _become([sys.executable, "-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(port)])


@app.command()
def serve(
    pipeline: Model,
    alias: Alias = "champion",
    host: Annotated[
        str, typer.Option(help="Address to listen on; there is no login, so think twice.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 5001,
    max_mib: Annotated[
        float | None, typer.Option(help="Largest request; the model's own limit by default.")
    ] = None,
) -> None:
    """Serve a registered model over HTTP until Ctrl-C or SIGTERM."""
    from core.tracking.catalog import local_model

    folder, version = local_model(pipeline, alias)
    size = [] if max_mib is None else ["--max-mib", str(max_mib)]
    options = ["--host", host, "--port", str(port), "--label", f"{pipeline} v{version}", *size]
    _run_model("core.tracking.server", folder, options)


@app.command()
def predict(
    pipeline: Model,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="CSV or JSONL file, one row an item.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL file for the answers.")] = Path(
        "predictions.jsonl"
    ),
    alias: Alias = "champion",
    batch: Annotated[int, typer.Option(min=1, help="Rows a call.")] = 64,
) -> None:
    """Ask a registered model about every row of a file; started again, it goes on where it stopped."""
    from core.tracking.batch import check_input
    from core.tracking.catalog import local_model

    check_input(source)
    folder, version = local_model(pipeline, alias)
    places = [str(source.absolute()), str(output.absolute())]
    _run_model(
        "core.tracking.batch", folder, [*places, "--label", f"{pipeline} v{version}", "--batch", str(batch)]
    )


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
    """Print a model's card."""
    from core.tracking.catalog import model_card

    print(model_card(name, alias))


def main() -> None:
    """Entry point: mistakes of the user end with one sentence and status 2."""
    try:
        app()
    except KindredError as error:
        print(f"kindred: {error}", file=sys.stderr)
        sys.exit(2)


def _enter_root() -> Path:
    """Go to the repository root, where DVC and the stage scripts run, with the quiet environment set."""
    from core.tracking.store import quiet_mlflow, repository_root

    root = repository_root()
    if not (root / "pipelines").is_dir():
        raise ConfigError(
            f"{Path.cwd()} is not inside a Kindred repository", remedy="cd into it, or set KINDRED_ROOT"
        )
    quiet_mlflow()
    os.environ.setdefault("DVC_SITE_CACHE_DIR", str(root / ".kindred" / "dvc"))
    os.environ.setdefault("PYTHONHASHSEED", "0")
    # Stages say `python`: that must be the interpreter that runs now, also without an activated environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.chdir(root)
    return root


def _definition(pipeline: str) -> Path:
    known = sorted(path.parent.name for path in Path("pipelines").glob("*/dvc.yaml"))
    if pipeline not in known:
        raise ConfigError("pipeline", seen=pipeline, expected=f"one of {', '.join(known) or 'none, so far'}")
    return Path("pipelines") / pipeline / "dvc.yaml"


def _run(module: str, *arguments: str) -> None:
    """Run a module in a process of its own; its failure is ours, with no second message."""
    status = subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
    if status:
        sys.exit(status if status in (2, 130) else 1)


def _run_dvc(*arguments: str) -> None:
    """Run dvc; where a stage failed, end with the stage's own exit code, which dvc reports only in words."""
    process = subprocess.Popen([sys.executable, "-m", "dvc", *arguments], stderr=subprocess.PIPE)
    assert process.stderr is not None
    tail = b""
    while chunk := os.read(process.stderr.fileno(), 65536):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        tail = (tail + chunk)[-4096:]
    if process.wait():
        found = re.findall(rb"exited with (\d+)", tail)
        sys.exit(int(found[-1]) if found and int(found[-1]) in (2, 130) else 1)


def _run_model(module: str, folder: Path, arguments: list[str]) -> None:
    """Go on as a process that imports the model's own copy of the code."""
    from core.tracking.check import model_environment

    if not (folder / "code" / "core").is_dir():
        raise RegistryError(
            f"model in {folder}", expected="code/core", remedy="register it with its pipeline"
        )
    os.environ.update(model_environment(folder))
    _become([sys.executable, "-P", "-m", module, str(folder), *arguments])


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
