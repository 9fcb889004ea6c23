"""Errors that a user can act on: each names the thing, the value seen, the value expected and the remedy."""

from __future__ import annotations

_UNSET = object()


class KindredError(ValueError):
    """A mistake in the input that the user can mend.

    Args:
        what: the thing that is wrong, named as the user knows it (a file and row, a parameter's path).
        seen: the value found; shown with ``repr`` and cut at 200 characters.
        expected: what would have been accepted, in words.
        remedy: what to do now.

    >>> str(KindredError("temperature in params.yaml", seen=-1, expected="a number > 0", remedy="use 0.07"))
    'temperature in params.yaml: saw -1, expected a number > 0. Remedy: use 0.07'
    """

    def __init__(self, what: str, *, seen: object = _UNSET, expected: str = "", remedy: str = "") -> None:
        parts = []
        if seen is not _UNSET:
            shown = repr(seen)
            parts.append(f"saw {shown if len(shown) <= 200 else shown[:197] + '...'}")
        if expected:
            parts.append(f"expected {expected}")
        message = f"{what}: {', '.join(parts)}" if parts else what
        if remedy:
            message = f"{message}. Remedy: {remedy}"
        super().__init__(message)


class ConfigError(KindredError):
    """A parameter file or a command-line option is wrong."""


class DataError(KindredError):
    """Input data are wrong: a file, a row of a manifest, a group that straddles splits."""


class CheckpointError(KindredError):
    """A checkpoint or weight file is damaged, unsafe or belongs to another model."""


class RegistryError(KindredError):
    """A registered model, version or alias is missing or does not fit."""


class ServingError(KindredError):
    """A request to a served model cannot be answered as sent."""
