"""A look into a phone says what the run's own files say, and refuses runs that lack them."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from server.cohorts import CohortPlan
from simulation.experiments.arms import FEDERATED, TEACHER
from simulation.experiments.federation import read_arm
from simulation.reporting import formats
from simulation.reporting.html import load_report
from simulation.run_folder import RunFolder
from simulation.studio.phone_model import PhoneView
from simulation.studio.phone_package import place_of
from simulation.studio.phone_preview import PhonePreview

NUM_PHONES = 24


@pytest.fixture(scope="module")
def views(preview: PhonePreview) -> list[PhoneView]:
    return [preview.view(device) for device in range(NUM_PHONES)]


def test_both_lists_are_those_of_the_report(preview: PhonePreview) -> None:
    """The report's users were drawn and served by other code, in the run that made it."""
    for example in preview.report.recommendations:
        seen = preview.view(int(example.user.removeprefix("u")))
        assert tuple(item.title for item in seen.server.items) == example.server
        assert tuple(item.title for item in seen.phone.items) == example.phone
        assert seen.held_out == example.held_out
        assert seen.tier.name == example.tier
        shown = tuple(event.title for event in seen.history)
        assert shown[: len(example.history)] == example.history
        assert seen.num_shared == len(set(example.server) & set(example.phone))


def test_places_are_the_ranks_of_the_comparison(
    preview: PhonePreview, views: list[PhoneView]
) -> None:
    """Mean reciprocal places, phone by phone, come to the MRR that the report has as a mean."""
    for arm, side in ((TEACHER, "server"), (FEDERATED, "phone")):
        places = np.array([getattr(view, side).place for view in views])
        # float16 vectors on the phone may swap two items that are nearly tied
        near = 1e-9 if side == "server" else 0.02
        mrr = preview.report.known_arm(arm).metrics["full"]["mrr"].mean
        assert np.mean(1 / places) == pytest.approx(mrr, abs=near)


def test_a_list_marks_what_is_shared_and_what_was_held_out(views: list[PhoneView]) -> None:
    for seen in views:
        for one, other in ((seen.server, seen.phone), (seen.phone, seen.server)):
            elsewhere = {item.title for item in other.items}
            for rank, item in enumerate(one.items, start=1):
                assert item.is_shared == (item.title in elsewhere)
                assert item.is_held_out == (item.title == seen.held_out)
                if item.is_held_out:
                    assert one.place == pytest.approx(rank, abs=0.5)
        history = {event.title for event in seen.history}
        assert not history & {item.title for item in seen.phone.items + seen.server.items}


def test_rounds_and_bytes_add_up_to_the_history_of_the_run(
    preview: PhonePreview, views: list[PhoneView]
) -> None:
    """What single phones sent and fetched, counted from the plan, is what the cloud counted."""
    arm = read_arm(preview.run.arm(FEDERATED))
    rows, plan = arm.history().rows(), CohortPlan.read(arm.folder / "cohorts.npz")
    marks = [mark for seen in views for mark in seen.rounds]
    assert len(marks) == len(plan.invited)
    for row in rows[1:]:
        mine = [mark.outcome for mark in marks if mark.round_number == row["round_number"]]
        assert mine.count("reported") == row["num_reported"]
        assert mine.count("dropped") == row["num_dropped"]
        assert mine.count("late") == row["num_late"]
    reports = sum(mark.outcome == "reported" for mark in marks)
    assert reports * preview.ledger.bytes_up == sum(row["bytes_up"] for row in rows)
    assert len(marks) * preview.ledger.bytes_down == sum(row["bytes_down"] for row in rows)
    assert preview.num_reports.sum() == reports


def test_events_leave_only_the_phones_of_those_who_opted_in(
    preview: PhonePreview, views: list[PhoneView]
) -> None:
    left = [view.id for view in views if view.sent[0].left]
    share = preview.settings.comparison.opted_in_share
    assert 0 < len(left) == int(NUM_PHONES * share) < NUM_PHONES
    for view in views:
        told = {one.what: one for one in view.sent}
        assert not (told["Private texts"].left or told["Personal vector"].left)
        sent = sum(mark.outcome in ("reported", "late") for mark in view.rounds)
        assert told["Updates"].left == (sent > 0)
        assert told["Updates"].amount == formats.size(sent * preview.ledger.bytes_up)
        assert view.sent[0].amount.endswith(f"of {view.num_events}")
        assert (view.update.is_noised, view.update.is_masked) == (False, False)


def test_every_figure_says_where_it_is_from(preview: PhonePreview) -> None:
    spent = {figure.what: figure.origin for figure in preview.view(3).spent}
    assert spent == {
        "This request": "measured",
        "A request, median": "measured",
        "A request on this tier": "modelled",
        "Installed": "counted",
        "Rounds of training": "counted",
        "Bytes of training": "counted",
        "Energy of training": "modelled",
    }


def test_phones_are_listed_by_tier_and_page_by_page(preview: PhonePreview) -> None:
    whole = preview.page(limit=100)
    assert [row.id for row in whole.phones] == list(range(NUM_PHONES))
    assert sum(tier.num_phones for tier in whole.tiers) == whole.total == NUM_PHONES
    for tier in whole.tiers:
        one = preview.page(tier.name, limit=100)
        assert one.total == tier.num_phones
        assert one.phones == tuple(row for row in whole.phones if row.tier == tier.name)
    pages = [preview.page(offset=offset, limit=7).phones for offset in range(0, 28, 7)]
    assert tuple(row for page in pages for row in page) == whole.phones
    assert preview.page(offset=1000).phones == ()
    with pytest.raises(DataError, match="no tier 'huge'"):
        preview.page("huge")
    for stranger in (-1, NUM_PHONES):
        with pytest.raises(DataError, match="give one of 0 to 23"):
            preview.view(stranger)


def test_a_run_that_was_moved_shows_the_same(copied_run: Path, preview: PhonePreview) -> None:
    """The jobs in a run have absolute paths of where it was made; nothing here follows them."""
    job = copied_run / "arms" / FEDERATED / "device-job.json"
    job.unlink()
    moved, first = PhonePreview.open(copied_run).view(5), preview.view(5)
    assert moved.phone == first.phone and moved.server == first.server
    assert moved.sent == first.sent and moved.run == "moved"


def _record(run: Path, **changes: str) -> None:
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _make_private(run: Path) -> None:
    settings = RunFolder(run).settings().model_dump(mode="json")
    settings["federation"]["privacy"] |= {"mechanism": "central", "noise_multiplier": 1.0}
    settings["federation"]["schedule"] |= {"sampling": "poisson", "over_selection": 1}
    (run / "settings.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "is no run folder"),
        (lambda run: _record(run, verb="simulate"), "is a 'simulate'.*needs a comparison"),
        (lambda run: _record(run, status="failed", reason="why"), r"is failed \(why\)"),
        (_make_private, "promises its users differential privacy, so nobody is shown"),
        (lambda run: (run / "server-lists.npz").unlink(), "made by an older version"),
        (lambda run: (run / "server-lists.npz").write_bytes(b"PK\x03\x04"), "is damaged"),
        (lambda run: (run / "package" / "item_text.npy").unlink(), "missing or damaged"),
        (lambda run: (run / "arms" / FEDERATED / "cohorts.npz").unlink(), "cohort plan"),
        (lambda run: (run / "report" / "report.json").unlink(), "cannot read the report"),
    ],
)
def test_a_run_without_what_it_needs_is_refused(copied_run: Path, spoil, message: str) -> None:
    spoil(copied_run)
    with pytest.raises(DataError, match=message):
        PhonePreview.open(copied_run)


def test_a_report_of_the_run_is_untouched(preview: PhonePreview) -> None:
    before = (preview.run.report / "report.json").read_bytes()
    preview.view(0)
    assert (preview.run.report / "report.json").read_bytes() == before
    assert load_report(preview.run.report) == preview.report


def test_places_count_ties_half_and_seen_items_not_at_all() -> None:
    scores = np.array([5.0, 1.0, 1.0, 1.0, 0.0], np.float32)
    assert place_of(scores, 2, np.array([], np.int64)) == 1 + 1 + 0.5 * 2
    assert place_of(scores, 2, np.array([0, 1])) == 1 + 0.5
    assert place_of(scores, 4, np.array([0, 1, 2, 3])) == 1
