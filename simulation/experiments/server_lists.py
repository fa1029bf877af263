"""What the server teacher recommends to each user, kept beside a finished comparison.

    server-lists.npz
      titles    (N,)     item titles
      items     (U, K)   the best unseen items of each user, best first; -1 where there are fewer
      held_out  (U,)     the item that the user is judged by, cold or not; -1: none
      place     (U,)     where that item stands among all unseen ones: 1 = first, NaN none

A look into a phone puts them beside what the phone shows. Like the world of the run the file holds
titles and choices of real users: local output, never to be committed or published. A run that
promises privacy keeps none.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.files import write_whole
from models.histories import Histories
from server.server_teacher import CentralModel
from simulation.experiments.arms import TEACHER
from simulation.experiments.outcome import Outcome
from simulation.experiments.training import CentralJob
from simulation.run_folder import RunFolder
from simulation.settings import Settings

NO_ITEM = -1
USERS_AT_ONCE = 1024
"""Users whose scores of the whole catalogue are in memory at a time."""


@dataclass(frozen=True, slots=True)
class ServerLists:
    """The lists of all users; see the module's picture.

    Attributes:
        titles: (N,) of the catalogue.
        items: (U, K) int32.
        held_out: (U,) int32.
        place: (U,) float64, ties count half.
    """

    titles: NDArray[np.str_]
    items: NDArray[np.int32]
    held_out: NDArray[np.int32]
    place: NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write them, whole or not at all."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        with write_whole(path) as file:
            np.savez_compressed(file, allow_pickle=False, **columns)

    @classmethod
    def read(cls, path: Path) -> "ServerLists":
        """Read what `write` wrote.

        Raises:
            DataError: if there are none, or they are damaged.
        """
        if not path.is_file():
            raise DataError(
                f"{path} is missing: the run was made by an older version, run `pocketfleet "
                "compare` or `pocketfleet quickstart` again"
            )
        try:
            with np.load(path, allow_pickle=False) as columns:
                return cls(**{name: columns[name] for name in cls.__slots__})
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}): run the comparison again") from error


def keep_server_lists(run: RunFolder, settings: Settings, outcome: Outcome) -> None:
    """Write the lists of a comparison into its folder; of a private run, make sure of none."""
    if settings.federation.privacy.is_private:
        run.server_lists.unlink(missing_ok=True)
        return
    materials = outcome.materials
    place = np.full(materials.pool.num_users, np.nan)
    place[materials.evaluated] = outcome.ranks[TEACHER].full + 1.0
    lists = ServerLists(
        titles=np.asarray(materials.titles, dtype=np.str_),
        items=best_unseen(
            outcome.jobs[TEACHER],
            outcome.models[TEACHER],
            materials.pool,
            settings.comparison.top,
        ),
        held_out=np.asarray(materials.split.held_out, dtype=np.int32),
        place=place,
    )
    lists.write(run.server_lists)


def best_unseen(
    job: CentralJob, model: CentralModel, pool: Histories, count: int
) -> NDArray[np.int32]:
    """The best items that each user has not chosen, best first, (U, count); -1 fills a short list.

    Ties fall to the item with the lower number, as in the report's examples.
    """
    found = np.full((pool.num_users, count), NO_ITEM, dtype=np.int32)
    for start in range(0, pool.num_users, USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, pool.num_users))
        scores = np.array(job.scores(model, users))
        scores[pool.seen(users, scores.shape[1])] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        is_unseen = np.isfinite(np.take_along_axis(scores, order, axis=1))
        found[users, : order.shape[1]] = np.where(is_unseen, order, NO_ITEM)
    return found
