"""The command as a person or a script meets it: help, exit codes, one clear line, pure JSON."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import DataError
from simulation.__main__ import run
from simulation.engines import processes
from simulation.run_folder import RunFolder

VERBS = [
    ["quickstart"],
    ["data", "list"],
    ["data", "fetch"],
    ["data", "describe"],
    ["compress"],
    ["elastic"],
    ["scenarios"],
    ["world", "build"],
    ["world", "describe"],
    ["simulate"],
    ["epsilon"],
    ["deploy"],
    ["compare"],
    ["report"],
    ["audit"],
    ["release", "keys"],
    ["release", "make"],
    ["release", "verify"],
    ["release", "delta"],
    ["study"],
    ["runs", "list"],
    ["runs", "diff"],
    ["runs", "export"],
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
        (["epsilon", "-n", "9", "-c", "10", "-r", "1", "-z", "1"], "--cohort is 10, there are 9"),
        (["epsilon", "-n", "9", "-c", "3", "-r", "1"], "give one of the two"),
        (
            ["simulate", "--target-epsilon", "4", "-s", "federation.schedule.over_selection=2"],
            "faster",
        ),
        (
            ["compare", "--target-epsilon", "4", "-s", "federation.schedule.over_selection=2"],
            "faster",
        ),
        (["quickstart", "--preset", "nothing.toml"], "no preset 'nothing.toml'"),
        (["data", "fetch", "netflix"], "no data source 'netflix'"),
        (["report", "nowhere"], "nowhere"),
        (["deploy", "--superlink", "cloud.example"], "wanted HOST:PORT"),
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


def test_data_describe_tells_what_a_download_holds(tmp_path, capsys):
    """Impressions and all, with and without times; the same data has the same hash."""
    news = "".join(f"N{n}\tnews\tx\tTitle {n}\tText\tu\t[]\t[]\n" for n in range(4))
    (tmp_path / "news.tsv").write_text(news)
    row = "1\tU{}\t11/11/2019 9:05:58 AM\tN0 N3\tN1-1 N2-0\n"
    (tmp_path / "behaviors.tsv").write_text("".join(row.format(user) for user in range(5)))
    command = [
        "data",
        "describe",
        "--json",
        "-s",
        "data.source=auto",
        "-s",
        f"data.path={tmp_path}",
    ]
    assert run(command) == 0
    mind = json.loads(capsys.readouterr().out)
    assert (mind["name"], mind["impressions"], mind["evaluated_users"]) == ("MIND", 5, 5)
    assert run([*command, "-s", "split.cold_items=0.5", "-s", "split.cold_users=0.4"]) == 0
    cold = json.loads(capsys.readouterr().out)
    assert (cold["cold_items"], cold["cold_users"]) == (2, 2)
    assert cold["data_sha256"] == mind["data_sha256"] and len(mind["data_sha256"]) == 64
    for name in ("news.tsv", "behaviors.tsv"):
        (tmp_path / name).unlink()
    (tmp_path / "books.csv").write_text("book_id,title,authors\n1,Moon,A\n2,Sun,B\n")
    (tmp_path / "ratings.csv").write_text("user_id,book_id,rating\n1,1,5\n1,2,4\n")
    assert run(command) == 0  # what it is like can be told, though it has no times to split by
    books = json.loads(capsys.readouterr().out)
    assert books["name"] == "goodbooks-10k"
    assert "use split.rule=random" in books["split"]
    assert books["data_sha256"] != mind["data_sha256"]


def test_world_build_and_describe_agree(table, capsys):
    assert run(["world", "build", "--out", "w", "--json", *table]) == 0
    assert json.loads(capsys.readouterr().out)["num_devices"] == 12
    assert run(["world", "describe", "w", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_devices"] == 12
    assert sum(tier["num_devices"] for tier in found["tiers"]) == 12
    assert found["kind"] == "stored" and found["fidelity"] is None


def few(devices: int) -> list[str]:
    """A small synthetic population."""
    smaller = ("topics=2", "tastes=64", "corrections=1", "correction_devices=100")
    settings = [word for key in smaller for word in ("--set", f"population.{key}")]
    return ["--devices", str(devices), *settings]


def test_devices_of_any_number_are_built_and_described(table, capsys):
    assert run(["world", "build", "--out", "w", "--json", *table, *few(70)]) == 0
    built = json.loads(capsys.readouterr().out)
    assert built["num_devices"] == 70
    on_disk = sum(path.stat().st_size for path in Path("w/world").iterdir())
    assert built["num_bytes"] == on_disk and built["peak_bytes"] > 1e7 and built["seconds"] > 0
    assert RunFolder(Path("w")).settings().population.devices == 70
    assert run(["world", "describe", "w", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["num_devices"], found["num_bytes"]) == ("synthetic", 70, on_disk)
    assert found["fidelity"]["num_users"] == 12
    assert Path("w/report/world.html").read_text("utf-8").count('id="fidelity"') == 1
    assert json.loads(Path("w/report/world.json").read_text())["num_devices"] == 70


def test_a_world_is_described_without_its_data(table, tmp_path, capsys):
    assert run(["world", "build", "--out", "w", *table, *few(30)]) == 0
    (tmp_path / "events.csv").unlink()
    capsys.readouterr()
    assert run(["world", "describe", "w"]) == 2
    assert "events.csv" in capsys.readouterr().err
    assert run(["world", "describe", "w", "--no-fidelity", "--out", "page.html"]) == 0
    said = capsys.readouterr().out
    assert "30 synthetic devices" in said and "page.html" in said
    assert "Left out, as asked." in Path("page.html").read_text("utf-8")


def test_a_number_of_devices_below_zero_is_no_success(capsys):
    assert run(["world", "build", "--devices", "-1"]) == 2
    assert "devices" in capsys.readouterr().err


def test_a_cohort_larger_than_the_population_is_refused_before_any_training(table, capsys):
    """The settings allow any size; the data decides."""
    arguments = ["simulate", "--out", "s", *table, "--set", "federation.cohort_size=13"]
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert "federation.cohort_size is 13, the population has 12 devices" in said
    assert json.loads(Path("s/run.json").read_text())["status"] == "failed"


def test_compress_needs_the_catalogue_alone(table, monkeypatch):
    """Neither a world nor a cohort that fits: an encoder knows no devices."""
    from simulation.experiments import materials

    texts: list[str] = []

    def stop_here(run, settings, catalogue, *rest, **options):
        texts.extend(catalogue)
        raise DataError("far enough")

    monkeypatch.setattr(materials, "make_bundle", stop_here)
    arguments = ["compress", "--out", "c", *table, "--set", "federation.cohort_size=13"]
    assert run(arguments) == 2
    assert sorted(texts) == sorted(f"made up film number {i}" for i in range(31))
    record = RunFolder(Path("c")).record()
    assert (record.status, record.reason) == ("failed", "DataError: far enough")
    assert sorted(path.name for path in Path("c").iterdir()) == ["run.json", "settings.json"]


def test_the_record_repeats_the_command_that_was_given(table):
    arguments = ["world", "build", "--out", "a b", *table]
    assert run(arguments) == 0
    assert shlex.split(RunFolder(Path("a b")).record().command) == ["pocketfleet", *arguments]


def test_a_run_is_repeated_from_its_own_settings(table):
    assert run(["world", "build", "--out", "first", *table, "--set", "seed=7"]) == 0
    assert run(["world", "build", "--out", "again", "--preset", "first/settings.json"]) == 0
    first, again = RunFolder(Path("first")), RunFolder(Path("again"))
    assert again.settings() == first.settings() and again.settings().seed == 7


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_report_of_a_run_that_did_not_end_well_is_refused(table, status, capsys):
    assert run(["world", "build", "--out", "w", *table]) == 0
    path = Path("w/run.json")
    path.write_text(path.read_text().replace('"complete"', f'"{status}"'))
    capsys.readouterr()
    assert run(["report", "w"]) == 2
    assert f"the run in w is {status}, a report needs a complete one" in capsys.readouterr().err


def test_importing_the_command_loads_nothing_heavy():
    heavy = {"torch", "transformers", "flwr", "ray", "onnxruntime", "pandas", "scipy"}
    code = f"import sys, simulation.__main__; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doctor_says_what_works(capsys):
    code = run(["doctor", "--json"])
    good = {what: finding["good"] for what, finding in _findings(capsys).items()}
    assert good["engine inline"] and good["packages"] and good["Python 3.11 - 3.13"]
    assert code == (0 if all(good.values()) else 1)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("onnx", "packages"),
        ("torch", "packages"),
        ("simulation.engines.inline", "engine inline"),
        ("ray", "engine flower"),
        ("cryptography", "engine deployment"),
    ],
)
def test_doctor_names_what_does_not_load(module, what, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)  # what Python makes an ImportError of
    assert run(["doctor", "--json"]) == 1
    finding = _findings(capsys)[what]
    assert not finding["good"] and module in finding["found"]
    assert "pip install" in finding["cure"]


def test_doctor_misses_a_command_of_flower(monkeypatch, capsys):
    monkeypatch.setattr(processes, "SIMULATION_TOOLS", ("flower-superstar",))
    assert run(["doctor", "--json"]) == 1
    assert "`flower-superstar` is not installed" in _findings(capsys)["engine flower"]["found"]


def _findings(capsys) -> dict[str, dict]:
    found = json.loads(capsys.readouterr().out)
    return {finding["what"]: finding for finding in found["findings"]}


def test_epsilon_prices_a_run_three_ways(capsys):
    asked = ["epsilon", "--devices", "1000", "--cohort", "50", "--rounds", "100", "--json"]
    assert run([*asked, "--noise", "1", "--delta", "5e-4", "--most-rounds", "12"]) == 0
    found = json.loads(capsys.readouterr().out)
    prices = [row["epsilon"] for row in found["rows"]]
    assert prices == pytest.approx([2.40, 2.93, 16.7], rel=0.01)
    assert found["rows"][2]["accounted_as"] == "no amplification, 12 rounds"


def test_epsilon_solves_for_the_noise(capsys):
    asked = ["epsilon", "-n", "1000", "-c", "1000", "-r", "4", "--json"]
    assert run([*asked, "--target-epsilon", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["epsilon"] for row in rows[::2]] == pytest.approx([2.0, 2.0])
    assert rows[0]["noise_multiplier"] == pytest.approx(rows[2]["noise_multiplier"])
