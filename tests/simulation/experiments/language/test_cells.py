import pytest

from models.errors import DataError
from simulation.experiments.language.cells import (
    TEACHER,
    TF_IDF,
    Cell,
    CellResult,
    cells_of,
    digest_of,
    is_made,
    mine_alone,
    read_result,
    results_in,
    write_result,
)


def result(set_name="a", arm="ei-bert", variant="usual", seed=0, **more) -> CellResult:
    values = {
        "split": "validation",
        "settings_sha256": "abc",
        "score": "accuracy",
        "scores": {"int8": 0.5},
        "num_bytes": {"int8": 10},
        "notes": {},
        "seconds": 1.0,
        "date": "2026-01-01",
        "commit": "0",
        "versions": {},
    } | more
    return CellResult(set_name=set_name, arm=arm, variant=variant, seed=seed, **values)


def test_what_knows_no_seed_is_made_once():
    cells = cells_of(["a", "b"], [TEACHER, TF_IDF, "ei-bert"], [0, 1], "test", ["usual", "plain"])
    assert len(cells) == 2 * (1 + 1 + 4)
    assert [cell.set_name for cell in cells] == ["a"] * 6 + ["b"] * 6  # set by set


def test_every_cell_has_a_file_of_its_own(tmp_path):
    cells = [
        Cell(name, arm, variant, seed, split)
        for name in ("a", "b")
        for arm in (TEACHER, "x")
        for variant in ("usual", "plain")
        for seed in (0, 1)
        for split in ("validation", "test")
    ]
    assert len({cell.path_in(tmp_path) for cell in cells}) == len(cells)


def test_a_result_comes_back_and_is_known_by_its_settings(tmp_path):
    path = Cell("a", "ei-bert", "usual", 0, "validation").path_in(tmp_path)
    write_result(path, result())
    assert read_result(path) == result()
    assert is_made(path, "abc")
    assert not is_made(path, "abd")
    assert not is_made(tmp_path / "none.json", "abc")
    assert results_in(tmp_path, "validation") == [result()]
    assert results_in(tmp_path, "test") == []


def test_a_damaged_result_is_one_clear_line(tmp_path):
    path = tmp_path / "cell.json"
    path.write_text("{")
    with pytest.raises(DataError, match="is damaged: delete it"):
        read_result(path)
    with pytest.raises(DataError, match="make this cell first"):
        read_result(tmp_path / "none.json")


def test_the_digest_sees_every_value_and_no_order():
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 1.5})


def test_a_lock_is_had_by_one_at_a_time(tmp_path):
    lock = tmp_path / "locks" / "cell.lock"
    with mine_alone(lock) as mine, mine_alone(lock) as mine_too:
        assert (mine, mine_too) == (True, False)
    with mine_alone(lock) as mine:
        assert mine
