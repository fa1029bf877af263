import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from models.errors import BudgetError, DataError
from simulation.data.pretraining_text import TEXT_SOURCES
from simulation.experiments.encoders import general_students
from simulation.experiments.language import filling
from simulation.experiments.language.cells import TEACHER, TF_IDF, cells_of, mine_alone, results_in
from simulation.experiments.language.filling import OUTDATED, current_results, fill_cells
from simulation.experiments.language.tables import left_out_note
from simulation.experiments.language.task_bundles import ship, write_task_bundle
from simulation.experiments.language.text_baselines import fit_tf_idf
from simulation.experiments.language.workbench import Workbench
from simulation.settings import load_settings
from tests.models.conftest import save_teacher, tiny_teacher_model
from tests.simulation.experiments.tiny_language import tiny_bench, write_clinc

CELLS = cells_of(["clinc150"], [TEACHER, TF_IDF, "ei-bert"], [0], "validation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("language")


@pytest.fixture(scope="module")
def filled(folder):
    """All cells of the tiny set, made once."""
    results = folder / "results"
    return fill_cells(tiny_bench(folder), CELLS, results), results


def test_every_arm_learns_more_than_chance(filled):
    found, results = filled
    assert [one.arm for one in found] == [TEACHER, TF_IDF, "ei-bert"]
    assert found == [
        one for cell in CELLS for one in results_in(results, "validation") if one.arm == cell.arm
    ]
    for one in found:
        assert one.scores["fp32"] > 0.5, one.arm  # of three classes


def test_a_student_is_judged_in_each_format_with_all_its_bytes(filled):
    student = filled[0][2]
    assert set(student.scores) == {"fp32", "int8", "int4"}
    sizes = student.num_bytes
    assert sizes["fp32"] > sizes["int8"] > sizes["int4"] > 0
    assert student.notes["steps"] == 88


def test_a_cell_that_is_there_is_not_made_again(folder, filled, monkeypatch):
    monkeypatch.setattr(filling, "make_cell", lambda *_: pytest.fail("made again"))
    assert fill_cells(tiny_bench(folder), CELLS, filled[1]) == filled[0]


def test_a_changed_setting_makes_the_cells_that_it_concerns_anew(folder, filled):
    tree = tiny_bench(folder).settings.model_dump()
    tree["task"]["cross_distillation"]["temperature"] = 1.5
    changed = tiny_bench(folder, task=tree["task"])
    before = tiny_bench(folder)
    same = [before.digest(cell) == changed.digest(cell) for cell in CELLS]
    assert same == [True, True, False]


def test_other_texts_or_names_of_classes_make_a_cell_anew(folder, tmp_path):
    bench, path = tiny_bench(folder), tmp_path / "data_full.json"
    content = json.loads((folder / "data_full.json").read_text())

    def same(part, split, row):
        other = {**content, part: [row, *content[part][1:]]}
        path.write_text(json.dumps(other))
        changed = Workbench(bench.settings, bench.cache, path)
        cells = cells_of(["clinc150"], [TEACHER, TF_IDF, "ei-bert"], [0], split)
        return [bench.digest(cell) == changed.digest(cell) for cell in cells]

    text, label = content["train"][0]
    assert same("train", "validation", [text + " more", label]) == [False] * 3
    assert same("train", "validation", [text, "report_crime"]) == [False] * 3
    assert same("val", "validation", ["love the ship", "give_love"]) == [False] * 3
    assert same("test", "validation", ["love the ship", "give_love"]) == [True] * 3
    assert same("test", "test", ["love the ship", "give_love"]) == [False] * 3


def test_texts_are_hashed_once(folder, monkeypatch):
    bench = tiny_bench(folder)
    before = bench.digest(CELLS[2])
    monkeypatch.setattr(Workbench, "labelled", lambda *_: pytest.fail("read again"))
    assert bench.digest(CELLS[2]) == before


def test_another_teacher_in_the_same_folder_makes_its_cells_anew(folder, tmp_path):
    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    first, second = (tiny_bench(folder, text_teacher=str(tmp_path / "teacher")) for _ in range(2))
    before = [first.digest(cell) for cell in CELLS]
    save_teacher(tiny_teacher_model(seed=1), tmp_path / "teacher")
    same = [second.digest(cell) == known for cell, known in zip(CELLS, before, strict=True)]
    assert same == [False, True, False]  # TF-IDF has no teacher


def test_a_table_has_only_what_today_would_give_and_says_what_it_lacks(folder, filled):
    tree = tiny_bench(folder).settings.model_dump()
    tree["task"]["cross_distillation"]["temperature"] = 1.5
    today = tiny_bench(folder, task=tree["task"])
    shown, left_out = current_results(today, filled[1], "validation", ["clinc150"])
    assert [one.arm for one in shown] == [TEACHER, TF_IDF]
    assert [(one.result.arm, one.why) for one in left_out] == [("ei-bert", OUTDATED)]
    assert "Results left out: 1\n- 1 (clinc150/ei-bert--usual--0)" in left_out_note(left_out)
    assert current_results(today, filled[1], "validation", ["other"]) == ([], [])


def test_a_table_names_what_cannot_be_looked_at_and_makes_nothing(folder, filled, monkeypatch):
    monkeypatch.setattr(general_students, "compress", lambda *_, **__: pytest.fail("compressed"))
    bench = tiny_bench(folder)
    recipe = {"bundle": "", "preset": "standard"}
    starts = bench.settings.model_dump()["starts"]
    starts["ei-bert"] |= recipe | {"overrides": []}
    no_path = Workbench(bench.settings, bench.cache)
    for bench, why in (
        (tiny_bench(folder, starts=starts), "not compressed yet"),
        (no_path, "path"),
    ):
        _, left_out = current_results(bench, filled[1], "validation", ["clinc150"])
        assert why in left_out[0].why


def test_a_compressed_start_is_known_by_its_texts_and_its_teacher(folder, monkeypatch):
    settings = load_settings("standard", [f"text.teacher={folder / 'teacher'}"])
    known = general_students._address(settings)
    source = TEXT_SOURCES[0]
    other = replace(source, pinned=replace(source.pinned, sha256="0" * 64))
    with monkeypatch.context() as patch:
        patch.setattr(general_students, "TEXT_SOURCES", (other, *TEXT_SOURCES[1:]))
        assert general_students._address(settings) != known
    with monkeypatch.context() as patch:
        patch.setattr(general_students, "teacher_sha256", lambda _: "another")
        assert general_students._address(settings) != known
    assert general_students._address(settings) == known


def test_a_validation_cell_knows_nothing_of_the_test_texts(folder, filled, tmp_path):
    write_clinc(folder / "other.json", test_first=300)
    bench = tiny_bench(folder)
    other = Workbench(bench.settings, bench.cache, folder / "other.json")
    again = fill_cells(other, [CELLS[2]], tmp_path / "results")[0]
    assert again.scores == filled[0][2].scores


def test_only_a_test_cell_is_judged_on_the_test_texts(folder, tmp_path):
    bench = tiny_bench(folder)
    cells = cells_of(["clinc150"], [TF_IDF], [0], "test")
    found = fill_cells(bench, cells, tmp_path)[0]
    labelled = bench.labelled("clinc150")
    fitted = fit_tf_idf(bench.task("clinc150"), bench.settings.tf_idf)
    right = fitted.logits(labelled.test.texts).argmax(axis=1) == labelled.test.labels
    assert found.scores["fp32"] == np.mean(right)
    assert found.notes["validation_score"] == fitted.probe.validation_score


def test_cells_that_another_process_is_at_are_left_to_it(folder, tmp_path):
    bench = tiny_bench(folder)
    lock = bench.cache / "language-cells" / f"{bench.digest(CELLS[1])}.lock"
    with mine_alone(lock) as mine:
        assert mine
        assert fill_cells(bench, [CELLS[1]], tmp_path) == []
    assert len(fill_cells(bench, [CELLS[1]], tmp_path)) == 1


def test_what_does_not_fit_is_judged_but_is_no_bundle(folder, filled, tmp_path):
    bench = tiny_bench(folder)
    taught, start = bench.taught("clinc150", "ei-bert", "usual", 0), bench.start("ei-bert")
    plan = bench.settings.formats["int8"].plan(taught.student.settings)
    labels, texts = bench.labelled("clinc150").label_names, ["love", "the old ship"]
    inside, above = (
        ship(taught, start, plan, labels, texts, budget_bytes=limit) for limit in (200_000, 15_000)
    )
    assert np.array_equal(inside.logits, above.logits)
    assert inside.num_bytes > above.num_bytes > 15_000  # without a manifest
    with pytest.raises(BudgetError, match="over its budget of 15,000"):
        write_task_bundle(taught, start, plan, labels, {}, tmp_path / "bundle", 15_000)


def test_fresh_weights_are_not_those_of_the_bundle(folder):
    bench = tiny_bench(folder)
    learnt, fresh = bench.start("ei-bert"), bench.start("fresh")
    assert learnt.pieces == fresh.pieces
    assert learnt.fingerprint != fresh.fingerprint
    assert not learnt.student.words.weight.equal(fresh.student.words.weight)


def test_a_start_that_is_not_there_says_how_to_make_it(folder):
    bench = tiny_bench(folder)
    tree = bench.settings.model_dump()
    tree["starts"]["ei-bert"]["bundle"] = "models/pretrained/none"
    missing = tiny_bench(folder, starts=tree["starts"])
    with pytest.raises(DataError, match="no bundle at models/pretrained/none: run"):
        missing.start("ei-bert")
