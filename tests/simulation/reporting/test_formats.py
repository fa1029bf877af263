import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.reporting import formats
from simulation.reporting.model import METRICS

UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@given(num_bytes=st.floats(1, 9e14))
def test_a_size_reads_back_within_half_a_percent(num_bytes: float) -> None:
    value, unit = formats.size(num_bytes).split(" ")
    assert float(value) * UNITS[unit] == pytest.approx(num_bytes, rel=0.006, abs=0.5)
    assert len(value.replace(".", "")) <= 3


@given(value_ms=st.floats(0.01, 1e6))
def test_a_time_reads_back_within_its_two_digits(value_ms: float) -> None:
    text = formats.milliseconds(value_ms).removesuffix(" ms").replace(",", "")
    assert float(text) == pytest.approx(value_ms, rel=0.051)


@given(difference=st.floats(-1, 1))
def test_a_difference_always_shows_its_sign(difference: float) -> None:
    assert formats.points(difference)[0] in "+−"


def test_what_was_not_measured_is_not_zero() -> None:
    assert formats.size(None) == formats.milliseconds(None) == formats.figure(None) == "–"
    assert formats.size(0) == "0 B"


def test_every_metric_has_a_name_for_people() -> None:
    assert [formats.metric_label(name).lower() for name in METRICS] == list(METRICS)


@pytest.mark.parametrize(
    ("value_s", "text"), [(0.04, "0.0 s"), (9.96, "10.0 s"), (10.0, "10 s"), (3600.0, "3,600 s")]
)
def test_durations(value_s: float, text: str) -> None:
    assert formats.seconds(value_s) == text
