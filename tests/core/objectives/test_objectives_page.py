"""docs/objectives.md: as generated, complete, with anchors that exist and evidence that tests read."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import core.objectives as objectives

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_objectives", ROOT / "docs" / "generate_objectives.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_page_is_the_generated_one(generator: ModuleType) -> None:
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), (
        "run python docs/generate_objectives.py"
    )


def test_every_link_leads_to_a_heading_and_every_objective_has_one(generator: ModuleType) -> None:
    text = generator.page()
    headings = {line.removeprefix("### ").lower() for line in text.splitlines() if line.startswith("### ")}
    links = set(re.findall(r"\]\(#([\w-]+)\)", text))
    assert links <= headings
    assert {name.lower() for name in generator.public_names()} <= headings | {
        form.lower() for form in generator.module_forms()
    }


def test_every_loss_says_when_to_use_it_what_it_costs_and_where_it_is_from(generator: ModuleType) -> None:
    for entry in generator.RANKING:
        found = generator.sections(getattr(objectives, entry.names[0]).__doc__)
        wanted = {"Formula", "Use when", "Cost", "Source", "Distributed", "Used by"}
        assert wanted <= set(found), f"{entry.names[0]} lacks {sorted(wanted - set(found))}"


def test_files_named_as_evidence_exist_and_are_read_by_a_test(generator: ModuleType) -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    families = re.findall(r"reference_names\(\"(\w+)\"\)", tests)
    for entry in generator.RANKING:
        for name in entry.vectors:
            assert (ROOT / "tests" / "reference" / f"{name}.npz").is_file(), name
            assert f'"{name}"' in tests or any(name.startswith(f) for f in families), f"no test reads {name}"


def test_an_export_without_a_line_in_the_ranking_is_refused(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newcomer() -> None:
        """Nothing yet."""

    monkeypatch.setattr(objectives, "newcomer", newcomer, raising=False)
    with pytest.raises(ValueError, match="newcomer"):
        generator.page()
