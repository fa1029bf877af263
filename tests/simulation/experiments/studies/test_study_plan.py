"""Plans of studies: those of the product, and those that are wrong."""

from pathlib import Path

import pytest

from models.errors import SettingsError
from simulation.experiments.studies.study_grid import Variant
from simulation.experiments.studies.study_kinds import kind_of
from simulation.experiments.studies.study_plan import (
    load_study,
    reference_of,
    resolve,
    study_names,
)
from tests.simulation.experiments.studies.tiny_study import TinyOptions, plan_file, tiny_plan


@pytest.mark.parametrize("name", study_names())
def test_every_cell_of_the_products_studies_can_be_run(name):
    plan = load_study(name)
    kind = kind_of(plan.kind)
    rows = resolve(plan, kind.options)
    for row in rows:
        kind.check(row.settings, row.options)
    assert len(rows) >= 2 and len(plan.seeds) >= 3
    assert plan.question.endswith("?")


def test_an_unknown_study_is_named_with_those_there_are():
    with pytest.raises(SettingsError, match=r"no study 'text2': choose one of .*text"):
        load_study("text2")


def test_an_unknown_key_of_a_grid_is_named_with_those_there_are(tmp_path):
    plan = tiny_plan(tmp_path, grid=["federation.roundz=1,2"])
    with pytest.raises(SettingsError, match=r"unknown key 'federation.roundz', allowed.*rounds"):
        resolve(plan, TinyOptions)


def test_an_unknown_key_of_the_kind_is_named_with_those_there_are(tmp_path):
    plan = tiny_plan(tmp_path, grid=["study.pain=1,2"])
    with pytest.raises(SettingsError, match=r"unknown key 'study.pain', this study has: study.g"):
        resolve(plan, TinyOptions)


def test_a_value_that_is_wrong_is_shown(tmp_path):
    plan = tiny_plan(tmp_path, overrides=["study.gain=much"])
    with pytest.raises(SettingsError, match=r"study.gain = 'much'"):
        resolve(plan, TinyOptions)


def test_two_variants_of_the_same_settings_are_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"'gained' and 'plain' are the same settings"):
        resolve(tiny_plan(tmp_path, gain=0.0), TinyOptions)


def test_one_at_a_time_leaves_out_what_changes_nothing(tmp_path):
    plan = tiny_plan(tmp_path).model_copy(
        update={"design": "one-at-a-time", "grid": {"federation.rounds": (80, 20)}}
    )
    names = [row.variant.name for row in resolve(plan, TinyOptions)]
    assert names == [
        "plain",
        "plain · federation.rounds=20",
        "gained",
        "gained · federation.rounds=20",
    ]


def test_seeds_are_no_setting(tmp_path):
    with pytest.raises(SettingsError, match="use --seeds"):
        tiny_plan(tmp_path, overrides=["seed=3"])


def test_overrides_go_to_the_plan_the_kind_or_all_cells(tmp_path):
    words = ["replicates=300", "federation.rounds=7"]
    plan = load_study(plan_file(tmp_path), words, seeds="3-4")
    assert (plan.replicates, plan.seeds) == (300, (3, 4))
    assert {row.settings.federation.rounds for row in resolve(plan, TinyOptions)} == {7}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('metric = "mrr"', "'mrr' is not shown"),
        ('reference = "other"', "'other' is none of plain, gained"),
    ],
)
def test_a_plan_that_does_not_fit_itself_is_refused(tmp_path, line, told):
    path = Path(plan_file(tmp_path))
    key = line.split(" ")[0]
    old = path.read_text().splitlines()
    path.write_text("\n".join(line if each.startswith(f"{key} =") else each for each in old))
    with pytest.raises(SettingsError, match=told):
        load_study(str(path))


def variants(*pairs: tuple[str, str]) -> list[Variant]:
    return [
        Variant(f"{arm}{point}", arm, arm, (("k", point),) if point else (), ())
        for arm, point in pairs
    ]


def test_arms_are_held_against_the_reference_at_their_point(tmp_path):
    plan = tiny_plan(tmp_path)
    rows = variants(("plain", "1"), ("plain", "2"), ("gained", "1"), ("gained", "2"))
    assert reference_of(plan, rows) == {
        "plain1": "",
        "plain2": "",
        "gained1": "plain1",
        "gained2": "plain2",
    }


def test_a_chain_holds_each_row_against_the_one_above(tmp_path):
    plan = tiny_plan(tmp_path).model_copy(update={"against": "previous"})
    rows = variants(("plain", ""), ("gained", ""), ("third", ""))
    assert reference_of(plan, rows) == {"plain": "", "gained": "plain", "third": "gained"}
