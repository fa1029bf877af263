"""What a phone tries before it keeps a release: it must load, and say something."""

from pathlib import Path

import numpy as np

from clients.device_package import BUNDLE, DevicePackage
from clients.device_package import MANIFEST as PACKAGE
from models.encoder import Encoder
from models.errors import DataError

TEXTS = ("a quiet film about the sea", "two brothers come home after a long war")


def try_release(files: Path) -> None:
    """Load an encoder bundle or a device package, and use it.

    Args:
        files: folder of the release's files.

    Raises:
        DataError: if it does not load, or its vectors say nothing: zeros, no numbers, or the same
            for texts that have nothing in common.
    """
    is_package = (files / PACKAGE).is_file()
    encoder = Encoder.load(files / BUNDLE if is_package else files)
    vectors = encoder.encode(list(TEXTS)).astype(np.float64)
    sizes = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(vectors).all() or (sizes == 0).any():
        raise DataError(f"the encoder in {files} gives no vectors: the release does not work")
    if float(vectors[0] @ vectors[1]) / float(sizes.prod()) > 0.9999:
        raise DataError(f"the encoder in {files} gives every text the same vector")
    if is_package:
        _try_package(files, encoder.vector_size)


def _try_package(files: Path, vector_size: int) -> None:
    package = DevicePackage.open(files)
    if not all(np.isfinite(value).all() for value in package.parameters().values()):
        raise DataError(f"the recommender in {files} has parameters that are no numbers")
    _, vectors = package.cached_vectors()
    if vectors.shape[1] != vector_size:
        raise DataError(
            f"the package {files} has item vectors of {vectors.shape[1]} numbers, its encoder "
            f"gives {vector_size}: they are of two releases"
        )
