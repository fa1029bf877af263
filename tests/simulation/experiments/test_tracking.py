"""Loggers get every mean, and what it was made from; one that is not installed is named."""

import builtins

import pytest

from models.errors import EngineError, SettingsError
from simulation.experiments.studies.study_plan import resolve
from simulation.experiments.studies.study_runner import run_study
from simulation.experiments.studies.study_summary import StudySummary, summarise
from simulation.experiments.tracking import check_loggers, log_study
from tests.simulation.experiments.studies.tiny_study import TinyOptions, register, tiny_plan


@pytest.fixture
def summary(tmp_path, monkeypatch) -> StudySummary:
    register(monkeypatch)
    plan = tiny_plan(tmp_path)
    cells = run_study(tmp_path / "study", "tiny", plan, tmp_path, 1)
    return summarise(plan, [row.variant for row in resolve(plan, TinyOptions)], cells)


def test_an_unknown_logger_is_refused():
    with pytest.raises(SettingsError, match="--log wandb: choose tensorboard or mlflow"):
        check_loggers(["wandb"])


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_one_that_is_not_installed_is_named_with_the_cure(name, monkeypatch):
    real = builtins.__import__

    def missing(module, *rest):
        if name in module:
            raise ImportError(module)
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(EngineError, match=rf"pip install 'pocketfleet\[{name}\]'"):
        check_loggers([name])


def test_tensorboard_has_every_seed(tmp_path, summary):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_study(["tensorboard"], tmp_path, summary)
    folders = sorted((tmp_path / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == ["000-plain", "001-gained"]
    events = EventAccumulator(str(folders[1]))
    events.Reload()
    found = events.Scalars("all/full/ndcg_at_10")
    wanted = summary.row("gained").at("all", "ndcg@10").found.by_seed
    assert [scalar.value for scalar in found] == pytest.approx(wanted, abs=1e-6)
    assert [scalar.step for scalar in found] == [0, 1]


@pytest.mark.slow
def test_mlflow_has_every_seed_and_the_hashes(tmp_path, summary, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log_study(["mlflow"], tmp_path, summary)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("pocketfleet")
    runs = {made.info.run_name: made for made in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"plain", "gained"}
    tags = runs["gained"].data.tags
    assert tags["data_sha256"] == summary.cells[0].data_sha256 and tags["commit"]
    assert runs["gained"].data.params == {"study.gain": "0.5"}
    history = client.get_metric_history(runs["gained"].info.run_id, "all/full/ndcg_at_10")
    wanted = summary.row("gained").at("all", "ndcg@10").found.by_seed
    assert [metric.value for metric in history] == pytest.approx(wanted)
