"""What people see of long work: in a terminal and in a log."""

import io
import json
import threading

import pytest
from rich.console import Console

from simulation.commands.console import Voice


@pytest.fixture(params=[True, False], ids=["terminal", "log"])
def terminal(request) -> bool:
    return request.param


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def voice(terminal, screen) -> Voice:
    console = Console(file=screen, force_terminal=terminal, width=100, color_system=None)
    return Voice(machine=False, _notes=console)


def ends_told(screen: io.StringIO, terminal: bool) -> int:
    return screen.getvalue().count("done: pulling" if terminal else "pulling: 4/4")


def test_the_end_is_told_once_however_often_it_is_reported(voice, screen, terminal):
    with voice.progress() as progress:
        for done in (0, 2, 4, 4, 4, 3, 4):
            progress("pulling", done, 4)
    assert ends_told(screen, terminal) == 1


def test_the_end_is_told_once_when_threads_report_it_together(voice, screen, terminal):
    together = threading.Barrier(8)
    with voice.progress() as progress:

        def report() -> None:
            together.wait()
            for done in range(5):
                progress("pulling", done, 4)

        threads = [threading.Thread(target=report) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ends_told(screen, terminal) == 1


def test_each_piece_of_work_is_told_by_its_name(voice, screen):
    with voice.progress() as progress:
        progress("one [bold]", 1, 1)
        progress("two", 1, 1)
    assert screen.getvalue().count("one [bold]") == screen.getvalue().count("two") == 1


@pytest.mark.parametrize("terminal", [False], ids=["log"], indirect=True)
def test_a_log_gets_the_beginning_and_the_end(voice, screen):
    with voice.progress() as progress:
        for done in range(100):
            progress("pulling", done, 99)
        progress("guessing", 5, 0)
    assert screen.getvalue().splitlines() == ["pulling: 0/99", "pulling: 99/99", "guessing"]


def test_a_machine_gets_one_object_and_nothing_else(capsys):
    voice = Voice(machine=True)
    voice.show("for people")
    voice.result({"a": 1})
    assert json.loads(capsys.readouterr().out) == {"a": 1}
