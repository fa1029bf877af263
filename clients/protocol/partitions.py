"""Which device lives on which node: partition k of K is a contiguous stretch of device ids.

Both ends compute it, so a map of devices never travels.
"""

from models.errors import DataError


def partition_bounds(num_devices: int, partition_id: int, num_partitions: int) -> tuple[int, int]:
    """First device of a partition, and the first one after it.

    Raises:
        DataError: if there is no such partition.

    >>> [partition_bounds(10, k, 4) for k in range(4)]
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    if not 0 <= partition_id < num_partitions:
        raise DataError(f"partition {partition_id} is outside 0 .. {num_partitions - 1}")
    first = partition_id * num_devices // num_partitions
    return first, (partition_id + 1) * num_devices // num_partitions
