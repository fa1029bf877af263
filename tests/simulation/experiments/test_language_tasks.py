import numpy as np
import pytest

from models.errors import BudgetError, DataError
from simulation.experiments import language_tasks
from simulation.experiments.language_cells import TEACHER, TF_IDF, cells_of, results_in
from simulation.experiments.language_tasks import Workbench, fill_cells
from simulation.experiments.task_bundles import ship, write_task_bundle
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
    monkeypatch.setattr(language_tasks, "make_cell", lambda *_: pytest.fail("made again"))
    assert fill_cells(tiny_bench(folder), CELLS, filled[1]) == filled[0]


def test_a_changed_setting_makes_the_cells_that_it_concerns_anew(folder, filled):
    tree = tiny_bench(folder).settings.model_dump()
    tree["task"]["cross_distillation"]["temperature"] = 1.5
    changed = tiny_bench(folder, task=tree["task"])
    before = tiny_bench(folder)
    same = [before.digest(cell) == changed.digest(cell) for cell in CELLS]
    assert same == [True, True, False]


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
    fitted = language_tasks.fit_tf_idf(bench.task("clinc150"), bench.settings.tf_idf)
    right = fitted.logits(labelled.test.texts).argmax(axis=1) == labelled.test.labels
    assert found.scores["fp32"] == np.mean(right)
    assert found.notes["validation_score"] == fitted.probe.validation_score


def test_cells_that_another_process_is_at_are_left_to_it(folder, tmp_path):
    bench = tiny_bench(folder)
    lock = bench.cache / "language-cells" / f"{bench.digest(CELLS[1])}.lock"
    with language_tasks.mine_alone(lock) as mine:
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
