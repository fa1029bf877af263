"""What a phone of a run fetches, sends and holds: of what the run has, else of what it would have.

A world can be described before anything was compressed or trained. Then the package counts with the
most bytes that it may have, and the memory of serving is that of the default job.
"""

from dataclasses import dataclass
from pathlib import Path

from clients.device_package import DevicePackage
from clients.shard import column
from models.bundle import PACKAGE_BUDGET_BYTES, EncoderBundle
from models.errors import PocketfleetError
from models.recommender import parameter_layout
from server.history import BYTES_PER_PARAMETER
from simulation.experiments.phone_costs import memory_of_serving
from simulation.run_folder import RunFolder
from simulation.settings import Settings


@dataclass(frozen=True, slots=True)
class PhoneLoad:
    """Bytes of one phone.

    Attributes:
        package_bytes: of the device package.
        package_note: which package that is.
        serving_mb: memory that loading the package and serving adds, megabytes.
        serving_note: where that number comes from.
        update_bytes: of the parameters that a round fetches, and of the update that it sends.
    """

    package_bytes: int
    package_note: str
    serving_mb: float
    serving_note: str
    update_bytes: int


def phone_load(run: RunFolder, settings: Settings, num_items: int) -> PhoneLoad:
    """Find what a phone of this run carries.

    Args:
        run: the run folder.
        settings: of the run.
        num_items: N, the catalogue.

    Raises:
        DataError: if the run has a package and it is damaged.
        EngineError: if the package cannot be served.
    """
    package_bytes, package_note = _package(run)
    serving_mb, serving_note = _serving(run, settings)
    layout = parameter_layout(settings.recommender, num_items, _text_dim(run, settings))
    update_bytes = layout.size * BYTES_PER_PARAMETER
    return PhoneLoad(package_bytes, package_note, serving_mb, serving_note, update_bytes)


def _package(run: RunFolder) -> tuple[int, str]:
    if run.package.is_dir():
        return DevicePackage.open(run.package).num_bytes, "the package of this run"
    return PACKAGE_BUDGET_BYTES, "the most that a package may have; this run has none yet"


def _serving(run: RunFolder, settings: Settings) -> tuple[float, str]:
    catalogue = run.phones / "catalogue.json"
    if run.package.is_dir() and catalogue.is_file():
        measured = memory_of_serving(run.package, catalogue)
        added_mb = (measured["peak"] - measured["imported"]) / 1e6
        return added_mb, "measured now on the package of this run, in a fresh process"
    note = "measured on the package of the default job; this run has none yet"
    return settings.world.reference.serving_mb, note


def _text_dim(run: RunFolder, settings: Settings) -> int:
    """Size of the phones' text vectors."""
    if (run.phones / "item_text.npy").is_file():
        return int(column(run.phones, "item_text").shape[1])
    try:
        return EncoderBundle.open(Path(settings.text.bundle or run.bundle)).vector_size
    except (PocketfleetError, OSError):
        return settings.compression.student.vector_size
