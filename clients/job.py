"""What a node is told once, before the first message: where its files are and how to read them.

Written by the simulator into the run folder; the cloud never reads it.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import DataError
from models.recommender import RecommenderSettings

DEVICE_JOB_FILE = "device-job.json"


class DeviceJob(BaseModel):
    """The phones' side of a run.

    Paths in the file may be relative to the folder it lies in, so that the folder may be moved to
    another machine; here they are absolute.

    Attributes:
        seed: the run's seed.
        world: folder of the world.
        phones: folder of what the phones worked out themselves.
        taste: file of the personal parameters.
        recommender: the shape of the recommender.
        read_private_text: whether the devices look at private texts.
        threads: torch threads of one node.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    world: Path
    phones: Path
    taste: Path
    recommender: RecommenderSettings
    read_private_text: bool
    threads: int

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
