"""The history of a run for other tools: a Parquet table, and TensorBoard's event files when asked.

arms/federated/history.parquet     one row per round; "full/hr@10", "low/ndcg@10" are columns
arms/federated/tensorboard/        scalars by round
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import EngineError
from models.files import write_whole
from server.history import History
from simulation.engines.watch import Listener

PARQUET_FILE = "history.parquet"
TENSORBOARD = "tensorboard"


def flat_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the history without nesting.

    >>> row = {"round_number": 2, "faults": ["a", "b"], "metrics": {"full": {"auc": 0.5}},
    ...        "tiers": None}
    >>> flat_row(row)
    {'round_number': 2, 'faults': 'a; b', 'full/auc': 0.5}
    """
    flat = {name: value for name, value in row.items() if name not in ("metrics", "tiers")}
    flat["faults"] = "; ".join(row["faults"])
    for groups in (row["metrics"] or {}, row["tiers"] or {}):
        for group, metrics in groups.items():
            flat |= {f"{group}/{name}": value for name, value in metrics.items()}
    return flat


def write_parquet(folder: Path) -> Path:
    """Write the history of a run as a table beside it; return its path."""
    table = pd.DataFrame([flat_row(row) for row in History(folder).rows()])
    with write_whole(folder / PARQUET_FILE) as file:
        table.to_parquet(file, index=False)
    return folder / PARQUET_FILE


@contextmanager
def tensorboard(folder: Path, *, asked: bool) -> Iterator[tuple[Listener, ...]]:
    """Give what writes rows for TensorBoard as they come; nothing if nobody asked.

    Raises:
        EngineError: if TensorBoard is not installed.
    """
    if not asked:
        yield ()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise EngineError(
            "--tensorboard needs the package tensorboard: pip install 'pocketfleet[tensorboard]'"
        ) from error
    writer: Any = SummaryWriter(str(folder / TENSORBOARD))  # type: ignore[no-untyped-call]

    def write(row: dict[str, Any]) -> None:
        for name, value in flat_row(row).items():
            if isinstance(value, int | float) and name != "round_number":
                writer.add_scalar(name, value, row["round_number"])

    try:
        yield (write,)
    finally:
        writer.close()
