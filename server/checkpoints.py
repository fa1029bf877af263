"""Where a federated run stands, on disk: killed in any round, it goes on to the same parameters.

    checkpoint.npz    rounds done, parameters, momentum, variance, the row of the last round,
                      what was sent to phones that are still at work, and the next clip norm

Written after the server's step and before the evaluation of a round, whole or not at all. What the
phones staged in that round counts from then on (`clients.personal`). Nothing of a round leaves the
cloud before its checkpoint is on disk, so a round that is played again may have the same noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.files import write_whole
from server.aggregation import ServerState
from server.history import CHECKPOINT_FILE, RoundRow


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after some rounds.

    Attributes:
        rounds_done: at least 1.
        state: of the server.
        sent: rounds done -> parameters that phones fetched then and may still be at work on.
        row: of the last round, its evaluation still missing.
        clip_norm: of the next round.
    """

    rounds_done: int
    state: ServerState
    sent: Mapping[int, NDArray[np.float32]]
    row: RoundRow
    clip_norm: float

    def write(self, folder: Path) -> None:
        """Write it in the place of the one before."""
        with write_whole(folder / CHECKPOINT_FILE) as file:
            np.savez(
                file,
                rounds_done=np.asarray(self.rounds_done),
                parameters=self.state.parameters,
                momentum=self.state.momentum,
                variance=self.state.variance,
                versions=np.array(sorted(self.sent)),
                sent=np.stack([self.sent[version] for version in sorted(self.sent)]),
                steps=np.asarray(self.state.round_number),
                clip_norm=np.asarray(self.clip_norm),
                row=np.frombuffer(self.row.to_json().encode(), dtype=np.uint8),
            )

    @staticmethod
    def forget(folder: Path) -> None:
        """Delete it: the run is whole."""
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)

    @classmethod
    def read(cls, folder: Path) -> "Checkpoint | None":
        """Read the checkpoint of a run; None if it has none yet.

        Raises:
            DataError: if it is damaged.
        """
        path = folder / CHECKPOINT_FILE
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as saved:
                state = ServerState(
                    saved["parameters"], saved["momentum"], saved["variance"], int(saved["steps"])
                )
                versions = saved["versions"].tolist()
                sent = dict(zip(versions, saved["sent"], strict=True))
                row = RoundRow.from_json(saved["row"].tobytes())
                clip_norm = float(saved["clip_norm"])
                return cls(int(saved["rounds_done"]), state, sent, row, clip_norm)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is damaged ({error}): delete it and run anew, without --resume"
            ) from error
