import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.teacher.row_store import chunks, fill, is_whole
from models.errors import DataError

SHAPE, CHUNK = (11, 3), 4


def compute(rows):
    values = np.arange(rows.start, rows.stop, dtype=np.float32)
    return values[:, None] + [0.25, 0.5, 0.75], {"sum": np.asarray(values.sum() / 3)}


def stopping_at(number):
    def computed(rows):
        if rows.start // CHUNK == number:
            raise KeyboardInterrupt
        return compute(rows)

    return computed


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a table that was made in one go."""
    folder = tmp_path_factory.mktemp("whole")
    fill(folder, SHAPE, CHUNK, compute)
    return contents(folder)


@given(st.integers(1, 50), st.integers(1, 60))
def test_chunks_have_every_row_once(num_rows, chunk_size):
    assert [row for chunk in chunks(num_rows, chunk_size) for row in chunk] == [*range(num_rows)]
    assert max(map(len, chunks(num_rows, chunk_size))) <= chunk_size


def test_rows_and_sums_are_those_that_were_computed(tmp_path):
    table = fill(tmp_path / "new", SHAPE, CHUNK, compute)
    rows, _ = compute(range(11))
    assert isinstance(table.rows, np.memmap)
    assert table.rows.dtype == np.float32
    np.testing.assert_array_equal(table.rows, rows)
    assert table.sums["sum"] == pytest.approx(55 / 3)


def test_a_whole_table_is_not_computed_again(tmp_path):
    fill(tmp_path, SHAPE, CHUNK, compute)
    assert is_whole(tmp_path, SHAPE)
    again = fill(tmp_path, SHAPE, CHUNK, stopping_at(0))
    np.testing.assert_array_equal(again.rows, compute(range(11))[0])


@settings(max_examples=15)
@given(stops=st.lists(st.integers(0, 2), max_size=4).map(sorted))
def test_stopped_anywhere_it_ends_with_the_same_bytes(stops, whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    for number in stops:
        with pytest.raises(KeyboardInterrupt):
            fill(folder, SHAPE, CHUNK, stopping_at(number))
        assert not is_whole(folder, SHAPE)
    fill(folder, SHAPE, CHUNK, compute)
    assert contents(folder) == whole


def test_what_is_done_is_not_done_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, SHAPE, CHUNK, stopping_at(2))
    seen = []
    fill(tmp_path, SHAPE, CHUNK, lambda rows: seen.append(rows) or compute(rows))
    assert seen == [range(8, 11)]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from models.compression.teacher.row_store import fill
def compute(rows):
    if rows.start == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    values = np.arange(rows.start, rows.stop, dtype=np.float32)
    return values[:, None] + [0.25, 0.5, 0.75], {"sum": np.asarray(values.sum() / 3)}
fill(Path(sys.argv[1]), (11, 3), 4, compute)
"""


def test_killed_it_ends_with_the_same_bytes(tmp_path, whole):
    here = Path(__file__).parents[4]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=here, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "journal.npz").is_file()
    fill(tmp_path, SHAPE, CHUNK, compute)  # and the lock has died with the process
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("name", ["rows.npy", "journal.npz"])
@pytest.mark.parametrize("content", [None, b"", b"half"])
def test_damaged_files_are_made_again(name, content, tmp_path, whole):
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, SHAPE, CHUNK, stopping_at(2))
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    fill(tmp_path, SHAPE, CHUNK, compute)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("name", ["rows.npy", "sums.npz"])
def test_a_finished_table_with_damage_is_made_again(name, tmp_path, whole):
    fill(tmp_path, SHAPE, CHUNK, compute)
    (tmp_path / name).write_bytes(b"half")
    fill(tmp_path, SHAPE, CHUNK, compute)
    assert contents(tmp_path) == whole


def test_two_at_once_share_the_work(tmp_path):
    seen = []
    begun = threading.Event()

    def noted(rows):
        seen.append(rows)
        begun.set()
        return compute(rows)

    first = threading.Thread(target=fill, args=(tmp_path, SHAPE, CHUNK, noted))
    first.start()
    begun.wait(5)
    fill(tmp_path, SHAPE, CHUNK, noted)
    first.join(5)
    assert seen == chunks(11, CHUNK)  # the one that came second waited, and computed nothing


def test_a_full_disk_is_one_clear_line(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot write .*free some space"):
            fill(tmp_path, (1000, 3), 1000, compute)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="another cache folder"):
        fill(tmp_path / "new", SHAPE, CHUNK, compute)


def test_a_file_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="another cache folder"):
        fill(tmp_path / "file" / "new", SHAPE, CHUNK, compute)


def test_rows_of_another_shape_are_a_bug(tmp_path):
    with pytest.raises(ValueError, match="width 3"):
        fill(tmp_path, SHAPE, CHUNK, lambda rows: (np.zeros((len(rows), 2)), {}))
