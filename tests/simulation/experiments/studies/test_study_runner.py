"""A killed study ends like an unbroken one, and workers change nothing."""

from dataclasses import replace
from importlib import resources
from pathlib import Path

import pandas as pd
import pytest

from models.errors import SettingsError
from simulation.experiments.studies import recommenders_study
from simulation.experiments.studies.study_kinds import kind_of
from simulation.experiments.studies.study_plan import StudyPlan, load_study, resolve
from simulation.experiments.studies.study_runner import run_study
from simulation.experiments.studies.study_summary import summarise, write_tables
from tests.simulation.experiments.studies import tiny_study
from tests.simulation.experiments.studies.tiny_study import register, tiny_plan, write_tables_of


@pytest.fixture(autouse=True)
def known(monkeypatch):
    register(monkeypatch)


def tables_of(folder: Path, plan: StudyPlan, cache: Path, jobs: int = 1) -> tuple[bytes, bytes]:
    cells = run_study(folder, "tiny", plan, cache, jobs)
    variants = [row.variant for row in resolve(plan, kind_of(plan.kind).options)]
    results, summary = write_tables(folder, summarise(plan, variants, cells), cells)
    return results.read_bytes(), summary.read_bytes()


class Killed(BaseException):
    """What no code catches."""


def kill_after(monkeypatch, count: int) -> list[int]:
    """Let the kind die in the cell after `count` of them; return what counts them."""
    made: list[int] = []
    measure = tiny_study.measure

    def measured(task):
        if len(made) == count:
            raise Killed
        made.append(task.settings.seed)
        return measure(task)

    kind = tiny_study.KIND
    fragile = type(kind)(kind.options, measured, kind.read, kind.check, kind.needs_ground)
    monkeypatch.setattr(tiny_study, "KIND", fragile)
    return made


def test_a_killed_study_goes_on_and_ends_alike(tmp_path, monkeypatch):
    plan = tiny_plan(tmp_path)
    unbroken = tables_of(tmp_path / "unbroken", plan, tmp_path)
    with monkeypatch.context() as during:
        kill_after(during, 3)
        with pytest.raises(Killed):
            tables_of(tmp_path / "killed", plan, tmp_path)
    assert len(list((tmp_path / "killed" / "cells").glob("*.npz"))) == 3
    with monkeypatch.context() as after:
        made = kill_after(after, 99)
        assert tables_of(tmp_path / "killed", plan, tmp_path) == unbroken
        assert len(made) == 1


def test_other_settings_are_other_cells(tmp_path, monkeypatch):
    made = kill_after(monkeypatch, 99)
    folder = tmp_path / "study"
    run_study(folder, "tiny", tiny_plan(tmp_path), tmp_path, 1)
    assert len(made) == 4
    run_study(folder, "tiny", tiny_plan(tmp_path, gain=0.75), tmp_path, 1)
    assert len(made) == 6  # the plain arm is as it was
    run_study(folder, "tiny", tiny_plan(tmp_path), tmp_path, 1)
    assert len(made) == 6  # and so are the cells from before
    run_study(folder, "tiny", tiny_plan(tmp_path), tmp_path, 1, fresh=True)
    assert len(made) == 10


def test_what_options_only_name_is_in_the_hash(tmp_path, monkeypatch):
    named = tmp_path / "rates.toml"
    kind = replace(tiny_study.KIND, beside=lambda options: named.read_text())
    monkeypatch.setattr(tiny_study, "KIND", kind)
    plan, folder = tiny_plan(tmp_path), tmp_path / "study"
    for rate in ("1", "30"):
        named.write_text(rate)
        run_study(folder, "tiny", plan, tmp_path, 1)
    assert len(list((folder / "cells").glob("*.npz"))) == 8


def test_a_run_of_a_recommender_with_another_rate_is_another_cell(tmp_path):
    text = (resources.files("simulation.presets") / "recommenders/ml-100k.toml").read_text("utf-8")
    found = []
    for rate in ("personal_rate = 10", "personal_rate = 11"):
        (tmp_path / "plan.toml").write_text(text.replace("personal_rate = 10", rate))
        options = recommenders_study.RecommendersOptions(
            plan=str(tmp_path / "plan.toml"), run="fedncf-closed", rounds=0
        )
        found.append(recommenders_study.KIND.beside(options))
    assert found[0] != found[1]


def test_other_data_are_other_cells(tmp_path, monkeypatch):
    made = kill_after(monkeypatch, 99)
    plan, folder = tiny_plan(tmp_path), tmp_path / "study"
    run_study(folder, "tiny", plan, tmp_path, 1)
    with (tmp_path / "events.csv").open("a") as file:
        file.write("u3,i1,99999\n")
    run_study(folder, "tiny", plan, tmp_path, 1)
    assert len(made) == 8


@pytest.mark.slow
def test_workers_change_nothing(tmp_path):
    plan = tiny_plan(tmp_path)
    alone = tables_of(tmp_path / "alone", plan, tmp_path)
    assert tables_of(tmp_path / "together", plan, tmp_path, jobs=2) == alone


def test_numbers_bear_what_they_were_made_from(tmp_path):
    tables_of(tmp_path / "study", tiny_plan(tmp_path), tmp_path)
    found = pd.read_parquet(tmp_path / "study" / "results.parquet")
    assert set(found["variant"]) == {"plain", "gained"} and set(found["seed"]) == {0, 1}
    hashes = found[["settings_sha256", "data_sha256"]]
    assert hashes.map(len).eq(64).all().all()
    assert found["data_sha256"].nunique() == 1 and found["settings_sha256"].nunique() == 4
    assert found["commit"].str.len().gt(0).all()
    measured = found[found["slice"] != ""]
    assert (measured["low"] <= measured["value"]).all()
    assert (measured["value"] <= measured["high"]).all()
    assert set(found.loc[found["slice"] == "", "metric"]) == {"bytes up"}


def test_a_cohort_that_outnumbers_the_users_is_refused_before_anything_is_made(tmp_path):
    write_tables_of(tmp_path)
    data = (f"data.path={tmp_path}/events.csv", f"data.items_path={tmp_path}/items.csv")
    plan = load_study("federation", ["data.source=table", *data])
    with pytest.raises(SettingsError, match=r"cohort_size is \d+, the population has 12 devices"):
        run_study(tmp_path / "study", "federation", plan, tmp_path, 1)
    assert not (tmp_path / "study").exists()
