"""`pocketfleet rollout`: lists, tries, refuses in one line."""

import json

from simulation.__main__ import run


def test_scenarios_are_listed(capsys):
    assert run(["rollout", "--list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "garbage-vectors" in found["scenarios"] and found["plans"] == ["standard"]


def test_a_rollout_prints_what_happened_and_leaves_its_files(tmp_path, capsys):
    out = tmp_path / "run"
    verb = ["rollout", "--scenario", "garbage-vectors", "--devices", "12000", "--out", str(out)]
    assert run([*verb, "--set", "operator.days_after=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["caught"]["action"] == "halt" and found["last_status"] == "rolled back"
    assert (out / "report" / "rollout.html").is_file() and (out / "rollout").is_dir()
    assert run([*verb, "--set", "operator.days_after=2"]) == 0
    text = capsys.readouterr().out
    before = (out / "run.json").read_bytes()
    assert run([*verb, "--seed", "3"]) == 2  # another rollout: nothing of this one is touched
    assert "holds a rollout with another" in capsys.readouterr().err
    assert (out / "run.json").read_bytes() == before
    for word in ("Before the start", "Day by day", "The log", "Caught on day"):
        assert word in text


def test_mistakes_are_one_line(capsys, tmp_path):
    out = ["--out", str(tmp_path / "x")]
    for arguments, message in (
        (["rollout", *out], "--scenario is missing"),
        (["rollout", "--scenario", "fire", *out], "no scenario 'fire'"),
        (["rollout", "--scenario", "healthy", "--plan", "fast", *out], "no rollout plan 'fast'"),
        (["rollout", "--scenario", "healthy", "--set", "operator.colour=1", *out], "colour"),
    ):
        assert run(arguments) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
