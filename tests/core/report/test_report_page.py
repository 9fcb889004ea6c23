"""The page: complete, self-contained, and deaf to what the data would like it to do."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from core.report import build_report


class Page(HTMLParser):
    """Collects tags with their attributes, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_page_shows_everything_and_summary_agrees(write, metrics, page):
    root = write(metrics)
    summary = build_report(root)
    text = Page(page()).text
    words = "Code search|0.631|0.610 to 0.650|BM25|A note.|3 min 05 s|1,200 MiB|demo data|v3 champion"
    for expected in [
        *words.split("|"),
        "train.steps",
        "4000",
        "By language",
        "not worse",
        "d" * 64,
        "c" * 64,
    ]:
        assert expected in text, expected
    written = json.loads((root / "outputs" / "report" / "summary.json").read_text())
    assert written == json.loads(json.dumps(summary))
    assert written["pipelines"][0]["metrics"][0]["name"] == "hybrid"
    assert summary["problems"] == []


def test_page_needs_nothing_from_outside(write, metrics, page):
    build_report(write(metrics))
    tags = Page(page()).tags
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in tags}
    images = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert images
    assert all(source.startswith("data:image/") for source in images)
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"url\(|@import", page())
    policy = next(attributes["content"] for _, attributes in tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")


EVIL = "</td></style><script>alert(1)</script><img src=x onerror=alert(1)>\"' onload=\"x {{ 7*7 }} =cmd|'!A0"


def test_text_from_data_cannot_become_markup(write, metrics, page):
    metrics["title"] = metrics["source"] = metrics["data_digest"] = EVIL
    metrics["metrics"]["hybrid"]["label"] = EVIL
    metrics["figures"][0]["caption"] = EVIL
    metrics["notes"] = [EVIL]
    metrics["tables"] = [{"title": EVIL, "columns": [EVIL], "rows": [[EVIL], [{"a": EVIL}], [[EVIL]]]}]
    root = write(metrics)
    (root / "pipelines" / "code_search" / "params.yaml").write_text(json.dumps({EVIL: EVIL}))
    evidence = {"claim": EVIL, "source": EVIL, "seeds": [0], "arms": {EVIL: {EVIL: [1.0]}}, "note": EVIL}
    (root / "reports" / "code_search").mkdir(parents=True)
    (root / "reports" / "code_search" / "evidence.json").write_text(json.dumps(evidence))
    build_report(root)
    parsed = Page(page())
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert all(attributes["src"].startswith("data:") for tag, attributes in parsed.tags if tag == "img")
    assert "{{ 7*7 }}" in parsed.text
    assert page().count("<style>") == 1


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("../../secret.png", "a path inside outputs/code_search"),
        ("/etc/hostname", "a path inside outputs/code_search"),
        ("figures/absent.png", "No such file"),
        ("metrics.json", "a PNG, JPEG, GIF or SVG"),
        ("figures", "directory"),
        ("figures/link.png", "a path inside outputs/code_search"),
    ],
)
def test_figure_that_cannot_be_shown_is_a_problem_not_a_crash(write, metrics, page, file, sentence):
    metrics["figures"] = [{"file": file, "caption": "c"}]
    root = write(metrics)
    (root / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (root / "outputs" / "code_search" / "figures" / "link.png").symlink_to(root / "secret.png")
    summary = build_report(root)
    assert sentence in summary["problems"][0]
    assert sentence in Page(page()).text
    assert "c2VjcmV0" not in page()


def test_damaged_pipeline_does_not_hide_the_others(write, metrics, page):
    root = write(metrics)
    for name, content in {
        "broken": "{",
        "typo": json.dumps({**metrics, "pipeline": "typo", "titel": "x"}),
    }.items():
        (root / "outputs" / name).mkdir()
        (root / "outputs" / name / "metrics.json").write_text(content)
    problems = build_report(root)["problems"]
    assert len(problems) == 2
    assert any("titel" in problem and "did you mean 'title'" in problem for problem in problems)
    assert "0.631" in Page(page()).text


def test_pipeline_that_never_ran_is_named_and_an_empty_repository_has_a_page(tmp_path, page):
    (tmp_path / "pipelines" / "ct_reduction").mkdir(parents=True)
    (tmp_path / "pipelines" / "ct_reduction" / "dvc.yaml").write_text("stages: {}\n")
    assert build_report(tmp_path)["not_run"] == ["ct_reduction"]
    assert "No pipeline has run yet" in Page(page()).text


def test_change_is_shown_against_the_previous_run(write, metrics, page):
    build_report(write(metrics))
    assert "previous run" not in Page(page()).text
    metrics["metrics"]["hybrid"]["value"] = 0.651
    root = write(metrics)
    build_report(root)
    assert "+0.020" in Page(page()).text
    # Building again without a new result keeps the comparison.
    summary = build_report(root)
    assert round(summary["pipelines"][0]["metrics"][0]["change"], 3) == 0.02
    # Another evaluation is another thing: nothing is compared.
    metrics["evaluation_digest"] = "other"
    build_report(write(metrics))
    text = Page(page()).text
    assert "evaluated on other data" in text
    assert "+0.0" not in text


def test_costs_are_those_of_the_stages_of_the_pipeline_on_this_machine(write, metrics, page):
    root = write(metrics)
    stages = "stages:\n  validate: {cmd: a}\n  train: {cmd: b}\n  evaluate: {cmd: c}\n"
    (root / "pipelines" / "code_search" / "dvc.yaml").write_text(stages)
    kept = root / ".kindred" / "stages" / "code_search"
    for stage, seconds in {"evaluate": 5.0, "train": 60.0, "evidence": 9000.0}.items():
        (kept / f"{stage}.json").write_text(json.dumps({"seconds": seconds, "peak_mib": 3 * 1024}))
    shown = build_report(root)["pipelines"][0]
    assert [cost["stage"] for cost in shown["costs"]] == ["train", "evaluate"]
    assert (shown["seconds"], shown["peak_mib"]) == (65.0, 3 * 1024)
    assert "1 min 05 s in all, at most 3.0 GiB" in Page(page()).text
    (kept / "train.json").write_text("[]")
    assert build_report(root)["pipelines"][0]["costs"] == []


def test_long_lists_of_metrics_are_folded_behind_the_primary_and_its_baseline(write, metrics, page):
    extra = {f"m{n}": {"label": f"Metric {n}", "value": 0.5} for n in range(20)}
    metrics["metrics"] = {**extra, **metrics["metrics"]}
    build_report(write(metrics))
    text = page()
    assert "<summary>12 more metrics</summary>" in text
    assert text.index("Hybrid") < text.index("BM25") < text.index("more metrics") < text.index("Metric 19")


def test_damaged_memory_of_the_previous_run_is_replaced(write, metrics):
    root = write(metrics)
    build_report(root)
    (root / ".kindred" / "previous" / "code_search.json").write_text("[1")
    assert build_report(root)["problems"] == []


def test_evidence_states_whether_a_difference_is_clear_of_zero(write, metrics, page):
    root = write(metrics)
    evidence = {
        "claim": "Queues help",
        "source": "demo data",
        "seeds": [0, 1, 2],
        "arms": {"full": {"mrr": [0.5, 0.6, 0.7]}, "no queue": {"mrr": [0.4, None, 0.5]}},
        "differences": {
            "full-vs-no queue": {
                "mrr": {"mean": 0.1, "low": 0.05, "high": 0.15},
                "map": {"mean": 0.1, "low": -0.1, "high": 0.3},
            }
        },
        "minutes": 3.5,
    }
    folder = root / "reports" / "code_search"
    folder.mkdir(parents=True)
    (folder / "evidence.json").write_text(json.dumps(evidence))
    summary = build_report(root)
    shown = summary["evidence"][0]
    assert [cell["mean"] for arm in shown["arms"] for cell in arm["cells"]] == pytest.approx([0.6, 0.45])
    assert [difference["decided"] for difference in shown["differences"]] == [True, False]
    assert page().count("<td>yes</td>") == 1
    assert page().count("<td>no</td>") == 1
    (folder / "evidence.json").write_text('{"claim": "x"}')
    assert "source" in build_report(root)["problems"][0]
