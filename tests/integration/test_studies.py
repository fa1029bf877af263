"""Every study of the product, cell by cell, on a made-up table with a tiny made-up teacher."""

from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulation.__main__ import run
from simulation.experiments.studies.cooperation_study import softmax_of_unseen
from simulation.experiments.studies.groundwork import Groundwork
from simulation.experiments.studies.logits_study import (
    Logits,
    alphas_by_kl,
    divergence,
    logits_of,
)
from simulation.experiments.studies.quality_study import step_text
from simulation.experiments.studies.study_kinds import CellTask, kind_of
from simulation.experiments.studies.study_plan import load_study, resolve
from simulation.reporting.study_model import StudyReport
from tests.integration.test_quickstart import NUM_USERS, write_inputs

pytestmark = pytest.mark.slow

SMALLER = {
    "federation.cohort_size=900": "federation.cohort_size=12",
    "federation.cohort_size=300": "federation.cohort_size=12",
    "federation.rounds=80": "federation.rounds=2",
    "federation.rounds=20": "federation.rounds=2",
    "federation.evaluate_every=20": "federation.evaluate_every=2",
    "epsilon=8": "epsilon=50",
}
"""What a world of 24 devices cannot have."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    write_inputs(folder)
    return folder


@pytest.fixture(autouse=True)
def own_cache(world, monkeypatch):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(world / "cache"))


def plan_of(world: Path, name: str) -> str:
    text = (resources.files("simulation.presets") / "studies" / f"{name}.toml").read_text("utf-8")
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    path = world / f"{name}.toml"
    path.write_text(text)
    return str(path)


def study(world: Path, name: str, *more: str) -> pd.DataFrame:
    """Run a study; return its summary."""
    out = world / "runs" / name
    words = ["study", plan_of(world, name), "--seeds", "0,1", "--out", str(out)]
    shared = ("replicates=200", f"preset={world / 'tiny.toml'}", "text.bundle=")
    words += [word for value in shared for word in ("--set", value)]
    assert run([*words, *more]) == 0
    report = StudyReport.model_validate_json((out / "report" / "study.json").read_bytes())
    assert report.reading and report.tables
    return pd.read_parquet(out / "summary.parquet")


def means(found: pd.DataFrame, part: str, metric: str = "ndcg@10") -> dict[str, float]:
    chosen = (found["slice"] == part) & (found["metric"] == metric) & (found["protocol"] == "full")
    return dict(zip(found[chosen]["arm"], found[chosen]["value"], strict=True))


def test_federation(world):
    found = study(world, "federation", "--grid", "federation.rounds=1,4")
    assert found["variant"].nunique() == 2
    assert found["num_users"].max() == NUM_USERS
    assert found["bundle_sha256"].str.len().eq(64).all()


def test_text(world):
    found = study(world, "text")
    assert set(found["slice"]) == {"warm", "cold", "cold among all"}
    assert set(means(found, "cold")) == {"none", "ids", "tf-idf", "static", "ei-bert", "teacher"}
    guesses = means(found, "cold", "auc")
    assert 0.3 < guesses["none"] < 0.7  # ties are broken at random, not in favour of anybody
    assert 0.3 < guesses["ids"] < 0.7  # a random vector says nothing of an item nobody chose


def test_quality(world):
    found = study(world, "quality")
    steps = ["teacher", "student", "pruned", "few-bits", "installed"]
    steps += ["federated", "federated-days", "private"]
    assert list(dict.fromkeys(found["arm"])) == steps
    against = dict(zip(found["arm"], found["against"], strict=False))
    assert [against[step] for step in steps[1:]] == steps[:-1]


def test_the_step_that_ships_is_the_bundle(world):
    """What the study trains once more is what the product made, number for number."""
    study(world, "quality")
    plan = load_study(plan_of(world, "quality"), [f"preset={world / 'tiny.toml'}"])
    row = resolve(plan, kind_of("quality").options)[0]
    folder = world / "runs" / "quality"
    own = row.settings
    ground = Groundwork.open(next(folder.glob("ground/0-*")), own, world / "cache")
    task = CellTask(own, row.options, ground, 0, folder / "shared", world / "cache")
    assert step_text(task, "few-bits") == pytest.approx(ground.text, abs=1e-6)
    assert np.abs(step_text(task, "pruned") - ground.text).max() > 1e-6


def test_cooperation(world):
    found = study(world, "cooperation")
    figures = pd.read_parquet(world / "runs" / "cooperation" / "results.parquet")
    sent = figures[figures["metric"] == "events that leave"].groupby("arm")["value"].mean()
    assert sent["phone"] == 0 < sent["random-10"] < sent["random-60"] < sent["server"]
    times = figures[figures["metric"] == "mean ms"].groupby("arm")["value"].mean()
    assert times["phone"] < times["margin-30"] < times["server"]
    assert set(means(found, "all")) >= {"phone", "margin-10", "entropy-10", "server"}


def test_fully_on_the_phone_is_the_federated_arm_and_fully_on_the_server_the_teacher(world):
    one, other, third = (study(world, name) for name in ("cooperation", "quality", "logits"))
    assert means(one, "all")["phone"] == means(other, "all")["federated"]
    assert means(one, "all")["server"] == means(other, "all")["teacher"]
    assert means(third, "all")["none"] == means(other, "all")["teacher"]


def test_recommenders(world):
    """Methods and samplers of the product's plan, on the made-up table."""
    shipped = resources.files("simulation.presets") / "recommenders" / "ml-100k.toml"
    text = shipped.read_text("utf-8").replace('source = "ml-100k"', 'source = "table"')
    text = text.replace('items_path = ""', f'items_path = "{world / "items.csv"}"')
    text = text.replace('\npath = ""', f'\npath = "{world / "events.csv"}"')
    (world / "cited.toml").write_text(text)
    told = [f"study.plan={world / 'cited.toml'}", "study.rounds=2"]
    found = study(world, "recommenders", *(word for each in told for word in ("--set", each)))
    assert set(found["protocol"]) == {"full", "sampled-99"}
    chosen = found[found["slice"] == "chosen round, 99 negatives"]
    assert set(chosen["arm"]) >= {"pfedrec-published", "pfedrec-closed", "fcf"}


def test_by_kl_the_teacher_moves_as_far_as_the_student(world):
    study(world, "logits")
    plan = load_study(plan_of(world, "logits"), [f"preset={world / 'tiny.toml'}", "text.bundle="])
    own = resolve(plan, kind_of("logits").options)[0].settings
    folder = next((world / "runs" / "logits").glob("ground/0-*"))
    found: Logits = logits_of(Groundwork.open(folder, own, world / "cache"), own)
    alphas, seen = alphas_by_kl(found, 50.0), found.referee.seen
    wanted, moved = (
        divergence(softmax_of_unseen(a, seen), softmax_of_unseen(b, seen))
        for a, b in ((found.federated, found.static), (found.fused(alphas), found.teacher))
    )
    inside = alphas < 49
    assert inside.any()
    assert moved[inside] == pytest.approx(wanted[inside], abs=1e-4)
