from __future__ import annotations

import csv
import json

import pytest

from core.data.checks import Quarantine, duplicates
from core.errors import ConfigError, DataError


def filled(**options) -> Quarantine:
    found = Quarantine(**options)
    found.add("a.png", "constant", "all values are 0", row=2)
    found.add("a.png", "small", "8 x 8", row=2)
    found.add("=b.png", "constant", "all values are 3", row=5)
    found.warn("c.png", "resampled", "44.1 kHz")
    return found


def test_the_report_lists_each_offender_with_file_row_and_reason(tmp_path):
    said = []
    report = filled().finish(tmp_path, checked=10, facts={"digest": "d"}, say=said.append)
    assert report == json.loads((tmp_path / "validation.json").read_text())
    assert {key: report[key] for key in ("checked", "accepted", "quarantined", "warnings", "digest")} == {
        "checked": 10, "accepted": 8, "quarantined": 2, "warnings": 1, "digest": "d",
    }  # fmt: skip
    assert report["by_kind"] == {"constant": 2, "small": 1, "resampled": 1}
    assert report["findings"][0] == {
        "file": "a.png", "row": 2, "level": "quarantined", "kind": "constant", "reason": "all values are 0",
    }  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "validation.csv").open()))
    assert [row["row"] for row in rows] == ["2", "2", "5", ""]
    assert said[0] == "10 item(s) read, 2 quarantined, 1 warning(s)"
    assert "a.png (row 2): all values are 0" in said[1]


def test_cells_that_a_spreadsheet_would_run_are_disarmed(tmp_path):
    filled().finish(tmp_path, checked=10, say=lambda _: None)
    rows = list(csv.reader((tmp_path / "validation.csv").open()))
    assert rows[3][0] == "'=b.png"


def test_stop_raises_after_everything_is_listed(tmp_path):
    with pytest.raises(DataError, match=r"2 of 10 item\(s\).*a\.png \(row 2\): all values are 0.*quarantine"):
        filled(mode="stop").finish(tmp_path, checked=10, say=lambda _: None)
    assert len(json.loads((tmp_path / "validation.json").read_text())["findings"]) == 4


def test_stop_goes_on_where_there_are_only_warnings(tmp_path):
    found = Quarantine("stop")
    found.warn("c", "odd", "odd")
    assert found.finish(tmp_path, checked=1, say=lambda _: None)["accepted"] == 1


@pytest.mark.parametrize(("checked", "share", "stops"), [(4, 0.5, False), (3, 0.5, True), (2, 1.0, True)])
def test_too_large_a_share_or_nothing_left_stops(tmp_path, checked, share, stops):
    found = filled(largest_share=share)
    if stops:
        with pytest.raises(DataError, match=f"2 of {checked}"):
            found.finish(tmp_path, checked=checked, say=lambda _: None)
    else:
        found.finish(tmp_path, checked=checked, say=lambda _: None)


def test_nothing_found_at_all_stops(tmp_path):
    with pytest.raises(DataError, match="no item was found"):
        Quarantine().finish(tmp_path, checked=0, say=lambda _: None)


def test_reading_errors_are_listed_and_reading_goes_on(tmp_path):
    found, read = Quarantine(), []
    for row, error in enumerate(
        [None, DataError("too dark"), FileNotFoundError("x"), EOFError("torn"), ValueError("a\nb")], start=2
    ):
        with found.item(f"{row}.png", row=row, kind="dark"):
            if error is not None:
                raise error
            read.append(row)
    assert read == [2]
    assert [(finding.row, finding.kind) for finding in found.offenders] == [
        (3, "dark"),
        (4, "missing"),
        (5, "unreadable"),
        (6, "unreadable"),
    ]
    assert found.offenders[-1].reason == "ValueError: a b"


def test_defects_of_the_reader_are_not_swallowed():
    with pytest.raises(AttributeError), Quarantine().item("x"):
        raise AttributeError("a bug")


@pytest.mark.parametrize("options", [{"mode": "skip"}, {"largest_share": 1.5}])
def test_unknown_settings_are_refused(options):
    with pytest.raises(ConfigError):
        Quarantine(**options)


def test_repeats_name_the_first_of_their_content():
    assert list(duplicates([("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")])) == [("b", "a"), ("d", "a")]
