"""Everything a comparison found, before it is put into words."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.local_evaluation import Ranks
from models.compression.report import CompressionReport
from models.evaluation.slices import Slicing
from models.intervals import PairedBootstrap
from models.negatives import LeakCheck
from server.server_teacher import CentralModel
from simulation.experiments.cold_evaluation import ColdReferee
from simulation.experiments.federation import FederatedArm
from simulation.experiments.materials import Materials
from simulation.experiments.phone_costs import PhoneCosts
from simulation.experiments.training import CentralJob


@dataclass(frozen=True, slots=True)
class ColdOutcome:
    """What all arms answered to the cold question.

    Attributes:
        referee: who was asked for which cold item.
        values: arm -> protocol -> metric -> (C,), for the referee's users.
        bootstrap: the resampling that all intervals share.
        slicings: into which slices these users fall.
    """

    referee: ColdReferee
    values: dict[str, dict[str, dict[str, NDArray[np.float64]]]]
    bootstrap: PairedBootstrap
    slicings: tuple[Slicing, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Data, models, ranks and costs of one comparison.

    Attributes:
        materials: data and devices.
        compression: how the encoder was made.
        ranks: arm -> where the held-out items stand, for the same users in the same order.
        jobs: pooled arm -> how it was trained.
        models: pooled arm -> what came out.
        federated: arm -> its run.
        costs: what serving costs a phone.
        phone_agreement: share of each user's top list that the installed package and the
            evaluation have in common, mean over users.
        leaks: what the leak detector found; it has passed.
        bootstrap: the resampling that all intervals share.
        slicings: into which slices the users fall, in the order of the ranks.
        cold: the cold question; None where no two users could be asked it.
    """

    materials: Materials
    compression: CompressionReport
    ranks: dict[str, Ranks]
    jobs: dict[str, CentralJob]
    models: dict[str, CentralModel]
    federated: dict[str, FederatedArm]
    costs: PhoneCosts
    phone_agreement: float
    leaks: LeakCheck
    bootstrap: PairedBootstrap
    slicings: tuple[Slicing, ...]
    cold: ColdOutcome | None
