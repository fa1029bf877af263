"""The log plays back to the same state, and says which line is corrupt."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from models.seeds import generator
from server.rollout.log import DecisionLog
from server.rollout.log_lines import hashed
from server.rollout.machine import decide, follow, order
from tests.server.rollout.made_up import TIERS, a_day, nothing, plan

PLAN = plan()


def begun(folder, name="log.jsonl") -> DecisionLog:
    log = DecisionLog.create(folder / name, PLAN, TIERS, 6)
    log = log.append(order(PLAN, log.state, "start", 0, "go"))
    evidence = nothing(PLAN) + a_day(generator(1, "day"), 0, internal=(5, 0))
    for day in (1, 2, 3):  # the first stage, the second one for two days, the third one
        log = log.append(decide(PLAN, log.state, evidence, TIERS, day))
    return log


def test_it_plays_back_to_the_same_state(tmp_path):
    log = begun(tmp_path)
    again = DecisionLog.open(log.path)
    assert again == log and again.state == log.state
    state = again.states[0]
    for decision, after in zip(again.decisions, again.states[1:], strict=True):
        state = follow(PLAN, state, decision)
        assert state == after
    assert log.state.stage == 2 and log.state.sequence == 7


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_changed_byte_is_found_and_nothing_is_changed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("log")
    log = begun(folder)
    content = bytearray(log.path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    log.path.write_bytes(content)
    with pytest.raises(DataError, match=r"line \d+ .*nothing was changed"):
        DecisionLog.open(log.path)
    with pytest.raises(DataError):
        log.append(order(PLAN, log.state, "halt", 9, "stop"))
    assert log.path.read_bytes() == bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:-1], lines[-1][:-20]], "line 5 is cut off"),
        (lambda lines: [lines[0], *lines[2:]], "line 2 does not follow"),
        (lambda lines: [*lines[:2], lines[3], lines[2], lines[4]], "line 3 does not follow"),
        (lambda lines: [*lines, b"\n"], "line 6 is no JSON"),
        (lambda lines: [*lines, b"[]\n"], "line 6 must have exactly the keys"),
        (lambda lines: [], "line 1 is cut off"),
    ],
)
def test_lines_cut_off_taken_out_or_swapped_are_named(tmp_path, change, message):
    log = begun(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(change(lines)))
    with pytest.raises(DataError, match=message):
        DecisionLog.open(log.path)


def test_a_line_that_is_well_chained_but_cannot_be_is_refused(tmp_path):
    """Somebody who recomputes hashes still has to keep to what the states allow."""
    log = begun(tmp_path)
    jump = log.decisions[-1].model_dump(mode="json") | {"action": "advance", "stage": 4}
    body = {"number": 5, "previous": log.head, "decision": jump}
    with log.path.open("a") as file:
        file.write(hashed(body) + "\n")
    with pytest.raises(DataError, match="line 6 cannot be: no such decision is possible: stage 4"):
        DecisionLog.open(log.path)


def test_two_writers_do_not_write_over_each_other(tmp_path):
    log = begun(tmp_path)
    log.append(order(PLAN, log.state, "pause", 5, "one"))
    with pytest.raises(DataError, match="has grown since it was read"):
        log.append(order(PLAN, log.state, "halt", 5, "two"))
    assert DecisionLog.open(log.path).state.status == "paused"


def test_a_log_is_not_begun_twice_nor_opened_from_nowhere(tmp_path):
    begun(tmp_path)
    with pytest.raises(DataError, match="is there already"):
        begun(tmp_path)
    with pytest.raises(DataError, match="cannot read the log"):
        DecisionLog.open(tmp_path / "none.jsonl")


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    log = begun(tmp_path)
    before = log.path.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("server.rollout.log.os.fsync", full)
    with pytest.raises(DataError, match="cannot append"):
        log.append(order(PLAN, log.state, "halt", 5, "stop"))
    assert log.path.read_bytes() == before


def test_lines_are_json_that_people_can_read(tmp_path):
    log = begun(tmp_path)
    last = json.loads(log.path.read_text().splitlines()[-1])
    assert last["decision"]["reason"] and last["previous"] != last["hash"] == log.head
