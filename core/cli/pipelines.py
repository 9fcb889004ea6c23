"""Commands that run pipelines: own data, validation, the run itself, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.cli.processes import definition, enter_root, run, run_dvc
from core.errors import ConfigError

Pipeline = Annotated[str, typer.Argument(help="A pipeline: the name of a folder in pipelines/.")]


def new(
    pipeline: Pipeline,
    folder: Annotated[Path, typer.Argument(help="The folder that holds your data; made if it is missing.")],
) -> None:
    """Start with your own data: write a manifest to fill in, and the parameters that read it.

    Writes manifest.csv (a row for each file of the kind that the pipeline reads), params.yaml and KINDRED.md
    (what every column means, and which two commands come next) into FOLDER. Nothing there is overwritten.
    """
    chosen = folder.absolute()
    enter_root()
    definition(pipeline)
    run(f"pipelines.{pipeline}.own", str(chosen))


def validate(
    pipeline: Pipeline,
    params: Annotated[
        Path | None, typer.Option(help="Parameter file; the pipeline's own params.yaml when left out.")
    ] = None,
) -> None:
    """Read every item of a pipeline's data once, and list what is wrong with it.

    The list is outputs/PIPELINE/validation.csv: item, reason, details. Nothing is trained.
    """
    chosen = params.absolute() if params else None
    root = enter_root()
    definition(pipeline)
    file = chosen or root / "pipelines" / pipeline / "params.yaml"
    run(f"pipelines.{pipeline}.validate", "--params", str(file))


def repro(
    pipeline: Annotated[str, typer.Argument(help="One pipeline; all of them when left out.")] = "",
) -> None:
    """Run what is out of date, build the report, print the results.

    Settings are those in pipelines/PIPELINE/params.yaml. What has run with the same settings, data and code is
    not run again; a run that was stopped goes on where it stopped. Data are what data.root and the other files
    and folders in the settings hold: where one of them changed, all stages of the pipeline run again.
    """
    from core.cli.changes import changed_since, remember
    from core.report import print_results

    root = enter_root()
    targets = [definition(pipeline)] if pipeline else sorted(Path("pipelines").glob("*/dvc.yaml"))
    if not targets:
        raise ConfigError("pipelines/*/dvc.yaml", expected="at least one pipeline")
    states = {}
    for target in targets:
        name = target.parent.name
        changed, states[name] = changed_since(name)
        if changed:
            typer.echo(
                f"{name}: changed since its last run: {', '.join(changed)}; all stages run again", err=True
            )
            run_dvc("repro", "--force", str(target))
    run_dvc("repro", *map(str, targets))
    for name, state in states.items():
        remember(name, state)
    # With one pipeline asked for, the others may never have run; dvc would insist on running them first.
    if pipeline:
        run("pipelines.report")
    else:
        run_dvc("repro", "dvc.yaml")
    print_results(root)


def report() -> None:
    """Build the HTML report from what has run so far, and print the results."""
    from core.report import print_results

    root = enter_root()
    run("pipelines.report")
    print_results(root)
