import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.personal import PersonalStore, settle_all
from models.errors import DataError

DIM = 3


def rows_of(number: float, count: int) -> np.ndarray:
    return np.full((count, DIM), number, np.float32)


@pytest.fixture
def path(tmp_path):
    PersonalStore.create(tmp_path / "taste.npy", 20, DIM)
    return tmp_path / "taste.npy"


def test_what_is_staged_counts_when_it_is_settled(path):
    store = PersonalStore.open(path, 10, 20)
    store.stage(1, np.array([0, 4]), rows_of(1.0, 2))
    assert not store.settled.any()
    store.settle(0)
    assert not store.settled.any()
    store.settle(1)
    assert np.flatnonzero(np.load(path).any(axis=1)).tolist() == [10, 14]
    store.settle(1)  # nothing is left to settle
    assert np.flatnonzero(np.load(path).any(axis=1)).tolist() == [10, 14]


def test_a_device_whose_training_went_astray_keeps_what_it_had(path):
    store = PersonalStore.open(path, 0, 20)
    store.stage(1, np.array([0, 1]), rows_of(1.0, 2))
    store.settle(1)
    astray = rows_of(2.0, 2)
    astray[1, 2] = np.nan
    store.stage(2, np.array([0, 1]), astray)
    store.settle(2)
    assert np.load(path)[:2].tolist() == [[2.0] * DIM, [1.0] * DIM]


def test_a_node_settles_its_own_devices_only(path):
    first, second = PersonalStore.open(path, 0, 10), PersonalStore.open(path, 10, 20)
    first.stage(1, np.array([3]), rows_of(1.0, 1))
    second.stage(1, np.array([3]), rows_of(2.0, 1))
    second.settle(1)
    assert np.load(path)[[3, 13], 0].tolist() == [0.0, 2.0]


@given(st.integers(0, 5))
def test_a_run_that_goes_on_forgets_the_rounds_that_the_cloud_has_not(tmp_path_factory, done):
    path = tmp_path_factory.mktemp("store") / "taste.npy"
    PersonalStore.create(path, 20, DIM)
    for round_number in range(1, 6):
        for first in (0, 10):
            store = PersonalStore.open(path, first, first + 10)
            store.stage(round_number, np.arange(2), rows_of(round_number + first, 2))
    settle_all(path, done, 20)
    expected = np.zeros(20)
    if done:
        expected[[0, 1]], expected[[10, 11]] = done, done + 10
    assert np.load(path)[:, 0].tolist() == expected.tolist()
    assert not list(path.with_suffix(".rounds").iterdir())


def test_a_new_run_begins_with_zeros_and_nothing_staged(path):
    store = PersonalStore.open(path, 0, 20)
    store.stage(1, np.array([0]), rows_of(1.0, 1))
    PersonalStore.create(path, 20, DIM)
    settle_all(path, 9, 20)
    assert not np.load(path).any()


def test_millions_of_devices_cost_no_disk(tmp_path):
    path = tmp_path / "taste.npy"
    PersonalStore.create(path, 8_400_000, 32)
    assert path.stat().st_size > 1_000_000_000
    assert path.stat().st_blocks * 512 < 10_000_000


def test_bad_files_are_one_clear_line(path):
    with pytest.raises(DataError, match=r"have shape \(20, 3\), devices 15 \.\. 24 are wanted"):
        PersonalStore.open(path, 15, 25)
    store = PersonalStore.open(path, 0, 20)
    store.stage(1, np.array([0]), rows_of(1.0, 1))
    (path.with_suffix(".rounds") / "00000001-00000000.npz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is damaged"):
        store.settle(1)
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot open the personal parameters"):
        PersonalStore.open(path, 0, 20)
