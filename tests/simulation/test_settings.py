import hashlib
import json
from pathlib import Path

import pytest

from models.errors import SettingsError
from simulation.preset_files import preset_names
from simulation.settings import Settings, load_settings

PRETRAINED = Path(__file__).resolve().parents[2] / "models" / "pretrained" / "ei-bert-en"


def test_every_preset_is_whole():
    assert "quickstart" in preset_names()
    for name in preset_names():
        assert isinstance(load_settings(name), Settings)


def test_overrides_win_and_keep_their_types():
    settings = load_settings(
        "quickstart",
        ["federation.rounds=3", "split.target=validation", "federation.training.rate=0.5"],
    )
    assert settings.federation.rounds == 3
    assert settings.split.target == "validation"
    assert settings.federation.training.rate == 0.5


def test_a_preset_may_extend_another(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "quickstart"\nseed = 5\n[federation]\nrounds = 2\n')
    settings = load_settings(str(mine))
    assert (settings.seed, settings.federation.rounds) == (5, 2)
    assert settings.federation.cohort_size == load_settings("quickstart").federation.cohort_size


def test_a_circle_of_presets_is_refused(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.toml").write_text(f'extends = "{tmp_path / other}.toml"\n')
    with pytest.raises(SettingsError, match="extend each other in a circle"):
        load_settings(str(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("federation.roundz=3", r"unknown key 'federation\.roundz', allowed here: rounds, cohort"),
        ("federation.rounds=0", r"federation\.rounds = 0: .*greater than or equal to 1"),
        (
            "federation.optimizer.name=sgd",
            r"optimizer\.name = 'sgd': .*'fedavg', 'fedadam', ",
        ),
        ("data.source=netflix", r"data\.source = 'netflix': .*'ml-100k'"),
        ("federation.cohort_size=many", r"cohort_size = 'many': .*valid integer"),
        (
            "federation.privacy.noise_multiplier=2",
            r"^settings: federation\.privacy: mechanism is \"none\" and noise_multiplier is 2",
        ),
        ("seed.x=1", r"'seed' is a value, not a section"),
        ("rounds", r"wants section\.key=value, got 'rounds'"),
    ],
)
def test_a_wrong_override_names_key_value_and_what_is_allowed(override, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings("quickstart", [override])
    assert "\n" not in str(caught.value)


def test_a_missing_preset_lists_those_there_are(tmp_path):
    with pytest.raises(SettingsError, match=r"no preset 'qickstart': choose one of .*quickstart"):
        load_settings("qickstart")
    broken = tmp_path / "broken.toml"
    broken.write_text("rounds = = 3")
    with pytest.raises(SettingsError, match="is no TOML"):
        load_settings(str(broken))


def test_a_preset_holds_only_what_settings_know():
    """No key in a preset is unused: the settings classes forbid extra keys."""
    with pytest.raises(SettingsError, match="unknown key 'colour'"):
        load_settings("quickstart", ["colour=blue"])


@pytest.mark.parametrize("name", preset_names())
def test_the_settings_of_a_run_are_a_preset_too(tmp_path, name):
    first = load_settings(name, ["seed=41", "federation.training.rate=0.1", "split.fraction=0.3"])
    kept = tmp_path / "settings.json"
    kept.write_text(first.model_dump_json(indent=2), encoding="utf-8")
    assert load_settings(str(kept)) == first
    assert load_settings(str(kept), ["seed=42"]).seed == 42


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "holds no settings"),
        ('{"seed": 1}', "is missing"),
        (b"\xff\xfe", "is no JSON"),
    ],
)
def test_a_json_that_is_no_run_is_one_clear_line(tmp_path, content, message):
    broken = tmp_path / "settings.json"
    broken.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(str(broken))
    assert "\n" not in str(caught.value)


def test_a_preset_that_cannot_be_read_says_why(tmp_path, monkeypatch):
    folder = tmp_path / "mine.toml"
    folder.mkdir()
    with pytest.raises(SettingsError, match=r"cannot read preset .*mine\.toml: Is a directory"):
        load_settings(str(folder))

    def locked(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    folder.rmdir()
    folder.touch()
    monkeypatch.setattr(Path, "read_bytes", locked)
    with pytest.raises(SettingsError, match=r"cannot read preset .*: Permission denied; give"):
        load_settings(str(folder))


def test_the_committed_encoder_is_made_by_the_standard_preset():
    manifest = json.loads((PRETRAINED / "manifest.json").read_text())
    made_by = load_settings("standard", []).compression.model_dump_json()
    assert manifest["origin"]["settings_sha256"] == hashlib.sha256(made_by.encode()).hexdigest()
