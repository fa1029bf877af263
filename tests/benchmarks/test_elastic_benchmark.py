"""The comparison of an elastic run with own runs, on two tiny sizes."""

import json

from benchmarks import elastic
from simulation.data.cache import CACHE_VARIABLE
from tests.simulation.experiments.tiny_elastic import write_plan


def test_each_size_stands_beside_its_own_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    plan = write_plan(tmp_path)
    words = ["--settings", str(plan), "--steps", "4", "--sizes", "large"]
    elastic.main([*words, "--out", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert "4 steps, seed 0" in shown
    assert "| large | elastic |" in shown and "| large | its own |" in shown
    found = json.loads((tmp_path / "out" / "elastic.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["large"]
    (row,) = found["rows"]
    assert row["elastic"]["words"] == row["own"]["words"]
    assert row["elastic"]["num_bytes"] == row["own"]["num_bytes"] <= 60_000


def test_options_become_overrides():
    given = elastic.parser().parse_args(["--texts", "50", "--steps", "2", "--set", "seed=3"])
    assert elastic.overrides(given) == [
        "text.prose_sentences=50",
        "compression.corpus.prose_texts=50",
        "training.steps=2",
        "seed=3",
    ]
