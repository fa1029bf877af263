"""The plan of the runs, and (slow) the published anchors on real data."""

import pytest

from models.errors import SettingsError
from models.recommenders.settings import MethodSettings
from simulation.data.cache import cache_folder
from simulation.data.loading import load_interactions
from simulation.experiments.federated_recommenders.rounds import HeldBack, run_recommender
from simulation.experiments.federated_recommenders.settings import (
    RecommenderRun,
    load_study,
    own_studies,
)

# Published and measured figures (HR@10, percent) widened by 1.5 points: 99 negatives, full ranking.
ANCHORS = {"published": ((70.5, 72.4), (16.3, 19.4)), "closed": ((54.4, 56.3), (10.6, 10.9))}
SLACK = 1.5


def test_the_plan_that_comes_with_the_product_is_whole():
    assert own_studies() == ["ml-100k"]
    study = load_study()
    names = [(run.method.name, run.method.sampler) for run in study.runs]
    for method in ("pfedrec", "fedncf", "fedrecon"):
        assert {(method, "published"), (method, "closed")} <= set(names)
    assert ("fcf", "closed") in names and ("fcf", "published") not in names
    by_name = dict(zip(names, study.runs, strict=True))
    for method in ("pfedrec", "fedncf", "fedrecon"):  # the sampler is all that differs
        published, closed = (by_name[method, rule] for rule in ("published", "closed"))
        changed = published.model_copy(
            update={
                "name": closed.name,
                "title": closed.title,
                "method": published.method.model_copy(update={"sampler": "closed"}),
            }
        )
        assert changed == closed


def test_the_warning_stands_at_the_sampler():
    for method in MethodSettings.__origin__.__args__:
        description = method.model_fields["sampler"].description or ""
        if method.model_fields["name"].annotation.__args__ != ("fcf",):
            assert "WARNING" in description and "spares the held-out item" in description


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("runs.method.sampler=open", "Input should be 'closed' or 'published'"),
        ("runs.rounds=0", "greater than or equal to 1"),
        ("split.target=validation", "holds a validation item back beside the test item"),
        ("runs.training.proximal=0.5", "know no partial training"),
        ("colour=blue", "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(override: str, says: str):
    with pytest.raises(SettingsError, match=says):
        load_study(overrides=[override])


def test_a_run_that_is_not_there_is_one_clear_line():
    with pytest.raises(SettingsError, match="no run 'ncf' of a recommender: choose one of pfedrec"):
        load_study().run("ncf")


def test_overrides_of_runs_are_put_on_all_runs():
    study = load_study(overrides=["runs.rounds=3", "seeds=[5]"])
    assert {run.rounds for run in study.runs} == {3}
    assert study.seeds == (5,)


def test_a_study_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(SettingsError, match="cannot read the study"):
        load_study(str(tmp_path / "none.toml"))


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["published", "closed"])
def test_leak_anchors_of_pfedrec_come_out(rule: str):
    """One seed, after the last round: MovieLens-100K, fetched if need be; minutes."""
    study = load_study()
    run: RecommenderRun = next(
        run for run in study.runs if (run.method.name, run.method.sampler) == ("pfedrec", rule)
    )
    parts = HeldBack.of(load_interactions(study.data, cache_folder()), study.split, 0)
    last = run_recommender(run.model_copy(update={"evaluate_every": 50}), parts, 0).last
    for protocol, (low, high) in zip(("sampled-99", "full"), ANCHORS[rule], strict=True):
        hits = 100 * last.test.values(protocol)["hr@10"].mean()
        assert low - SLACK <= hits <= high + SLACK
