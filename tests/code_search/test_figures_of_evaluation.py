"""Figures are images, equal for equal input, and drawn for the odd cases too."""

from __future__ import annotations

import pytest

from code_search.evaluate import Vectors, rank_task, sample_tasks
from code_search.figures import parts_figure, retrieval_figure, robustness_figure, training_figure
from code_search.ranker import Ranker
from code_search.report import evaluate
from code_search.robustness import robustness
from code_search.scores import metrics
from core.tracking.result import parse_result

FITTED = {"all": 0.5, "words": 0.4, "without bm25": 0.3}
HISTORY = [
    {"step": step, "loss": 5 / step, "embedding_std": 0.9, "alignment": 0.8, "uniformity": -2.0}
    | ({"valid_mrr_shown": 0.5, "valid_mrr_hidden": 0.4} if step % 20 == 0 else {})
    for step in range(10, 60, 10)
]


def size_of(path) -> tuple[int, int]:
    """Width and height in a PNG's header."""
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.mark.slow
@pytest.mark.parametrize("n", [12, 40])
def test_evaluation_gives_a_result_that_the_report_reads(library, encoder, tmp_path, n):
    found = evaluate(
        sample_tasks(library, n=n),
        Vectors(encoder),
        Ranker(all={"dense": 9.0, "bm25": 0.5}),
        tmp_path,
        histories={"pretrain": HISTORY, "adapt": HISTORY[:1]},
        fitted=FITTED,
        bootstrap=100,
        functions=10,
        counts=(0, 1, None),
        rates=(0.0, 1.0),
        draws=2,
    )
    raw = {"pipeline": "p", "title": "t", "source": "s", "demo": False, "data_digest": "d", **found}
    result = parse_result(raw, origin="test")
    assert result.score is not None
    for figure in result.figures:
        width, height = size_of(tmp_path / figure.file.removeprefix("evaluation/"))
        assert width > 500
        assert height > 200
        assert figure.caption
    assert (
        (tmp_path / "ranks.csv").read_text().startswith("task,query,function,name,bm25,lexical,dense,hybrid")
    )
    assert [table.title for table in result.tables] == ["Retrieval", "Variables of the right answer renamed"]
    assert all(len(row) == len(table.columns) for table in result.tables for row in table.rows)


@pytest.mark.slow
def test_equal_input_gives_equal_bytes(library, encoder, tmp_path):
    tasks = sample_tasks(library, n=20)
    vectors = Vectors(encoder)
    found = metrics(tasks, [rank_task(task, vectors, Ranker()) for task in tasks], samples=100)
    points = robustness(tasks[0], vectors, Ranker(), counts=(0, 1), rates=(1.0,), seeds=(0,))
    for name in ("a", "b"):
        retrieval_figure(tmp_path / name / "1.png", tasks, found)
        robustness_figure(tmp_path / name / "2.png", points)
        training_figure(tmp_path / name / "3.png", {"pretrain": HISTORY})
        parts_figure(tmp_path / name / "4.png", FITTED)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_training_without_validation_or_diagnostics_is_drawn(tmp_path):
    bare = [{"step": step, "loss": 1.0} for step in (1, 2)]
    assert size_of(training_figure(tmp_path / "t.png", {"pretrain": bare, "adapt": []}))[0] > 500


def test_an_interval_beside_its_value_is_drawn(library, encoder, tmp_path):
    """As over one group, where the two differ by rounding."""
    tasks = sample_tasks(library, n=12)
    found = metrics(tasks, [rank_task(task, Vectors(encoder), Ranker()) for task in tasks], samples=10)
    beside = {name: one | {"low": (one["value"] or 0.0) + 1e-9} for name, one in found.items()}
    assert size_of(retrieval_figure(tmp_path / "figure.png", tasks, beside))[0] > 500
