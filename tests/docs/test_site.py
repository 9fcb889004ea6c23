"""The documentation: generated parts are up to date; the site builds without a warning and needs no network."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_generated_parts_are_up_to_date():
    generate = script("generate_pages")
    for page in generate.pages(ROOT):
        text = page.read_text(encoding="utf-8")
        assert generate.filled(text, ROOT) == text, f"{page}: run python docs/generate_pages.py"


def test_every_pipeline_has_a_page_with_the_same_parts(site):
    for name in script("generate_pages").pipelines(ROOT):
        text = (ROOT / "docs" / "pipelines" / f"{name}.md").read_text(encoding="utf-8")
        heads = [
            line[3:] for line in text.splitlines() if line.startswith("## ") and "second recipe" not in line
        ]
        wanted = ["Method", "Inputs", "Outputs", "Time and memory", "Results", "Limits"]
        assert [head for head in heads if head in wanted] == wanted, name
        for part in ("columns", "cost", "results"):
            assert f"<!-- generated: {part} {name} " in text, name
        assert (site / "pipelines" / f"{name}.html").is_file()


def test_the_site_is_whole_and_loads_nothing_from_outside(site):
    pages = sorted(site.glob("**/*.html"))
    assert {"index.html", "own_data.html", "security.html"} <= {page.name for page in pages}
    assert not list(site.glob("**/*.py"))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]+)"', text)
        loaded += re.findall(
            r'<link\b[^>]*rel="(?:stylesheet|preload|preconnect|icon)"[^>]*href="([^"]+)"', text
        )
        loaded += re.findall(
            r'<link\b[^>]*href="([^"]+)"[^>]*rel="(?:stylesheet|preload|preconnect|icon)"', text
        )
        assert loaded
        assert [one for one in loaded if re.match(r"(?:https?:)?//", one)] == [], page.name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.glob("assets/stylesheets/*.css"))
    assert "fonts.googleapis" not in styles


def test_the_fresh_cost_of_stages_becomes_the_table(tmp_path):
    record, generate = script("record_timings"), script("generate_pages")
    for name in ("first", "second"):
        (tmp_path / "pipelines" / name).mkdir(parents=True)
        (tmp_path / "pipelines" / name / "dvc.yaml").write_text("stages:\n  b: {cmd: x}\n  a: {cmd: y}\n")
    kept = tmp_path / ".kindred" / "stages" / "first"
    kept.mkdir(parents=True)
    (tmp_path / "reports").mkdir()
    for stage, seconds in {"a": 5.0, "b": 61.0, "evidence": 999.0}.items():
        (kept / f"{stage}.json").write_text(f'{{"seconds": {seconds}, "peak_mib": 1234.5}}')
    found = record.record(tmp_path)
    assert list(found["pipelines"]) == ["first"]  # the second has not run to its end
    assert found["pipelines"]["first"]["seconds"] == 66.0
    record.write_json(tmp_path / "reports" / "timings.json", found)
    assert "| first | 1 min 06 s | 1,234 MiB | b, 1 min 01 s |" in generate.timings(tmp_path, "")
    assert "| b | 1 min 01 s | 1,234 MiB |\n| a | 5 s | 1,234 MiB |" in generate.cost(tmp_path, "first")
    assert "not measured yet" in generate.cost(tmp_path, "second")


def test_evidence_tables_say_what_the_comparison_decided(tmp_path):
    generate = script("generate_pages")
    (tmp_path / "pipelines" / "toy").mkdir(parents=True)
    (tmp_path / "pipelines" / "toy" / "dvc.yaml").touch()
    assert "No comparison" in generate.evidence(tmp_path, "")
    assert "has not been run" in generate.results(tmp_path, "toy")
    folder = tmp_path / "reports" / "toy"
    folder.mkdir(parents=True)
    (folder / "evidence.json").write_text(
        '{"claim": "A beats B", "source": "demo", "seeds": [0, 1], "primary": "auc", "minutes": 2.0,'
        ' "arms": {"a": {"n": [10.0, 10.0], "auc": [0.8, 0.9]}, "b": {"n": [20.0, 20.0], "auc": [0.5, 0.6]}},'
        ' "differences": {"a-vs-b": {"n": {"mean": -10.0, "low": -10.0, "high": -10.0},'
        ' "auc": {"mean": 0.3, "low": 0.2, "high": 0.4}}}}'
    )
    assert (
        "| toy, demo | auc | a − b | 0.850 and 0.550 | +0.300 (+0.200 to +0.400) | higher |"
        in generate.evidence(tmp_path, "")
    )
    full = generate.results(tmp_path, "toy")
    assert "| a | 0.850 ± 0.071 | 10.0 |" in full
    assert "| a − b | **+0.300 (+0.200 to +0.400)** | -10 |" in full
    found = json.loads((folder / "evidence.json").read_text())
    (folder / "evidence.json").write_text(json.dumps(found | {"shown": ["auc"]}))
    short = generate.results(tmp_path, "toy")
    assert "| arm | auc |" in short
    assert "Further metrics (1) are in" in short
