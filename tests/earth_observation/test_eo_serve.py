"""The served model: what it answers, and what it refuses with a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import ServingError
from core.tracking.serving import read_request
from earth_observation.bands import S2_BANDS
from earth_observation.serve import FIELDS, _pixels, answer, input_example, signature


def rows_of(model):
    return read_request(input_example(model), FIELDS)


def test_example_rows_are_answered_as_the_signature_says(untrained):
    first, second = (answer(untrained, row) for row in rows_of(untrained))
    assert [c["name"] for c in first["classes"]] != list(untrained.table.names)  # the likeliest first
    assert len(first["embedding"]) == untrained.encoder.dim
    assert first["map"] == []
    assert np.array(second["map"]).shape == (16, 16)
    assert second["known"] == 1.0
    assert {one.name for one in signature().outputs} == set(first)


def test_bands_come_in_any_order_under_any_of_their_names(untrained):
    row = rows_of(untrained)[0]
    names = [f"B0{b[1]}" if len(b) == 2 else b for b in S2_BANDS]
    turned = {**row, "pixels": row["pixels"][::-1], "bands": ", ".join(reversed(names))}
    assert answer(untrained, turned)["embedding"] == pytest.approx(answer(untrained, row)["embedding"])


def test_twelve_bands_are_answered_by_a_model_of_thirteen_with_a_note(untrained):
    row = rows_of(untrained)[0]
    names = [band for band in S2_BANDS if band != "B10"]
    found = answer(
        untrained, {**row, "pixels": np.delete(row["pixels"], 10, axis=0), "bands": ",".join(names)}
    )
    assert found["notes"][0].startswith("B10 is missing")
    assert answer(untrained, row)["notes"] == []
    x, valid, filled = _pixels(untrained, row, 0)
    assert filled == []
    bytes_ = untrained.normalisation(x, valid)
    bytes_[10] = 0
    with torch.no_grad():
        expected = untrained(torch.from_numpy(bytes_)[None].float() / 255)[0]
    assert found["embedding"] == pytest.approx(expected.tolist(), abs=1e-6)
    with pytest.raises(ServingError, match="missing band"):
        answer(untrained, {**row, "pixels": row["pixels"][:12], "bands": ",".join(S2_BANDS[:12])})


def test_units_are_converted_and_nodata_is_left_out(untrained):
    row = rows_of(untrained)[0]
    expected = answer(untrained, row)["embedding"]
    for scale, pixels in (("reflectance", row["pixels"] / 10_000), ("dn_offset", row["pixels"] + 1000)):
        found = answer(untrained, {**row, "pixels": pixels, "scale": scale})
        assert found["embedding"] == pytest.approx(expected, abs=2e-2)
    holes = row["pixels"].copy()
    holes[:, :4] = -1
    found = answer(untrained, {**row, "pixels": holes, "nodata": -1.0, "map": True})
    assert found["known"] == 0.75
    assert (np.array(found["map"])[:4] == 255).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bands": "B2,B3"}, "2 names for 13 layers"),
        ({"bands": ",".join(["B2", *S2_BANDS[:12]])}, "given twice"),
        ({"bands": ",".join([*S2_BANDS[:12], "B99"])}, "missing band"),
        ({"scale": "db"}, "one of dn"),
        ({"pixels": np.ones((13, 4, 16))}, "8 to 512"),
        ({"pixels": np.zeros((13, 16, 16))}, "no known pixel"),
    ],
)
def test_what_does_not_fit_is_refused(untrained, change, words):
    with pytest.raises(ServingError, match=words):
        answer(untrained, {**rows_of(untrained)[0], **change})


@pytest.mark.parametrize("bad", ["/etc/passwd", [[1.0]], [[[float("nan")]]], None])
def test_paths_and_odd_arrays_are_refused_before_the_model_runs(untrained, bad):
    table = input_example(untrained)
    row = {**table.iloc[0].to_dict(), "pixels": bad}
    with pytest.raises(ServingError):
        read_request([row], FIELDS)
