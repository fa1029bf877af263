"""Devices by the block: each block on its own, on several threads, results in order.

NumPy lets go of the interpreter while it computes, so threads are enough; a block writes the
columns of its own devices and of no other's.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def in_blocks(
    work: Callable[[slice], Result], count: int, block: int, workers: int
) -> list[Result]:
    """Run `work` on slices of 0 .. count, at most `workers` at a time.

    Args:
        work: of one slice.
        count: of devices.
        block: devices in a slice.
        workers: threads; 1 uses none.
    """
    slices = [slice(start, min(start + block, count)) for start in range(0, count, block)]
    if workers == 1 or len(slices) < 2:
        return [work(each) for each in slices]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, slices))
