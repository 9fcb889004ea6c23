from __future__ import annotations

import pytest

from core.errors import CheckpointError, ConfigError, DataError, KindredError, RegistryError, ServingError


def test_message_names_thing_value_expectation_and_remedy():
    error = KindredError("rate in params.yaml", seen="x", expected="a number", remedy="write 0.1")
    assert str(error) == "rate in params.yaml: saw 'x', expected a number. Remedy: write 0.1"


def test_parts_may_be_left_out():
    assert str(KindredError("the file is gone")) == "the file is gone"
    assert str(KindredError("n", seen=None)) == "n: saw None"


def test_long_values_are_cut():
    assert len(str(KindredError("n", seen="x" * 10_000))) < 250


def test_line_breaks_in_a_value_stay_on_one_line():
    assert "\n" not in str(KindredError("n", seen="a\nb"))


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError, RegistryError, ServingError])
def test_every_kind_can_be_caught_as_value_error(kind):
    assert issubclass(kind, KindredError)
    assert issubclass(kind, ValueError)
