from pathlib import Path
from types import SimpleNamespace

import pytest

from simulation.engines.hardware import (
    LARGEST_BLOCK_BYTES,
    SMALLEST_BLOCK_BYTES,
    UNKNOWN_CACHE_BYTES,
    block_bytes,
    block_bytes_on,
    last_level_cache_bytes,
    processor_here,
)


def write_caches(folder: Path, *sizes: str) -> Path:
    for number, size in enumerate(sizes):
        (folder / f"index{number}").mkdir()
        (folder / f"index{number}" / "size").write_text(size)
    return folder


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (("32K\n", "1024K\n", "36608K\n"), 36608 * 1024),
        (("32K\n", "1M\n"), 1024**2),
        ((), UNKNOWN_CACHE_BYTES),
        (("unknown\n",), UNKNOWN_CACHE_BYTES),
    ],
)
def test_the_largest_cache_counts(tmp_path: Path, sizes: tuple[str, ...], expected: int):
    assert last_level_cache_bytes(write_caches(tmp_path, *sizes)) == expected


def test_a_block_is_neither_tiny_nor_huge():
    assert block_bytes(cache_bytes=1024**2, cores=8) == SMALLEST_BLOCK_BYTES
    assert block_bytes(cache_bytes=10**9, cores=1) == LARGEST_BLOCK_BYTES
    assert SMALLEST_BLOCK_BYTES <= block_bytes() <= LARGEST_BLOCK_BYTES


def test_a_gpu_is_used_if_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert processor_here() == "cpu" and block_bytes_on("cpu") == block_bytes()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    memory = SimpleNamespace(total_memory=64 * 10**9)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda number: memory)
    assert processor_here() == "cuda" and block_bytes_on("cuda") == 10**9
