"""What is written as a pipeline's result."""

import pytest

from core.errors import DataError
from core.tracking.result import read_result, with_real_intervals, write_result


def result(low, high, notes=()):
    metric = {"label": "AUROC", "value": 0.7, "low": low, "high": high, "n": 12}
    other = {"label": "Dice", "value": 0.5, "low": 0.4, "high": 0.6, "n": 12}
    return {
        "pipeline": "p", "title": "P", "source": "manifest", "demo": False, "data_digest": "d",
        "primary": {"name": "auroc"}, "metrics": {"auroc": metric, "dice": other}, "notes": list(notes),
    }  # fmt: skip


@pytest.mark.parametrize("high", [0.7, 0.7 + 1e-13])
def test_an_interval_of_one_group_is_left_out_and_a_note_says_so(tmp_path, high):
    write_result(tmp_path / "metrics.json", result(0.7, high, ["first"]))
    found = read_result(tmp_path / "metrics.json")
    assert (found.metrics["auroc"].value, found.metrics["auroc"].low, found.metrics["auroc"].high) == (
        0.7,
        None,
        None,
    )
    assert (found.metrics["dice"].low, found.metrics["dice"].high) == (0.4, 0.6)
    assert found.notes[0] == "first"
    assert "No interval for AUROC" in found.notes[1]


def test_a_narrow_interval_stays(tmp_path):
    raw = result(0.699, 0.701)
    assert with_real_intervals(raw) == raw


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    with pytest.raises(DataError, match="high"):
        write_result(tmp_path / "metrics.json", result(0.7, "much"))
    assert not (tmp_path / "metrics.json").exists()
