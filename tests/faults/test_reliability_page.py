"""docs/reliability.md names only tests that exist, and leaves out none of the fault suite's."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if len(row) == 4 and row[0] != "fault" and not row[0].startswith("---")]


def named(row: list[str]) -> list[tuple[str, str]]:
    return re.findall(r"`([\w/]+\.py)::(\w+)`", row[3])


def test_every_test_that_the_table_names_exists():
    found = rows()
    assert len(found) > 35
    for row in found:
        assert all(row), row
        assert named(row), row
        for file, test in named(row):
            path = TESTS / file
            assert path.is_file(), file
            assert re.search(rf"^def {test}\(", path.read_text(encoding="utf-8"), re.M), f"{file}::{test}"


def test_every_test_of_the_fault_suite_is_in_the_table():
    listed = {pair for row in rows() for pair in named(row)}
    for path in sorted((TESTS / "faults").glob("test_*.py")):
        if path == Path(__file__):
            continue
        for test in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M):
            assert (f"faults/{path.name}", test) in listed, f"{path.name}::{test}"
