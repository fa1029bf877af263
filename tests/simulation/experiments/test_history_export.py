import builtins
from pathlib import Path

import pandas as pd
import pytest

from models.errors import EngineError
from server.history import History
from simulation.engines.inline import run_inline
from simulation.engines.watch import watched
from simulation.experiments.history_export import TENSORBOARD, tensorboard, write_parquet
from tests.tiny_world import TinyWorld, federation


@pytest.fixture
def run(tiny: TinyWorld) -> Path:
    return tiny.prepare_run("run", federation(2, rounds=3))


def test_the_table_says_what_the_lines_say(run: Path):
    run_inline(run, 2)
    table, rows = pd.read_parquet(write_parquet(run)), History(run).rows()
    assert table["round_number"].tolist() == [0, 1, 2, 3]
    assert table["num_reported"].tolist() == [row["num_reported"] for row in rows]
    assert table["full/hr@10"].notna().tolist() == [bool(row["metrics"]) for row in rows]
    last = rows[-1]
    assert table["full/ndcg@10"].iloc[-1] == last["metrics"]["full"]["ndcg@10"]
    assert table["low/auc"].iloc[-1] == last["tiers"]["low"]["auc"]


def test_listeners_hear_every_round_once_and_progress_says_how_it_goes(run: Path):
    heard, told = [], []
    with watched(run, 3, "rounds", lambda *call: told.append(call), [heard.append]):
        run_inline(run, 2)
    assert [row["round_number"] for row in heard] == [0, 1, 2, 3]
    what, done, total = told[-2]
    assert what.startswith("rounds\n") and "devices/s" in what and "HR@10" in what
    assert (done, total) == (2, 3)
    assert told[-1] == ("rounds", 3, 3)


def test_without_tensorboard_the_cure_is_named(run: Path, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **named):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with (
        pytest.raises(EngineError, match=r"pip install 'pocketfleet\[tensorboard\]'"),
        tensorboard(run, asked=True),
    ):
        pass


def test_tensorboard_reads_what_was_written(run: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tensorboard(run, asked=True) as listeners, watched(run, 3, "", lambda *_: None, listeners):
        run_inline(run, 2)
    events = EventAccumulator(str(run / TENSORBOARD)).Reload()
    found = {event.step: event.value for event in events.Scalars("num_reported")}
    assert found == {row["round_number"]: row["num_reported"] for row in History(run).rows()}
