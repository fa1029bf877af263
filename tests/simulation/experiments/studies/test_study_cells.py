"""Files of cells: what is written comes back, what is damaged is said."""

import numpy as np
import pytest

from models.errors import DataError
from simulation.experiments.studies.study_cells import (
    CellHeader,
    Slice,
    cell_file,
    read_cell,
    write_cell,
)

HEADER = CellHeader(
    study="tiny",
    variant="plain · a.b=1",
    seed=3,
    key="k" * 64,
    settings_sha256="s",
    data_sha256="d",
    bundle_sha256="",
    commit="abc",
    seconds=1.5,
    figures={"bytes up": 3.0},
)
SLICES = (
    Slice("all", "full", np.array([1, 4, 9]), {"ndcg@10": np.array([0.1, 0.2, 0.3])}),
    Slice("all", "sampled-99", np.array([1, 4, 9]), {"ndcg@10": np.array([0.4, 0.5, 0.6])}),
    Slice("tier low", "full", np.array([4]), {"auc": np.array([1 / 3])}),
)


def test_a_cell_comes_back_as_it_was(tmp_path):
    path = cell_file(tmp_path, 3, HEADER.key)
    write_cell(path, HEADER, SLICES)
    found = read_cell(path, HEADER.key)
    assert found is not None and found.header == HEADER
    assert [(part.name, part.protocol) for part in found.slices] == [
        ("all", "full"),
        ("all", "sampled-99"),
        ("tier low", "full"),
    ]
    for ours, theirs in zip(found.slices, SLICES, strict=True):
        assert np.array_equal(ours.users, theirs.users)
        for name, values in theirs.values.items():
            assert np.array_equal(ours.values[name], values)  # to the bit


def test_a_cell_of_other_settings_is_none(tmp_path):
    path = cell_file(tmp_path, 3, HEADER.key)
    assert read_cell(path, HEADER.key) is None
    write_cell(path, HEADER, SLICES)
    assert read_cell(path, HEADER.key[:16] + "other") is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of a file", b"\x93NUMPY", b"no zip"])
def test_a_damaged_cell_is_one_clear_line(tmp_path, content):
    path = tmp_path / "cell.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged .*delete it, and it is made again"):
        read_cell(path, HEADER.key)


def test_a_half_of_a_real_cell_is_damaged(tmp_path):
    path = tmp_path / "cell.npz"
    write_cell(path, HEADER, SLICES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged"):
        read_cell(path, HEADER.key)


def test_values_must_be_of_their_users(tmp_path):
    wrong = Slice("all", "full", np.arange(3), {"auc": np.zeros(2)})
    with pytest.raises(ValueError, match="values of"):
        write_cell(tmp_path / "cell.npz", HEADER, (wrong,))
    assert not (tmp_path / "cell.npz").exists()
