"""What can be wrong with a recording, and what is only worth knowing."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import DataError


class BadRecord(DataError):
    """A recording that cannot be used; ``kind`` is the short fixed word that validation counts it by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Note:
    """Something worth knowing about a recording that stays: a short fixed word, and the reason in words."""

    kind: str
    reason: str
