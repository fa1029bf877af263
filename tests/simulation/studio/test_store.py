"""The file of a studio: whole after every change, refused when it is another's or damaged."""

import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from models.errors import DataError
from server.rollout.log import DecisionLog
from simulation.experiments.rollout.scenarios import load_scenario
from simulation.studio.store import FILE, Store
from tests.simulation.studio.small_studio import session, setup


@pytest.fixture(scope="module")
def played():
    """A session with an order, a fault and two days."""
    one = session()
    one.follow(one.order("start", "go"))
    one.suffer(one.fault_of("worse", load_scenario("quality-2").effects))
    one.step()
    one.step()
    return one


def _written(folder, played) -> tuple[Store, int]:
    store = Store.open(folder)
    number, _ = store.begin(setup())
    store.add_decision(number, played.decisions[0])
    store.add_fault(number, 1, played.faults[0])
    for day, decision in zip(played.days, played.decisions[1:], strict=True):
        store.add_day(number, day, decision)
    return store, number


def test_what_is_written_is_read_again(tmp_path, played):
    store, number = _written(tmp_path, played)
    store.close()
    again = Store.open(tmp_path)
    saved = again.current()
    assert saved and saved.history == played.history and saved.setup == setup()
    assert saved.state == played.rollout.state and saved.number == number
    later, _ = again.begin(setup("quality-2"))
    newest = again.current()
    assert newest and newest.number == later > number and newest.history.days == ()
    assert len(again.log_of(number).splitlines()) == 4  # the rollout before is still there
    again.close()


def test_the_log_is_one_that_the_rollout_opens(tmp_path, played):
    store, number = _written(tmp_path, played)
    path = tmp_path / "decisions.jsonl"
    path.write_text(store.log_of(number))
    log = DecisionLog.open(path)
    assert log.decisions == played.history.decisions and log.state == played.rollout.state
    store.close()


def test_a_second_studio_is_refused(tmp_path):
    store = Store.open(tmp_path)
    with pytest.raises(DataError, match="another studio has this folder"):
        Store.open(tmp_path)
    store.close()
    Store.open(tmp_path).close()


def test_a_day_that_is_there_is_not_written_twice_nor_half(tmp_path, played):
    store, number = _written(tmp_path, played)
    before = store.log_of(number)
    with pytest.raises(DataError, match="UNIQUE"):
        store.add_day(number, played.days[0], played.decisions[1])
    assert store.log_of(number) == before  # the decision beside it went back too
    store.close()


KILLED = """
    import os, sqlite3
    from pathlib import Path
    from simulation.studio import store as module
    from tests.simulation.studio.small_studio import session

    one = session()
    one.follow(one.order("start", "go"))
    store = module.Store.open(Path({folder!r}))
    store.add_decision(1, one.decisions[0])
    print("written", flush=True)
    with store._change() as connection:
        module._append(connection, 1, one.order("pause", "half of a change"))
        os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_a_change_it_has_all_before_and_nothing_of_it(tmp_path):
    store = Store.open(tmp_path)
    store.begin(setup())
    store.close()
    code = textwrap.dedent(KILLED.format(folder=str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ)
    assert done.returncode == -9 and done.stdout == b"written\n", done.stderr.decode()
    again = Store.open(tmp_path)
    saved = again.current()
    assert saved and [each.action for each in saved.history.decisions] == ["start"]
    assert saved.state.status == "running"
    again.close()


def _foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()


def _other_version(path):
    Store.open(path.parent).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()


def _cut(path):
    store = Store.open(path.parent)
    store.begin(setup())
    store.close()
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (
            lambda path: path.write_bytes(b"not a database at all, but longer than its header" * 9),
            "no studio's",
        ),
        (_foreign, "is not a studio's"),
        (_other_version, "has format 7"),
        (_cut, "is damaged"),
    ],
)
def test_what_is_no_studios_or_damaged_is_named_and_left_alone(tmp_path, make, what):
    path = tmp_path / FILE
    make(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=what):
        Store.open(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE log SET line = replace(line, '\"hold\"', '\"halt\"')", "line 3 was changed"),
        ("DELETE FROM log WHERE number = 2", "line 3 does not follow"),
        ("DELETE FROM log", "line 1 is cut off"),
        ("UPDATE days SET content = replace(content, 'row', 'raw')", "what no studio wrote"),
        (
            "UPDATE rollouts SET setup = replace(setup, '\"standard-1\"', '\"other\"')",
            "another plan",
        ),
    ],
)
def test_a_line_that_was_mended_by_hand_is_named(tmp_path, played, change, what):
    store, _ = _written(tmp_path, played)
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(change)
    connection.close()
    again = Store.open(tmp_path)
    with pytest.raises(DataError, match=what):
        again.current()
    again.close()
