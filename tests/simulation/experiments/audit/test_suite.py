"""`pocketfleet audit` on a finished run folder: sizes, JSON, refusals, and nobody's history."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import DataError, SettingsError
from models.files import write_json
from simulation.__main__ import run
from simulation.engines.inline import run_inline
from simulation.experiments.audit.suite import ATTACKS, AuditPlan, audit_run, load_audit
from simulation.experiments.audit.target import Target
from simulation.run_folder import RunRecord
from tests.tiny_world import SEED, TinyWorld, federation

NO_TEXTS = ["history", "membership", "canaries", "poison"]


@pytest.fixture
def finished(tiny: TinyWorld) -> Path:
    """A run folder of the tiny world."""
    (tiny.folder / "arms").mkdir()
    run_inline(tiny.prepare_run("arms/federated", federation()), 1)
    record = RunRecord(
        verb="compare",
        command="",
        seed=SEED,
        status="complete",
        created=datetime.now(UTC),
        commit="unknown",
        versions={},
        reason="",
    )
    write_json(tiny.folder / "run.json", record.model_dump(mode="json"))
    return tiny.folder


def test_the_products_sizes_are_whole_and_named_after_the_attacks():
    assert set(AuditPlan.model_fields) == set(ATTACKS)
    whole, quick = load_audit(), load_audit(quick=True)
    assert quick.membership.shadows < whole.membership.shadows
    assert load_audit(None, ["membership.shadows=32"]).membership.shadows == 32


def test_wrong_sizes_are_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="the sections of an audit are history, words"):
        load_audit(None, ["federation.rounds=3"])
    with pytest.raises(SettingsError, match="--quick has sizes of its own"):
        load_audit(tmp_path / "mine.toml", quick=True)
    with pytest.raises(SettingsError, match=r"membership\.rounds"):
        load_audit(None, ["membership.rounds=0"])


def test_the_verb_attacks_a_run_and_writes_what_it_found(finished: Path, capsys):
    names = [word for name in NO_TEXTS for word in ("--attack", name)]
    out = str(finished / "found")
    sizes = (
        "membership.candidates=10",
        "membership.rounds=1",
        "history.devices=12",
        'poison.combinations=["mean", "median"]',
        "poison.rounds=1",
    )
    smaller = [word for size in sizes for word in ("--set", size)]
    arguments = ["audit", str(finished), *names, "--quick", *smaller, "--out", out, "--json"]
    assert run(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["attack"] for one in said["findings"]] == NO_TEXTS
    for name in NO_TEXTS:
        kept = json.loads((finished / "found" / f"{name}.json").read_text())
        assert kept["rows"] and kept["sizes"] and kept["seconds"] > 0
        (same,) = (one for one in said["findings"] if one["attack"] == name)
        assert kept["rows"] == same["rows"]


def test_people_see_a_table_with_intervals(finished: Path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ["audit", str(finished), "-a", "history", "--quick", "--set", "history.devices=12"]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "plain update" in shown and "popularity" in shown and "[" in shown
    assert (finished / "audit" / "history.json").is_file()


def test_what_cannot_be_attacked_is_refused(finished: Path, tmp_path: Path):
    plan = load_audit(quick=True)
    with pytest.raises(SettingsError, match="choose among history, words"):
        list(audit_run(finished, "federated", plan, ["wishes"], tmp_path, tmp_path))
    with pytest.raises(DataError, match="it has federated"):
        Target.of_run(finished, "static")
    with pytest.raises(DataError, match="is no run folder"):
        Target.of_run(tmp_path / "nothing", "federated")
