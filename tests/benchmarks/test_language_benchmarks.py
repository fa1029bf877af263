import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import ablations, encoder_speed, language_understanding, run_all
from benchmarks.encoder_speed import bundle_runner, ratios, table, texts_of, time_all
from benchmarks.frontier import Dot, dots, draw, frontier
from models.bundle import GRAPH, EncoderBundle
from models.compression.export.encoder_graph import export_graph
from models.compression.quantization.few_bits import uniform
from models.compression.quantization.sensitivity import sensitivity
from tests.models.compression.tiny_task import tiny_student
from tests.simulation.experiments.language.test_cells import result
from tests.simulation.experiments.tiny_language import rows, tiny_bench, write_general_bundle

ROOT = Path(__file__).resolve().parents[2]


def test_texts_have_the_pieces_they_are_timed_for():
    for length in (8, 64):
        assert {len(text.split()) + 2 for text in texts_of(length, 64)} == {length}


def test_runners_take_turns_and_are_compared(tmp_path, monkeypatch):
    tiny_bench(tmp_path)
    monkeypatch.setattr("benchmarks.encoder_speed.WORDS", ("love", "crime", "ship", "moon"))
    monkeypatch.setattr("benchmarks.encoder_speed.REQUESTS", {1: 2, 64: 1})
    ours, minilm = encoder_speed.EI_BERT, encoder_speed.MINILM
    runners = [bundle_runner(name, tmp_path / "bundle") for name in (ours, minilm, "b")]
    times = {(8, batch): time_all(runners, 8, batch, 2) for batch in (1, 64)}
    for found in times.values():
        assert all(0 < one.wall_p50 <= one.wall_p95 and one.cpu_p50 > 0 for one in found.values())
    alone = {"load_ms": 1.0, "peak_mb": 2.0, "imports_mb": 1.0, "import_s": 0.1}
    names = (ours, minilm, "b")
    page = table(dict.fromkeys(names, 10), dict.fromkeys(names, alone), times)
    assert "| 8 tokens x 64: CPU p50 / p50 / p95, ms |" in page
    assert f"| {minilm} / {ours} |" in ratios(times)
    assert f"| {ours} / b |" in ratios(times)


def test_an_encoder_is_probed_in_a_process_of_its_own(tmp_path):
    write_general_bundle(tmp_path / "bundle")
    command = [sys.executable, "-m", "benchmarks.encoder_probe", "bundle", str(tmp_path / "bundle")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert 0 < figures["bare_mb"] < figures["imports_mb"] < figures["peak_mb"]
    assert figures["load_ms"] > 0


def test_the_frontier_is_what_nothing_smaller_beats(tmp_path):
    found = [
        Dot("a", True, 5, 70.0),
        Dot("b", True, 6, 60.0),
        Dot("c", True, 9, 80.0),
        Dot("d", True, 9, 75.0),
    ]
    assert [dot.name for dot in frontier(found)] == ["a", "c"]
    draw(found, tmp_path / "frontier.svg")
    assert "<svg" in (tmp_path / "frontier.svg").read_text()


def test_a_dot_needs_every_set():
    results = [result("a", num_bytes={"int8": 7}), result("b", arm="other")]
    columns = {"ours": "ei-bert:int8", "theirs": "other:int8"}
    assert dots(results, columns, ["a"]) == [Dot("ours", True, 7, 50.0)]
    assert dots(results, columns, ["a", "b"]) == []


def test_a_cell_without_the_format_is_no_dot_and_no_error():
    results = [result("a", num_bytes={"int8": 7}), result("a", seed=1, scores={}, num_bytes={})]
    assert dots(results, {"ours": "ei-bert:int8"}, ["a"]) == [Dot("ours", True, 7, 50.0)]
    assert dots(results[1:], {"ours": "ei-bert:int8"}, ["a"]) == []


def test_one_thread_is_one_thread_for_tokenizers_too(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    seen = []
    monkeypatch.setattr(encoder_speed.torch, "set_num_threads", seen.append)
    monkeypatch.setattr(encoder_speed, "all_runners", lambda *_: pytest.fail("timed"))
    monkeypatch.setattr(sys, "argv", ["encoder_speed", "bundle"])
    with pytest.raises(pytest.fail.Exception, match="timed"):
        encoder_speed.main()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert seen == [1]


def test_another_onnxruntime_exports_minilm_anew(monkeypatch):
    before = encoder_speed.minilm_key(Path("minilm"))
    monkeypatch.setattr(encoder_speed.onnxruntime, "__version__", "0.0.1")
    assert encoder_speed.minilm_key(Path("minilm")) != before


def test_the_sensitivity_table_chooses_a_plan(tmp_path, monkeypatch, capsys):
    write_general_bundle(tmp_path / "bundle")
    texts = [text for text, _ in rows(12, 0)]
    monkeypatch.setattr(ablations, "held_back_prose", lambda *_: texts)
    ablations.print_sensitivity(tmp_path / "bundle")
    page = capsys.readouterr().out
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert "|  | as shipped | chosen by the table |" in table
    assert any(line.startswith("| words | 8 | 8 |") for line in table)  # there is room for it
    graph = EncoderBundle.open(tmp_path / "bundle").manifest["files"][GRAPH]["bytes"]
    assert f"| bytes of the graph | {graph:,} | {graph:,} |" in table


def test_a_plan_that_needs_fewer_bytes_is_set_beside_the_shipped_one():
    student = tiny_student()
    shipped = uniform(student, 8)
    table = sensitivity(
        student, [[2, 5 + k, 9, 3] for k in range(12)], ablations.bits_tried(shipped)
    )
    size = export_graph(student, shipped).ByteSize()
    page = ablations.plans_table(student, table, shipped, size - 200)
    sizes, losses = (line.split("|")[2:4] for line in page.splitlines()[2:4])
    ours, chosen = (int(cell.replace(",", "")) for cell in sizes)
    assert ours == size and chosen <= size - 200
    assert float(losses[0]) <= float(losses[1])


def test_all_scripts_can_be_told_what_they_are_told():
    """Each module is there, and what it is pointed at too."""
    for script, *words in run_all.SCRIPTS:
        assert (ROOT / "benchmarks" / f"{script}.py").is_file()
        for word in words:
            assert word.startswith("--") or (ROOT / word).is_dir(), word
    names = {script for script, *_ in run_all.SCRIPTS}
    assert {"encoder_graph", "encoder_speed", "sentence_vectors", "ablations"} <= names


def test_without_its_path_clinc150_is_left_out():
    given = language_understanding.options().parse_args([])
    _, sets = language_understanding.prepare(given, [])
    assert "clinc150" not in sets
    assert "rt-snippets" in sets
