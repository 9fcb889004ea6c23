"""The group of commands: Kindred's own, and those that domains offer through entry points."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = "kindred.commands"


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
    for command in found.values():
        command.rich_help_panel = "Commands of the domains"
    return found
