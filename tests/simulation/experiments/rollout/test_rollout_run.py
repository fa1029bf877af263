"""A rollout in a folder: killed and run again, it has the same log; another one is refused."""

import pandas as pd
import pytest

from models.errors import DataError
from server.rollout.log import DecisionLog
from simulation.experiments.rollout.rollout_report import report_of
from simulation.experiments.rollout.rollout_run import DAYS, LOG, try_rollout
from simulation.experiments.rollout.scenarios import load_scenario
from simulation.reporting.rollout_html import render_rollout, write_rollout_page
from simulation.reporting.rollout_model import RolloutReport
from tests.simulation.experiments.rollout.small_fleet import APP, PLAN, WORLD


class KilledError(Exception):
    pass


def tried(folder, scenario="garbage-vectors", seed=1, progress=lambda *_: None, told=None):
    return try_rollout(
        folder,
        PLAN,
        load_scenario(scenario),
        APP,
        WORLD,
        12_000,
        seed,
        progress=progress,
        told=told or (lambda before: None),
    )


def killed_on(day):
    def progress(what, done, total):
        if what.startswith("days") and done == day:
            raise KilledError

    return progress


def test_a_killed_rollout_resumes_to_the_same_log(tmp_path):
    _, rows, decisions = tried(tmp_path / "whole")
    whole = (tmp_path / "whole" / LOG).read_bytes()
    for day in (1, 5, len(rows) - 2):
        folder = tmp_path / f"killed-{day}"
        with pytest.raises(KilledError):
            tried(folder, progress=killed_on(day))
        part = (folder / LOG).read_bytes()
        assert len(part) < len(whole) or day > 10
        again = tried(folder)
        assert (folder / LOG).read_bytes() == whole and again[1] == rows
    assert tried(tmp_path / "whole")[2] == decisions  # a finished one is checked
    assert (tmp_path / "whole" / LOG).read_bytes() == whole
    assert DecisionLog.open(tmp_path / "whole" / LOG).state.status == "rolled back"
    assert len(pd.read_parquet(tmp_path / "whole" / DAYS)) == len(rows)


def test_what_is_known_before_is_told_before_anything_is_decided(tmp_path):
    seen = []
    before, *_ = tried(tmp_path, told=lambda known: seen.append((known, (tmp_path / LOG).exists())))
    assert seen == [(before, False)]
    assert before.mean == pytest.approx(0.1, abs=0.01) and before.days is None
    assert before.needed > 12_000 and before.stages[0].smallest is None
    assert before.stages[4].smallest < before.stages[1].smallest


@pytest.mark.parametrize("change", [{"seed": 2}, {"scenario": "slow-old-tiers"}])
def test_a_folder_of_another_rollout_is_refused_and_unchanged(tmp_path, change):
    tried(tmp_path)
    before = (tmp_path / LOG).read_bytes()
    with pytest.raises(DataError, match=r"name another folder"):
        tried(tmp_path, **change)
    assert (tmp_path / LOG).read_bytes() == before


def test_a_damaged_log_is_named(tmp_path):
    tried(tmp_path)
    content = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(content.replace(b'"hold"', b'"kill"', 1))
    with pytest.raises(DataError, match="line"):
        tried(tmp_path)


def test_the_page_says_what_happened_and_trusts_no_title(tmp_path):
    before, rows, decisions = tried(tmp_path / "run")
    scenario = load_scenario("garbage-vectors").model_copy(update={"title": "<script>x</script>"})
    report = report_of(PLAN, scenario, APP, 12_000, 1, before, rows, decisions, "command", "c")
    assert report.caught and report.caught.hit / 12_000 < 0.05
    assert f"Caught on day {report.caught.day}" in report.reading
    page = render_rollout(report)
    assert "<script>" not in page and "&lt;script&gt;" in page and "click rate" in page
    twin = write_rollout_page(report, tmp_path / "page.html")
    assert RolloutReport.model_validate_json(twin.read_text()) == report
