import json
import subprocess
import sys
from pathlib import Path

from benchmarks import language_understanding
from benchmarks.encoder_speed import bundle_runner, ratios, table, texts_of, time_all
from benchmarks.frontier import Dot, dots, draw, frontier
from tests.simulation.experiments.test_language_cells import result
from tests.simulation.experiments.tiny_language import tiny_bench, write_general_bundle

ROOT = Path(__file__).resolve().parents[2]


def test_texts_have_the_pieces_they_are_timed_for():
    for length in (8, 64):
        assert {len(text.split()) + 2 for text in texts_of(length, 64)} == {length}


def test_runners_take_turns_and_are_compared(tmp_path, monkeypatch):
    tiny_bench(tmp_path)
    monkeypatch.setattr("benchmarks.encoder_speed.WORDS", ("love", "crime", "ship", "moon"))
    monkeypatch.setattr("benchmarks.encoder_speed.REQUESTS", {1: 2, 64: 1})
    monkeypatch.setattr("benchmarks.encoder_speed.PAIRS", (("a", "b"),))
    runners = [bundle_runner(name, tmp_path / "bundle") for name in ("a", "b")]
    times = {(8, batch): time_all(runners, 8, batch, 2) for batch in (1, 64)}
    for found in times.values():
        assert all(0 < one.wall_p50 <= one.wall_p95 and one.cpu_p50 > 0 for one in found.values())
    alone = {"load_ms": 1.0, "peak_mb": 2.0, "imports_mb": 1.0, "import_s": 0.1}
    page = table({"a": 10, "b": 20}, {"a": alone, "b": alone}, times)
    assert "| 8 tokens x 64: CPU p50 / p50 / p95, ms |" in page
    assert "| a / b |" in ratios(times)


def test_an_encoder_is_probed_in_a_process_of_its_own(tmp_path):
    write_general_bundle(tmp_path / "bundle")
    command = [sys.executable, "-m", "benchmarks.encoder_probe", "bundle", str(tmp_path / "bundle")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert 0 < figures["bare_mb"] < figures["imports_mb"] < figures["peak_mb"]
    assert figures["load_ms"] > 0


def test_the_frontier_is_what_nothing_smaller_beats(tmp_path):
    found = [Dot("a", 5, 70.0), Dot("b", 6, 60.0), Dot("c", 9, 80.0), Dot("d", 9, 75.0)]
    assert [dot.name for dot in frontier(found)] == ["a", "c"]
    draw(found, tmp_path / "frontier.svg")
    assert "<svg" in (tmp_path / "frontier.svg").read_text()


def test_a_dot_needs_every_set():
    results = [result("a", num_bytes={"int8": 7}), result("b", arm="other")]
    columns = {"ours": "ei-bert:int8", "theirs": "other:int8"}
    assert dots(results, columns, ["a"]) == [Dot("ours", 7, 50.0)]
    assert dots(results, columns, ["a", "b"]) == []


def test_a_cell_without_the_format_is_no_dot_and_no_error():
    results = [result("a", num_bytes={"int8": 7}), result("a", seed=1, scores={}, num_bytes={})]
    assert dots(results, {"ours": "ei-bert:int8"}, ["a"]) == [Dot("ours", 7, 50.0)]
    assert dots(results[1:], {"ours": "ei-bert:int8"}, ["a"]) == []


def test_without_its_path_clinc150_is_left_out():
    given = language_understanding.options().parse_args([])
    _, sets = language_understanding.prepare(given, [])
    assert "clinc150" not in sets
    assert "rt-snippets" in sets
