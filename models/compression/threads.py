"""A fixed number of threads: sums in another order are other sums."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Pin the threads of torch and BLAS inside the block.

    Args:
        threads: at least 1; another number gives other weights, as good but not the same bytes.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
