"""A phone tries a release before it keeps it."""

import shutil

import numpy as np
import pytest

from clients.device_package import RECOMMENDER, write_package
from clients.release.self_test import try_release
from models.encoder import Encoder
from models.errors import DataError

PRETRAINED = "models/pretrained/ei-bert-en"


@pytest.fixture(scope="module")
def package(tmp_path_factory, request):
    bundle = request.config.rootpath / PRETRAINED
    folder = tmp_path_factory.mktemp("package") / "package"
    size = Encoder.load(bundle).vector_size
    write_package(
        folder,
        bundle,
        {"text_projection": np.ones((size, 4), np.float32)},
        np.ones((3, size), np.float32),
        np.array([3, 2, 1]),
    )
    return folder


def test_a_bundle_and_a_package_that_work_are_kept(package, request):
    try_release(request.config.rootpath / PRETRAINED)
    try_release(package)


def test_a_release_that_does_not_load_or_says_nothing_is_not(package, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(package, broken)
    (broken / "bundle/encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(DataError):
        try_release(broken)
    with pytest.raises(DataError):
        try_release(tmp_path / "nothing")


def test_parameters_that_are_no_numbers_are_not_kept(tmp_path, request):
    bundle = request.config.rootpath / PRETRAINED
    size = Encoder.load(bundle).vector_size
    texts = np.ones((3, size), np.float32)
    poisoned = {"text_projection": np.full((size, 4), np.nan, np.float32)}
    write_package(tmp_path / "nan", bundle, poisoned, texts, np.array([3, 2, 1]))
    with pytest.raises(DataError, match="parameters that are no numbers"):
        try_release(tmp_path / "nan")
    good = {"text_projection": np.ones((size, 4), np.float32)}
    write_package(tmp_path / "mixed", bundle, good, texts[:, :7], np.array([3, 2, 1]))
    assert (tmp_path / "mixed" / RECOMMENDER).exists()
    with pytest.raises(DataError, match="they are of two releases"):
        try_release(tmp_path / "mixed")
