import json

import numpy as np
import pytest

from clients.device_package import DevicePackage, write_package
from models.errors import BudgetError, DataError

RECOMMENDER = {"scale": np.ones(1, np.float32), "item_bias": np.arange(50, dtype=np.float32)}
TEXT = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
POPULARITY = np.arange(50)[::-1]


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "some-bundle"
    folder.mkdir()
    (folder / "encoder.onnx").write_bytes(b"x" * 1000)
    return folder


def bytes_on_disk(folder) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_package_holds_what_went_in_and_its_table_adds_up(tmp_path, bundle):
    package = write_package(tmp_path / "package", bundle, RECOMMENDER, TEXT, POPULARITY)
    assert package.num_bytes == bytes_on_disk(package.folder)
    assert package.byte_table["encoder bundle"] == 1000
    items, vectors = package.cached_vectors()
    assert items.tolist() == list(range(50))
    np.testing.assert_allclose(vectors, TEXT, atol=2e-3)  # float16
    for name, values in package.parameters().items():
        np.testing.assert_array_equal(values, RECOMMENDER[name])


@pytest.mark.parametrize("budget", [18_500, 19_000, 19_500])
def test_the_least_popular_vectors_are_left_out_and_the_budget_holds(tmp_path, bundle, budget):
    package = write_package(
        tmp_path / "package", bundle, RECOMMENDER, TEXT, POPULARITY, budget_bytes=budget
    )
    assert bytes_on_disk(package.folder) <= budget
    items, vectors = package.cached_vectors()
    assert 0 < len(items) < 50
    assert items.tolist() == list(range(len(items)))  # item 0 is the most popular one
    np.testing.assert_allclose(vectors, TEXT[: len(items)], atol=2e-3)


def test_a_budget_that_nothing_fits_raises_and_leaves_nothing(tmp_path, bundle):
    with pytest.raises(BudgetError, match="pass the device package's budget of 5,000 bytes by"):
        write_package(
            tmp_path / "package", bundle, RECOMMENDER, TEXT, POPULARITY, budget_bytes=5_000
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some-bundle"]


def test_only_a_package_is_ever_replaced(tmp_path, bundle):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="is no device package"):
        write_package(tmp_path / "package", bundle, RECOMMENDER, TEXT, POPULARITY)
    assert (tmp_path / "package" / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["recommender.npz", "item_text.npy"])
def test_damage_is_found_before_anything_is_served(tmp_path, bundle, name):
    package = write_package(tmp_path / "package", bundle, RECOMMENDER, TEXT, POPULARITY)
    content = bytearray((package.folder / name).read_bytes())
    content[-1] ^= 1  # the smallest damage, which still parses
    (package.folder / name).write_bytes(bytes(content))
    with pytest.raises(DataError, match=f"{name} is missing or damaged"):
        DevicePackage.open(package.folder)


def test_a_package_of_another_format_is_refused(tmp_path, bundle):
    package = write_package(tmp_path / "package", bundle, RECOMMENDER, TEXT, POPULARITY)
    manifest = package.folder / "package.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 9}))
    with pytest.raises(DataError, match="has format 9, wanted 1"):
        DevicePackage.open(package.folder)
