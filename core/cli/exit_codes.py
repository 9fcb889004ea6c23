"""What the exit code of a command says; 1 is Python's own, for a defect in Kindred (with a traceback)."""

from __future__ import annotations

MISTAKE = 2
"""A mistake that the user can mend; one sentence on stderr says which."""
NOTHING_FOUND = 3
"""All went well and there is no answer: no function found, no slice that is new."""
STOPPED = 130
"""Stopped by Ctrl-C."""
