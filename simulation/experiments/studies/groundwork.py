"""What the cells of one seed have in common: data, devices, the encoder, what the phones encoded.

    encoder/                   the run's bundle, made once for all seeds
    ground/3-2c26b46b68ffc68f/ world/ phones/ package/ as in a run folder
      arms/                    federated arms of the cells
      kept/                    what several cells need: a trained model, scores of a rival
      ground.json              written last: all above is there

A groundwork is made once, by whoever comes first; the others wait for it. Cells read it, and add to
`kept` and `arms` under names that say what they depend on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clients.shard import WorldManifest, private_texts
from models.files import write_json, write_whole
from models.locks import alone_in
from models.progress import Progress, silent
from models.recommender import Shared
from server.server_teacher import CentralModel
from simulation.data.interactions import Columns
from simulation.data.splits import Split
from simulation.experiments.arms import CENTRAL, STATIC, TEACHER
from simulation.experiments.federation import (
    FederatedArm,
    is_prepared,
    prepare_arm,
    read_arm,
    run_arm,
)
from simulation.experiments.materials import (
    Materials,
    check_materials,
    encode_on_phones,
    make_bundle,
    prepare_data,
    prepare_materials,
    teacher_item_vectors,
)
from simulation.experiments.studies.study_cells import KEY_LENGTH, digest_of
from simulation.experiments.training import CentralJob, central_jobs
from simulation.fingerprints import bundle_sha256
from simulation.run_folder import RunFolder
from simulation.settings import Settings
from simulation.world.build import World, pooled_histories

MARK = "ground.json"
GROUND_SECTIONS = ("seed", "data", "split", "private_text", "population", "world")
"""Parts of the settings that a groundwork depends on, beside the bundle."""

Arrays = dict[str, NDArray]


def make_encoder(
    folder: Path, settings: Settings, seed: int, cache: Path, progress: Progress = silent
) -> Path:
    """Make the bundle that all cells share, or keep the one that is there; return its folder.

    Args:
        folder: of the study.
        settings: of its first cell; `text` and `compression` count.
        seed: of the compression.
        cache: the cache folder.
        progress: told about everything that takes long.
    """
    run = RunFolder(folder / "encoder")
    run.path.mkdir(parents=True, exist_ok=True)
    own = settings.model_copy(update={"seed": seed})
    catalogue: list[str] = []
    if own.text.corpus == "catalogue" and not own.text.bundle:
        items = prepare_data(own, cache, progress).interactions.items
        catalogue = list(items[Columns.TEXT])
    make_bundle(run, own, catalogue, cache, progress)
    return run.bundle


@dataclass(frozen=True, slots=True)
class Groundwork:
    """Where the cells of a seed stand.

    Attributes:
        run: its folder, laid out as a run.
        settings: that it was made with; their `federation`, `central`, ... are a cell's own matter.
        materials: data and devices.
        raw: (N, D) float32 vectors of the catalogue as the phones' encoder gives them.
        text: (N, D) float32, the same as placed by the phones.
        cache: the cache folder.
    """

    run: RunFolder
    settings: Settings
    materials: Materials
    raw: NDArray[np.float32]
    text: NDArray[np.float32]
    cache: Path

    @classmethod
    def folder_of(cls, study: Path, settings: Settings, data: str, bundle: str) -> Path:
        """Where the groundwork of these settings is.

        Args:
            study: folder of the study.
            settings: of a cell.
            data: hash of the data.
            bundle: hash of the encoder bundle.
        """
        told = settings.model_dump(mode="json", include=set(GROUND_SECTIONS))
        key = digest_of(told, data, bundle)
        return study / "ground" / f"{settings.seed}-{key[:KEY_LENGTH]}"

    @classmethod
    def make(cls, folder: Path, settings: Settings, bundle: Path, cache: Path) -> None:
        """Make a groundwork if it is not there.

        Args:
            folder: from `folder_of`.
            settings: of a cell.
            bundle: the encoder bundle.
            cache: the cache folder.
        """
        run = RunFolder(folder.resolve())
        with alone_in(folder):
            if (folder / MARK).is_file():
                return
            ready = settings.text.model_copy(update={"bundle": str(bundle)})
            own = settings.model_copy(update={"text": ready})
            materials = prepare_materials(run, own, cache)
            check_materials(materials, own)
            make_bundle(run, own, materials.catalogue, cache)
            raw, _ = encode_on_phones(run, materials)
            _save(run.phones / "raw.npy", raw)
            write_json(folder / MARK, {"seed": settings.seed, "bundle": bundle_sha256(run.bundle)})

    @classmethod
    def open(cls, folder: Path, settings: Settings, cache: Path) -> "Groundwork":
        """Open a groundwork that was made."""
        run = RunFolder(folder.resolve())
        materials = _materials(folder.resolve(), settings, cache)
        raw, text = (np.load(run.phones / f"{name}.npy") for name in ("raw", "item_text"))
        return cls(run, settings, materials, raw, text, cache)

    def kept(self, name: str, settings: object, make: Callable[[], Arrays]) -> Arrays:
        """Arrays that several cells need: read, or made by whoever comes first.

        Args:
            name: what they are, for people.
            settings: what they depend on beside the groundwork; JSON can hold it.
            make: makes them.
        """
        path = self.run.path / "kept" / f"{name}-{digest_of(settings)[:KEY_LENGTH]}.npz"
        with alone_in(path.with_suffix(".lock")):
            if not path.is_file():
                with write_whole(path) as file:
                    np.savez(file, allow_pickle=False, **make())
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}

    def teacher_text(self) -> NDArray[np.float32]:
        """(N, H_T) the text teacher's vectors of the catalogue, placed."""

        def make() -> Arrays:
            catalogue = self.materials.catalogue
            return {"text": teacher_item_vectors(self.settings, catalogue, self.cache)}

        return self.kept("teacher-text", self.text_teacher, make)["text"]

    @property
    def text_teacher(self) -> list[object]:
        """Which text teacher, and how it reads."""
        how = self.settings.compression.teacher.model_dump(mode="json")
        return [self.settings.text.teacher, how]

    def job(self, arm: str, settings: Settings) -> CentralJob:
        """A pooled arm of the comparison, as these settings train it."""
        teacher = self.teacher_text() if arm in (TEACHER, CENTRAL) else None
        return central_jobs(settings, self.materials, self.text, teacher)[arm]

    def trained(self, arm: str, settings: Settings) -> CentralModel:
        """A pooled arm of the comparison, trained once."""
        how = settings.static if arm == STATIC else settings.central
        share = settings.comparison.opted_in_share if arm == STATIC else 1.0
        told: list[object] = [settings.recommender.model_dump(mode="json")]
        told += [how.model_dump(mode="json"), share]
        told += self.text_teacher if arm == TEACHER else []

        def make() -> Arrays:
            return model_arrays(self.job(arm, settings).run())

        return model_of(self.kept(arm, told, make))

    def federated(self, settings: Settings, *, read_private_text: bool = True) -> FederatedArm:
        """A federated arm from the static start; one that was killed goes on.

        Args:
            settings: of the cell.
            read_private_text: whether the devices look at private texts.
        """
        whole = settings.model_dump(mode="json", exclude={"text", "compression", "workers"})
        key = digest_of(whole, read_private_text)[:KEY_LENGTH]
        folder = self.run.arm(key)
        with alone_in(self.run.path / "arms" / f"{key}.lock"):
            if not is_prepared(folder):
                start = self.trained(STATIC, settings).parameters
                prepare_arm(
                    self.run,
                    key,
                    settings,
                    self.materials,
                    start,
                    self.text.shape[1],
                    read_private_text=read_private_text,
                )
            run_arm(folder, "inline")
            return read_arm(folder)


def model_arrays(model: CentralModel) -> Arrays:
    """A pooled model as arrays by name."""
    shared = {f"shared/{name}": tensor.numpy() for name, tensor in model.parameters.items()}
    return shared | {"taste": model.taste, "losses": np.asarray(model.losses)}


def model_of(arrays: Mapping[str, NDArray]) -> CentralModel:
    """The model of `model_arrays`."""
    shared: Shared = {
        name.removeprefix("shared/"): torch.from_numpy(values)
        for name, values in arrays.items()
        if name.startswith("shared/")
    }
    return CentralModel(shared, arrays["taste"], tuple(map(float, arrays["losses"])))


_OPEN: dict[Path, Materials] = {}
"""Of this process: a worker makes many cells of one groundwork, one after another."""

MOST_OPEN = 2


def _materials(folder: Path, settings: Settings, cache: Path) -> Materials:
    if folder not in _OPEN:
        if len(_OPEN) >= MOST_OPEN:
            _OPEN.clear()
        parts: Split = prepare_data(settings, cache)
        manifest = WorldManifest.read(folder / "world")
        world = World(folder / "world", manifest, private_texts(folder / "world"))
        _OPEN[folder] = Materials(parts, world, pooled_histories(parts))
    return _OPEN[folder]


def _save(path: Path, array: NDArray) -> None:
    with write_whole(path) as file:
        np.save(file, array, allow_pickle=False)
