"""What the machine that simulates can do: where devices train, and how many of them at once."""

import os
from pathlib import Path
from typing import Literal

import torch

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1024, "M": 1024**2}
UNKNOWN_CACHE_BYTES = 16 * 1024**2
"""Where the system does not say (not Linux): 16 MiB, what most processors of ten years have."""

SHARE_OF_A_BLOCK = 4
"""A block's working set takes a quarter of a core's share of the cache; the rest is for what a
block is made from and made into. Measured: docs/experiments.md, 2026-11-23."""

SMALLEST_BLOCK_BYTES, LARGEST_BLOCK_BYTES = 1024**2, 8 * 1024**2


SHARE_OF_GPU_MEMORY = 64
"""A block's working set takes a 64th of a GPU: what it is made from and made into takes some times
as much, and several nodes may share the GPU. Not measured: no GPU was at hand."""


def processor_here() -> Literal["cpu", "cuda"]:
    """What trains blocks of devices on this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def block_bytes_on(processor: str) -> int:
    """Working set of a block of devices on this machine's processor or GPU."""
    if processor != "cuda":
        return block_bytes()
    return int(torch.cuda.get_device_properties(0).total_memory) // SHARE_OF_GPU_MEMORY


def last_level_cache_bytes(caches: Path = _CACHES) -> int:
    """Size of the largest cache of the first core, bytes."""
    sizes = [_bytes(path) for path in sorted(caches.glob("index*/size"))]
    return max(sizes, default=0) or UNKNOWN_CACHE_BYTES


def block_bytes(cache_bytes: int | None = None, cores: int | None = None) -> int:
    """Working set of a block of devices that is trained at once.

    Args:
        cache_bytes: of the last-level cache; None asks the system.
        cores: that share it; None asks the system.

    >>> block_bytes(cache_bytes=32 * 1024**2, cores=4)
    2097152
    """
    cache_bytes = last_level_cache_bytes() if cache_bytes is None else cache_bytes
    cores = (os.cpu_count() or 1) if cores is None else cores
    share = cache_bytes // cores // SHARE_OF_A_BLOCK
    return min(max(share, SMALLEST_BLOCK_BYTES), LARGEST_BLOCK_BYTES)


def _bytes(path: Path) -> int:
    """A size as the kernel writes it: "36608K"."""
    try:
        text = path.read_text(encoding="ascii").strip()
        return int(text[:-1]) * _UNITS[text[-1]]
    except (OSError, ValueError, KeyError, IndexError):
        return 0
