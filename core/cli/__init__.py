"""The command `kindred`: one entrance to pipelines, reports, registered models and the domains' own commands.

Exit codes: 0 done; 2 a mistake that the user can mend (one sentence on stderr); 3 nothing was found; 130
stopped by Ctrl-C; 1 a defect in Kindred (with a traceback). Heavy libraries are imported inside the commands,
for a quick start.
"""

from __future__ import annotations

import sys

import typer

from core.cli.exit_codes import MISTAKE
from core.cli.group import COMMANDS, LazyGroup
from core.cli.models import models, predict, serve, ui
from core.cli.pipelines import new, report, repro, validate
from core.errors import KindredError
from core.files import disk_trouble

__all__ = ["COMMANDS", "app", "main"]

app = typer.Typer(
    cls=LazyGroup,
    help="Contrastive-learning pipelines: run them on your data, read their report, serve their models.",
    epilog="Exit codes: 0 done; 2 a mistake in the input, a sentence says which; 3 nothing was found; "
    "130 stopped by Ctrl-C; 1 a defect in Kindred.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (new, validate, repro, report):
    app.command(rich_help_panel="Pipelines")(command)
for model_command in (predict, serve, ui):
    app.command(rich_help_panel="Models")(model_command)
app.add_typer(models, name="models", rich_help_panel="Models")


def main() -> None:
    """Entry point: mistakes of the user end with one sentence and status 2."""
    try:
        app()
    except KindredError as error:
        print(f"kindred: {error}", file=sys.stderr)
        sys.exit(MISTAKE)
    except OSError as error:
        if not disk_trouble(error):
            raise
        print(f"kindred: {disk_trouble(error)}", file=sys.stderr)
        sys.exit(MISTAKE)
