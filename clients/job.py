"""What a node is told once, before the first message: where its files are and how to read them.

Written by the simulator into the run folder; the cloud never reads it.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from clients.protocol.messages import LocalTraining
from models.errors import DataError
from models.recommender import RecommenderSettings
from models.recommenders.methods import method_of
from models.recommenders.settings import MethodSettings

DEVICE_JOB_FILE = "device-job.json"


class CitedMethod(BaseModel):
    """A federated recommender that people cite, in the place of the product's own.

    Attributes:
        settings: of the method.
        training: how a phone trains, for what it does before it ranks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: MethodSettings
    training: LocalTraining


class DeviceJob(BaseModel):
    """The phones' side of a run.

    Paths in the file may be relative to the folder it lies in, so that the folder may be moved to
    another machine; here they are absolute.

    Attributes:
        seed: the run's seed.
        noise_seed: what noise and the rounding of secure sums are drawn from: of this run alone.
        world: folder of the world.
        phones: folder of what the phones worked out themselves.
        taste: file of the personal parameters.
        recommender: the shape of the recommender.
        read_private_text: whether the devices look at private texts.
        threads: torch threads of one node.
        cited: what is trained instead of the product's recommender; None: that one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    noise_seed: int
    world: Path
    phones: Path
    taste: Path
    recommender: RecommenderSettings
    read_private_text: bool
    threads: int
    cited: CitedMethod | None = None

    @property
    def taste_size(self) -> int:
        """Numbers that stay on a phone, FedDyn's duals not counted."""
        if self.cited is None:
            return self.recommender.dim
        return method_of(self.cited.settings).personal_size

    @classmethod
    def read(cls, run_folder: Path) -> "DeviceJob":
        """Read the job of a run.

        Raises:
            DataError: if the folder holds none.
        """
        path = run_folder / DEVICE_JOB_FILE
        if not path.is_file():
            raise DataError(
                f"no {DEVICE_JOB_FILE} in run-folder '{run_folder}': start through "
                "`pocketfleet simulate`, or pass --run-config 'run-folder=\"/absolute/path\"'"
            )
        try:
            job = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise DataError(f"{path} is damaged or of another version: prepare it again") from error
        places = {name: run_folder / getattr(job, name) for name in ("world", "phones", "taste")}
        return job.model_copy(update=places)
