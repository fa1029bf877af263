"""A trade-off on made-up people: rows, what they say, and going on after a stop."""

import json
from pathlib import Path

import pytest

from simulation.__main__ import run
from simulation.experiments.tradeoff.tradeoff_arm import TradeoffRow
from tests.integration.test_quickstart import write_inputs

PLAN = """
preset = "{preset}"
evaluated = 0
overrides = [
  "federation.schedule.sampling=poisson", "federation.schedule.over_selection=1",
  "federation.cohort_size=12", "federation.training.rate=1",
]
[attacks]
devices = 12
sum_of = 10
canaries = 16
local_rounds = 1
confidence = 0.95
guess_shares = [0.5, 1.0]
[[arms]]
name = "none"
title = "no privacy"
overrides = []
[[arms]]
name = "local"
title = "local noise"
overrides = ["federation.privacy.mechanism=local", "federation.privacy.noise_multiplier=5"]
[[arms]]
name = "central"
title = "central noise"
overrides = ["federation.privacy.mechanism=central", "federation.privacy.noise_multiplier=5"]
[[arms]]
name = "hidden"
title = "noise of the phones in a secure sum"
overrides = [
  "federation.privacy.mechanism=distributed", "federation.privacy.noise_multiplier=1",
  "federation.secure_sum.enabled=true", "federation.secure_sum.min_devices=2",
]
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A trade-off that was run once."""
    folder = tmp_path_factory.mktemp("tradeoff")
    (folder / "plan.toml").write_text(PLAN.format(preset=write_inputs(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETFLEET_CACHE", str(folder / "cache"))
        assert run(words(folder)) == 0
    return folder


def words(folder: Path, *more: str) -> list[str]:
    return ["tradeoff", str(folder / "plan.toml"), "--out", str(folder / "run"), *more]


def rows(folder: Path) -> dict[str, TradeoffRow]:
    found = sorted((folder / "run" / "tradeoff").glob("*.json"))
    return {path.stem: TradeoffRow.model_validate_json(path.read_text()) for path in found}


def test_each_arm_says_what_it_promises_and_what_it_costs(study: Path):
    found = rows(study)
    assert set(found) == {"none", "local", "central", "hidden"}
    assert found["none"].epsilon is None
    assert all(found[name].epsilon for name in ("local", "central", "hidden"))
    assert found["local"].epsilon > found["central"].epsilon  # the same noise, on one phone alone
    assert found["hidden"].hidden and not found["central"].hidden
    for row in found.values():
        assert 0 <= row.quality["ndcg@10"].low <= row.quality["ndcg@10"].mean <= 1
        assert row.start == found["none"].start  # all from the same parameters
        assert row.bytes_up > 0 and row.rounds == 4


def test_the_cloud_reads_histories_unless_noise_or_masks_come_first(study: Path):
    found = rows(study)
    open_ones, closed = (found[name].history for name in ("none", "local"))
    assert open_ones is not None and closed is not None
    assert open_ones.mean > 0.9
    assert found["central"].history == open_ones  # the noise comes after the cloud has looked
    assert closed.high < open_ones.low
    hidden = found["hidden"].history
    assert hidden is not None and hidden.high < open_ones.low


def test_canaries_prove_no_more_than_was_accounted(study: Path):
    found = rows(study)
    assert found["none"].epsilon_at_least is not None and found["none"].audited_epsilon is None
    for name in ("local", "central", "hidden"):
        at_least, accounted = found[name].epsilon_at_least, found[name].audited_epsilon
        assert at_least is not None and accounted is not None and at_least <= accounted


def test_a_trade_off_goes_on_with_the_rows_that_are_missing(study: Path, monkeypatch, capsys):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(study / "cache"))
    before = rows(study)
    folder = study / "run" / "tradeoff"
    (folder / "central.json").unlink()
    (folder / "none.json").write_text('{"half": ')
    kept = (folder / "local.json").stat().st_mtime_ns
    assert run(words(study, "--json")) == 0
    assert rows(study).keys() == before.keys()
    for name, row in rows(study).items():
        changing = {"seconds_per_round"}
        assert row.model_dump(exclude=changing) == before[name].model_dump(exclude=changing)
    assert (folder / "local.json").stat().st_mtime_ns == kept
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert [row["name"] for row in told["rows"]] == ["none", "local", "central", "hidden"]
