import pytest

from models.compression.quantization.few_bits import weight_names
from models.compression.student import StudentSettings
from models.errors import SettingsError
from simulation.data.labelled_texts import LABELLED_NAMES
from simulation.experiments.language.filling import FP32
from simulation.experiments.language.settings import (
    OWN,
    FormatSettings,
    LanguageSettings,
    load_language_settings,
)
from simulation.settings import Settings
from tests.models.conftest import TINY
from tests.simulation.experiments.tiny_language import tiny_tree


@pytest.fixture(scope="module")
def product() -> LanguageSettings:
    return load_language_settings()


def test_every_set_is_one_that_can_be_loaded(product):
    assert set(product.sets) < set(LABELLED_NAMES)


def test_columns_and_ablations_name_what_is_made(product):
    for title, text in product.columns.items():
        arm, _, kind = text.partition(":")
        known = product.of_start(arm).formats if arm in product.starts else (FP32,)
        assert kind in known, title
    titles = [(row.group, row.title) for row in product.ablations]
    assert len(set(titles)) == len(titles)


def test_overrides_of_starts_name_settings_that_exist(product):
    for name, start in product.starts.items():
        for override in start.overrides:
            model = Settings
            *sections, key = override.partition("=")[0].split(".")
            for section in sections:
                model = model.model_fields[section].annotation
            assert key in model.model_fields, f"{name}: {override}"


def test_the_later_one_wins(tmp_path):
    tree = tiny_tree(tmp_path, tmp_path)
    tree["sets"]["clinc150"]["cross_distillation"] = {"temperature": 3.0, "batch_size": 5}
    tree["starts"]["ei-bert"]["cross_distillation"] = {"temperature": 4.0}
    tree["variants"]["hot"] = {"temperature": 5.0}
    settings = LanguageSettings.model_validate(tree)
    assert settings.cross_distillation("clinc150", "ei-bert", "hot").temperature == 5.0
    assert settings.cross_distillation("clinc150", "ei-bert").temperature == 4.0
    assert settings.cross_distillation("clinc150", "fresh").temperature == 3.0
    assert settings.cross_distillation("clinc150", "fresh").batch_size == 5
    assert settings.cross_distillation(OWN, "fresh").temperature == 2.0


def test_a_format_gives_bits_to_every_weight():
    shape = StudentSettings.model_validate(TINY["student"] | {"adapter_size": 8})
    bits = FormatSettings(embedding=4, attention=6, feed_forward=5, rest=8, polish=False)
    plan = bits.plan(shape)
    assert tuple(plan) == weight_names(shape)
    assert {plan["words"], plan["positions"]} == {4}
    assert {plan["layers.0.query_key_value"], plan["layers.0.attention_out"]} == {6}
    assert {plan["layers.0.feed_in"], plan["layers.0.feed_out"]} == {5}
    assert {plan["widen"], plan["adapters.1.up"], plan["projector"]} == {8}


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("starts", {"ei-bert": {"formats": ["int9"]}}),
        ("starts", {"ei-bert": {"preset": "standard"}}),
        ("sets", {"clinc150": {"teacher": {"epocs": 3}}}),
        ("variants", {"plain": {"mutuality": True}}),
        ("variants", {"usual": {"mutual": True}}),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, section, change):
    tree = tiny_tree(tmp_path, tmp_path)
    for name, values in change.items():
        tree[section].setdefault(name, {}).update(values)
    with pytest.raises(ValueError, match="validation error"):
        LanguageSettings.model_validate(tree)


def test_errors_are_one_line(tmp_path, product):
    with pytest.raises(SettingsError, match="there is no set 'clink': choose one of clinc150"):
        product.teacher("clink")
    broken = tmp_path / "mine.toml"
    broken.write_text("threads = = 1")
    with pytest.raises(SettingsError, match="cannot read the language settings"):
        load_language_settings(broken)
    broken.write_text("threads = 1")
    with pytest.raises(SettingsError, match="text_teacher: field required") as caught:
        load_language_settings(broken)
    assert "\n" not in str(caught.value)


def test_a_bundle_takes_the_place_of_a_recipe(tmp_path):
    settings = load_language_settings(bundles={"static": tmp_path})
    assert settings.starts["static"].bundle == str(tmp_path)
    assert settings.starts["static"].overrides == ()
    with pytest.raises(SettingsError, match="there is no start 'statics'"):
        load_language_settings(bundles={"statics": tmp_path})


def test_a_set_without_settings_of_its_own_is_learnt_as_a_users_texts(product):
    assert product.of_set("zh-reviews") == product.own
    with pytest.raises(SettingsError, match="no set 'zh-review'"):
        product.of_set("zh-review")


def test_one_setting_may_be_changed():
    changed = load_language_settings(overrides=["text_teacher=there", "own.train_limit=7"])
    assert (changed.text_teacher, changed.own.train_limit) == ("there", 7)
    with pytest.raises(SettingsError, match="own\\.train_limits"):
        load_language_settings(overrides=["own.train_limits=7"])
