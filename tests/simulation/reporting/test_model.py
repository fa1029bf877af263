import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulation.reporting.model import Compression, Interval, ReportData

fractions = st.floats(0, 1)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low, mean, high = sorted(draw(st.tuples(fractions, fractions, fractions)))
    return Interval(mean=mean, low=low, high=high)


@pytest.mark.parametrize("which", ["report", "bare"])
def test_json_round_trip_keeps_everything(which: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(which)
    assert ReportData.model_validate_json(report.model_dump_json()) == report


@given(first=intervals(), second=intervals())
def test_overlap_is_symmetric_and_agrees_with_the_gap(first: Interval, second: Interval) -> None:
    gap = max(first.low, second.low) - min(first.high, second.high)
    assert first.overlaps(second) == second.overlaps(first) == (gap <= 0)


def test_an_interval_upside_down_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"low 0\.3 is above high 0\.1"):
        Interval(mean=0.2, low=0.3, high=0.1)


def test_not_a_number_is_refused_because_json_has_none() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Interval(mean=float("nan"), low=0.0, high=1.0)


def _changed(report: ReportData, **changes: object) -> dict[str, object]:
    return report.model_dump() | changes


def test_an_unknown_key_is_named(report: ReportData) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        ReportData.model_validate(_changed(report, surprise=1))


def test_two_arms_with_one_key_are_refused(report: ReportData) -> None:
    with pytest.raises(ValidationError, match="each key may appear once"):
        ReportData.model_validate(_changed(report, arms=(report.arms[0], report.arms[0])))


@pytest.mark.parametrize("field", ["roles", "contrasts", "rounds"])
def test_a_key_of_no_arm_is_refused_wherever_it_stands(report: ReportData, field: str) -> None:
    changes = {
        "roles": report.roles.model_copy(update={"phone": "nobody"}),
        "contrasts": (report.contrasts[0].model_copy(update={"b": "nobody"}),),
        "rounds": (report.rounds[0].model_copy(update={"arm": "nobody"}),),
    }
    with pytest.raises(ValidationError, match=r"no arm has the key \['nobody'\]"):
        ReportData.model_validate(_changed(report, **{field: changes[field]}))


def test_parts_larger_than_their_bundle_are_refused(report: ReportData) -> None:
    assert report.compression is not None
    smaller = report.compression.model_dump() | {"bundle_bytes": 1_871_999}
    with pytest.raises(ValidationError, match="1,872,000 bytes, bundle_bytes is 1,871,999"):
        Compression.model_validate(smaller)


def test_roles_lead_to_their_arms(report: ReportData, bare: ReportData) -> None:
    assert [arm and arm.key for arm in (report.teacher, report.phone, report.static)] == [
        "server-teacher",
        "federated",
        "static",
    ]
    assert (bare.teacher, bare.phone, bare.static) == (None, None, None)


def test_a_contrast_is_clear_only_without_zero(report: ReportData) -> None:
    assert [contrast.is_clear for contrast in report.contrasts] == [True, True, False]
