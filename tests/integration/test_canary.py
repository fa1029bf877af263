"""No raw event, text, user vector or device's own metric leaves a phone, on any engine.

What each device has is planted so that it can be recognised; all messages are tapped; then it is
looked for in them and in all that the cloud's side writes: history, checkpoint, logs.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clients.app
import clients.recommender_training
from clients.protocol.messages import TrainReply
from models.errors import DataError, EngineError
from models.metrics import PROTOCOLS
from server.history import History
from server.settings import Federation
from simulation.__main__ import run
from simulation.engines.deployment import run_deployment
from simulation.engines.flower import RAY_ADDRESS, run_flower
from simulation.engines.inline import run_inline
from simulation.engines.pool import run_in_pool
from simulation.reporting.html import load_report
from simulation.run_folder import RunFolder
from simulation.studio.phone_preview import PhonePreview
from tests.integration.canaries import (
    FIRST_TIME_S,
    Canaries,
    Tapped,
    leak_items,
    plant,
    set_tap,
    tap_here,
    with_personal,
)
from tests.integration.test_quickstart import write_inputs
from tests.tiny_world import TIERS, TinyWorld, federation, private

NODES, ROUNDS = 2, 3
Play = Callable[[Path], None]

ENGINES: dict[str, Play] = {
    "inline": lambda folder: run_inline(folder, NODES),
    "pool": lambda folder: run_in_pool(folder, NODES, 2),
    "flower": lambda folder: run_flower(folder, NODES),
    "deployment": lambda folder: run_deployment(folder, NODES),
}
SLOW = ("flower", "deployment")


@pytest.fixture
def planted(tmp_path: Path, monkeypatch) -> tuple[TinyWorld, Canaries, Tapped]:
    """A world of canaries and a tap on everything that is started from now on."""
    monkeypatch.delenv(RAY_ADDRESS, raising=False)
    tapped = Tapped(set_tap(monkeypatch, tmp_path))
    tap_here(monkeypatch)
    (tmp_path / "planted").mkdir()
    return *plant(tmp_path / "planted"), tapped


@pytest.mark.parametrize(
    "engine",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in ENGINES],
)
def test_canary_is_in_no_message_log_or_history(
    planted: tuple[TinyWorld, Canaries, Tapped], engine: str, tmp_path: Path
):
    tiny, canaries, tapped = planted
    folder = tiny.prepare_run("run", federation(NODES, ROUNDS))
    begun = with_personal(canaries, folder / "taste.npy")
    log = logging.FileHandler(folder / "everything.log")
    root = logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        ENGINES[engine](folder)
    finally:
        root.removeHandler(log)
        root.setLevel(level)
        log.close()
    ended = with_personal(canaries, folder / "taste.npy")
    assert tapped.kinds()["out-train"] == NODES * ROUNDS  # the tap has heard all of it
    assert tapped.kinds()["out-evaluate"] >= NODES * 2
    for known in (begun, ended):
        assert known.found_below(tapped.folder) == set()
        assert known.found_below(folder) == set()
    assert History(folder).rows()[-1]["faults"] == []
    only_sums(tiny, tapped)


def hidden() -> Federation:
    """Noise of the cloud on a sum that it sees only whole."""
    whole = private(NODES, ROUNDS).model_dump()
    whole["secure_sum"] |= {"enabled": True}
    return Federation.model_validate(whole)


@pytest.mark.parametrize(
    ("promised", "train_reply"),
    [(private(NODES, ROUNDS), {"arrays.update_sum"}), (hidden(), {"secure_sum.message"})],
    ids=["noised", "hidden"],
)
@pytest.mark.parametrize("engine", ["inline", "pool"])
def test_canary_is_nowhere_in_a_private_run_and_replies_say_less(
    planted: tuple[TinyWorld, Canaries, Tapped],
    promised: Federation,
    train_reply: set[str],
    engine: str,
):
    """No loss, norm or count that depends on data leaves a node; a hidden sum is bytes alone."""
    tiny, canaries, tapped = planted
    folder = tiny.prepare_run("run", promised)
    begun = with_personal(canaries, folder / "taste.npy")
    ENGINES[engine](folder)
    ended = with_personal(canaries, folder / "taste.npy")
    for known in (begun, ended):
        assert known.found_below(tapped.folder) == set()
        assert known.found_below(folder) == set()
    replies = tapped.replies("train") + tapped.replies("train_masked")
    assert len(replies) == NODES * ROUNDS
    for shapes, words in replies:
        assert set(shapes) == train_reply
        assert set(words) <= {"sums.num_devices"}
    assert all(row["loss"] is None for row in History(folder).rows()[1:])


def only_sums(tiny: TinyWorld, tapped: Tapped) -> None:
    """Replies hold what they are meant to and nothing beside it, least of all a row per device."""
    for shapes, words in tapped.replies("train"):
        assert shapes == {"arrays.update_sum": (tiny.layout.size,)}
        counts = {"num_devices", "num_clipped", "num_refused"}
        assert set(words) == {f"sums.{name}" for name in counts | {"loss_sum", "norm_sum"}}
    tiers = {tier.name for tier in TIERS.tiers}
    for shapes, words in tapped.replies("evaluate"):
        assert shapes == {}
        for name in words:
            tier, _, rest = name.partition("/")
            assert tier in tiers and rest.split(".")[0] in PROTOCOLS
            assert np.isscalar(words[name])


def test_canary_that_is_leaked_is_found(planted: tuple[TinyWorld, Canaries, Tapped], monkeypatch):
    """The search itself: a node that adds a history to its reply is caught."""
    tiny, canaries, tapped = planted
    monkeypatch.setenv("POCKETFLEET_TEST_LEAK", str(tiny.world))
    monkeypatch.setattr(TrainReply, "to_record", leak_items)
    folder = tiny.prepare_run("run", federation(NODES, ROUNDS))
    run_inline(folder, NODES)
    assert any("a history" in found for found in canaries.found_below(tapped.folder))


@pytest.mark.parametrize("error", [KeyError, ValueError, IndexError])
def test_canary_in_an_error_stays_on_the_node(
    planted: tuple[TinyWorld, Canaries, Tapped], monkeypatch, error: type[Exception]
):
    """A fault of the program may quote what it choked on; its words do not travel."""
    tiny, canaries, tapped = planted
    inner = clients.recommender_training.train_cohort

    def choke(shard, task, *rest, **named):
        if task.round_number == 2:
            raise error("siskin 00017 at 1234500007")
        return inner(shard, task, *rest, **named)

    monkeypatch.setattr(clients.recommender_training, "train_cohort", choke)
    folder = tiny.prepare_run("run", federation(NODES, ROUNDS))
    run_inline(folder, NODES)
    faults = History(folder).rows()[2]["faults"]
    assert len(faults) == NODES
    assert all(f"EngineError: {error.__name__} in clients/" in line for line in faults)
    assert canaries.found_below(folder) == set()
    assert canaries.found_below(tapped.folder) == set()


def test_canary_errors_of_ours_keep_their_words(
    planted: tuple[TinyWorld, Canaries, Tapped], monkeypatch
):
    def refuse(*_, **named):
        raise EngineError("the shard is of another run: prepare it again")

    monkeypatch.setattr(clients.recommender_training, "train_cohort", refuse)
    folder = planted[0].prepare_run("run", federation(NODES, ROUNDS))
    with pytest.raises(EngineError, match="the shard is of another run: prepare it again"):
        run_inline(folder, NODES)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(typed=st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"])))
def test_canary_may_be_any_word(tmp_path_factory, typed: str):
    """Whatever somebody typed: random words, a world each."""
    word = f"q\u00e9{typed}\u00e9q"  # not to be met by chance
    folder = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as monkeypatch:
        tapped = Tapped(set_tap(monkeypatch, folder))
        tap_here(monkeypatch)
        (folder / "world-of").mkdir()
        tiny, canaries = plant(folder / "world-of", word)
        run = tiny.prepare_run("run", federation(NODES, 1))
        run_inline(run, NODES)
        assert canaries.found_in((tiny.world / "private_text.npy").read_bytes())  # it was there
        assert canaries.found_below(tapped.folder) == set()
        assert canaries.found_below(run) == set()


def test_canary_is_not_in_the_report_of_a_private_run(tmp_path: Path, monkeypatch):
    """The whole comparison, with people that can be recognised: by name, by text, by time."""
    monkeypatch.setenv("POCKETFLEET_CACHE", str(tmp_path / "cache"))
    preset = write_inputs(tmp_path)
    table = tmp_path / "events.csv"
    header, *lines = table.read_text().splitlines()
    written = [
        f"siskin-{user},{item},{FIRST_TIME_S + 7 * place},siskin wrote {place:05d}"
        for place, (user, item, _) in enumerate(line.split(",") for line in lines)
    ]
    table.write_text("\n".join([f"{header},private_text", *written]) + "\n")
    promised = (
        'federation.privacy.mechanism="central"',
        "federation.privacy.noise_multiplier=1",
        'federation.schedule.sampling="poisson"',
        "federation.schedule.over_selection=1",
        "private_text.share=0",
    )
    sets = [word for override in promised for word in ("--set", override)]
    out = tmp_path / "run"
    assert run(["compare", "--preset", str(preset), "--out", str(out), *sets]) == 0
    times = [str(FIRST_TIME_S + 7 * place).encode() for place in range(len(written))]
    canaries = Canaries({"a name or a text": [b"siskin"], "a time": times})
    assert canaries.found_in((out / "world" / "private_text.npy").read_bytes())  # it was there
    assert canaries.found_below(out / "report") == set()
    assert canaries.found_below(out / "arms") == set()
    assert canaries.found_in((out / "run.json").read_bytes()) == set()
    report = load_report(out / "report")
    assert report.recommendations == () and report.privacy
    assert not RunFolder(out).server_lists.exists()
    with pytest.raises(DataError, match="nobody is shown"):
        PhonePreview.open(out)
