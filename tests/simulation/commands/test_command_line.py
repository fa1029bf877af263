"""The command as a person or a script meets it: help, exit codes, one clear line, pure JSON."""

import json
from pathlib import Path

import pytest

from simulation.__main__ import run

VERBS = [
    ["quickstart"],
    ["data", "list"],
    ["data", "fetch"],
    ["data", "describe"],
    ["compress"],
    ["world", "build"],
    ["world", "describe"],
    ["simulate"],
    ["compare"],
    ["report"],
    ["doctor"],
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table(tmp_path):
    """A made-up data set as the two CSV files that anybody can bring."""
    rows = [
        f"u{u},i{(u * 7 + k * 3) % 31},{1000 * u + k}" for u in range(12) for k in range(2 + u % 6)
    ]
    (tmp_path / "events.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    items = [f"i{i},made up film number {i}" for i in range(31)]
    (tmp_path / "items.csv").write_text("item,text\n" + "\n".join(items) + "\n")
    names = {"source": "table", "path": "events.csv", "items_path": "items.csv"}
    return [word for key, value in names.items() for word in ("--set", f"data.{key}={value}")]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_teaches_with_an_example(verb, capsys):
    assert run([*verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples" in shown and f"pocketfleet {' '.join(verb)}" in shown
    assert "--json" in shown


def test_no_verb_shows_the_help_and_is_no_success(capsys):
    assert run([]) == 2
    assert "quickstart" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["simulate", "--set", "federation.cohort_size=0"], "federation.cohort_size = 0"),
        (["quickstart", "--preset", "nothing.toml"], "no preset 'nothing.toml'"),
        (["data", "fetch", "netflix"], "no data source 'netflix'"),
        (["report", "nowhere"], "nowhere"),
        (["world", "describe", "nowhere"], "holds no world"),
        (
            [
                "data",
                "describe",
                "-s",
                "data.source=table",
                "-s",
                "data.path=no.csv",
                "-s",
                "data.items_path=no.csv",
            ],
            "no.csv",
        ),
        (["data", "describe", "-s", "data.source=movielens-folder"], "data.path"),
    ],
)
def test_a_mistake_is_one_clear_line_and_a_bad_exit_code(arguments, line, capsys):
    assert run(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert line in said
    assert said.startswith("pocketfleet: ") and "Traceback" not in said
    assert len(said.splitlines()) == 1


def test_an_unknown_option_is_no_success(capsys):
    assert run(["simulate", "--rounds", "3"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_data_describe_counts_what_it_mended(table, tmp_path, capsys):
    with (tmp_path / "events.csv").open("a") as file:
        file.write("u1,unknown-item,5\nu1,,6\n")
    assert run(["data", "describe", "--json", *table]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["intake"]["unknown_items"] == 1
    assert found["statistics"]["num_users"] == 12


def test_world_build_and_describe_agree(table, capsys):
    assert run(["world", "build", "--out", "w", "--json", *table]) == 0
    assert json.loads(capsys.readouterr().out)["num_devices"] == 12
    assert run(["world", "describe", "w", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_devices"] == 12
    assert sum(tier["num_devices"] for tier in found["tiers"]) == 12


def test_a_cohort_larger_than_the_population_is_refused_before_any_training(table, capsys):
    """The settings allow any size; the data decides."""
    arguments = ["simulate", "--out", "s", *table, "--set", "federation.cohort_size=13"]
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert "federation.cohort_size is 13, the population has 12 devices" in said
    assert json.loads(Path("s/run.json").read_text())["status"] == "failed"


def test_doctor_says_what_works(capsys):
    code = run(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    good = {finding["what"]: finding["good"] for finding in found["findings"]}
    assert good["engine inline"] and good["packages"] and good["Python 3.11 - 3.13"]
    assert code == (0 if all(good.values()) else 1)


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys, table):
    from simulation.commands import world_verbs

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world_verbs, "prepare_data", interrupted)
    assert run(["world", "build", "--out", "w", *table]) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err
    assert json.loads(Path("w/run.json").read_text())["status"] == "interrupted"
