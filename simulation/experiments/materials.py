"""What every experiment starts from, in the order in which it is made.

    interactions -> split -> synthetic private texts -> world
    text teacher -> EI-BERT bundle                               (kept when nothing changed)
    bundle -> what the phones encode by themselves: item vectors, vectors of private texts

Each step writes into the run folder, whole or not at all.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

import models.bundle
from clients.shard import open_events, private_texts
from models.bundle import EncoderBundle
from models.compression.pipeline import compress
from models.compression.report import CompressionReport
from models.compression.teacher.corpus import Corpus
from models.compression.teacher.text_teacher import load_text_teacher, read
from models.encoder import Encoder
from models.errors import DataError, PocketfleetError, SettingsError
from models.files import replace_folder, write_whole
from models.histories import Histories
from models.negatives import LeakCheck, LeakError, Negatives, check_for_leaks
from models.progress import Progress, silent
from models.text_space import TextSpace
from simulation.data.cache import sha256_of
from simulation.data.fingerprint import data_sha256
from simulation.data.interactions import Columns
from simulation.data.labelled_texts import load_labelled
from simulation.data.loading import load_interactions
from simulation.data.pretraining_text import pretraining_texts
from simulation.data.private_text import add_synthetic_private_texts
from simulation.data.prose import distillation_prose
from simulation.data.splits import Split, split
from simulation.data.teachers import MINILM_NAME, teacher_folder
from simulation.run_folder import RunFolder, versions
from simulation.settings import Settings
from simulation.world.build import World, build_world, pooled_histories
from simulation.world.population import build_population, fit_population

CHECKED_DEVICES = 20_000
"""Devices whose columns are looked at for leaks; all of them in a world of real users."""

DIGEST_FILE = "compression-input.sha256"


@dataclass(frozen=True, slots=True)
class Materials:
    """Data and devices of a run.

    Attributes:
        split: training events with private texts, and held-out items.
        world: the devices on disk.
        pool: the training events as a server would pool them, without private texts.
    """

    split: Split
    world: World
    pool: Histories

    @property
    def catalogue(self) -> list[str]:
        """Item texts, (N,)."""
        return list(self.split.interactions.items[Columns.TEXT])

    @property
    def titles(self) -> list[str]:
        """Item titles, (N,)."""
        return list(self.split.interactions.items[Columns.TITLE])

    @property
    def evaluated(self) -> NDArray[np.int64]:
        """Users with a held-out item, ascending."""
        return np.flatnonzero(self.split.held_out >= 0)


def prepare_data(settings: Settings, cache: Path, progress: Progress = silent) -> Split:
    """Load the interactions, split them, and write the synthetic private texts."""
    interactions = load_interactions(settings.data, cache, progress)
    parts = split(interactions, settings.split, settings.seed)
    train = add_synthetic_private_texts(
        parts.train, interactions.items, settings.private_text, settings.seed
    )
    return replace(parts, train=train)


def prepare_materials(
    run: RunFolder, settings: Settings, cache: Path, progress: Progress = silent
) -> Materials:
    """Load and split the data and build the world of a run.

    Raises:
        DataError: if the data cannot be had, or leaves nobody to evaluate.
        SettingsError: if a cohort, or the nodes, outnumber the devices, or cold items are asked
            for with synthetic devices.
    """
    parts = prepare_data(settings, cache, progress)
    if not (parts.held_out >= 0).sum() > 1:
        raise DataError(
            f"{parts.interactions.name}: fewer than 2 users have a held-out item under "
            f"split.rule={settings.split.rule}; users need 2 events or more"
        )
    if settings.population.devices and settings.split.cold_items:
        raise SettingsError(
            f"split.cold_items={settings.split.cold_items} is for real users: synthetic devices "
            f"(population.devices={settings.population.devices:,}) choose from the whole "
            "catalogue; set one of the two to 0"
        )
    num_devices = settings.population.devices or parts.interactions.num_users
    settings.federation.check_population(num_devices)
    run.note_made_from(data_sha256=data_sha256(parts.interactions))
    world = make_world(run, parts, settings, progress)
    return Materials(parts, world, pooled_histories(parts))


def make_world(
    run: RunFolder, parts: Split, settings: Settings, progress: Progress = silent
) -> World:
    """Build the devices of a run: the real users', or synthetic ones fitted on them."""
    population = settings.population
    if not population.devices:
        return build_world(parts, settings.world, settings.seed, run.world)
    fitted = fit_population(
        pooled_histories(parts),
        parts.train[Columns.TIME_S].to_numpy(),
        parts.interactions.num_items,
        population,
        settings.seed,
        progress,
    )
    manifest = build_population(
        fitted, population, settings.world, settings.seed, run.world, progress
    )
    return World(run.world, manifest, [])


def find_teacher(settings: Settings, cache: Path, progress: Progress = silent) -> str:
    """The teacher's folder or id: the default one is fetched, others are taken as they are."""
    if settings.text.teacher == MINILM_NAME:
        return str(teacher_folder(cache, progress))
    return settings.text.teacher


def teacher_item_vectors(
    settings: Settings, catalogue: list[str], cache: Path, progress: Progress = silent
) -> NDArray[np.float32]:
    """The text teacher's vectors of the catalogue, placed in its own text space, (N, H_T)."""
    source = find_teacher(settings, cache, progress)
    teacher = load_text_teacher(source, settings.compression.teacher)
    raw = np.asarray(read(teacher, catalogue, cache, progress).vectors)
    return TextSpace.of_catalogue(raw).place(raw)


def make_bundle(
    run: RunFolder,
    settings: Settings,
    catalogue: list[str],
    cache: Path,
    progress: Progress = silent,
    *,
    fresh: bool = False,
) -> CompressionReport:
    """Compress the teacher into the run's encoder bundle.

    A bundle that is already there is kept when it was made from the same settings, texts, teacher
    and seed, and is undamaged; `fresh` makes it anew in any case. With `text.bundle` nothing is
    compressed: that bundle is copied, with the report beside it.
    """
    if settings.text.bundle:
        return _adopt_bundle(run, Path(settings.text.bundle))
    teacher = find_teacher(settings, cache, progress)
    corpus = encoder_corpus(settings, catalogue, cache, progress)
    digest = _digest(settings, teacher, corpus)
    if not fresh and _is_made_from(run, digest):
        progress("keeping the encoder bundle: its settings, texts and teacher are the same", 1, 1)
        return read_compression(run)
    (run.path / DIGEST_FILE).unlink(missing_ok=True)
    shutil.rmtree(run.bundle, ignore_errors=True)  # of this run folder, and perhaps damaged
    report = compress(
        teacher,
        corpus,
        settings.compression,
        run.bundle,
        cache,
        seed=settings.seed,
        threads=settings.text.threads,
        progress=progress,
    )
    (run.path / DIGEST_FILE).write_text(digest + "\n", encoding="utf-8")
    return report


def read_compression(run: RunFolder) -> CompressionReport:
    """The report of the compression that made the run's bundle.

    Raises:
        DataError: if there is none, or it is damaged.
    """
    try:
        return TypeAdapter(CompressionReport).validate_json(run.compression.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"cannot read the compression report {run.compression}") from error


def encoder_corpus(
    settings: Settings, catalogue: list[str], cache: Path, progress: Progress = silent
) -> Corpus:
    """What the student learns from, as `text.corpus` says."""
    wanted = settings.text.prose_sentences
    if settings.text.corpus == "general":
        return Corpus((), tuple(pretraining_texts(cache, wanted, settings.seed, progress)))
    if settings.text.corpus == "chinese":
        reviews = load_labelled("zh-reviews", cache, progress=progress)
        return Corpus((), reviews.train.texts[:wanted])
    prose = distillation_prose(cache, wanted, settings.seed, progress) if wanted else []
    return Corpus(tuple(catalogue), tuple(prose))


def _adopt_bundle(run: RunFolder, ready: Path) -> CompressionReport:
    """Copy a ready bundle and its report into the run."""
    EncoderBundle.open(ready)
    report = ready.with_name(f"{ready.name}-report.json")
    if not report.is_file():
        raise DataError(f"bundle {ready} has no report beside it: {report} is missing")
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=run.path) as scratch:
        copy = Path(scratch) / "bundle"
        shutil.copytree(ready, copy, ignore=shutil.ignore_patterns("*.md"))
        replace_folder(copy, run.bundle)
    (run.path / DIGEST_FILE).unlink(missing_ok=True)
    with write_whole(run.compression) as file:
        file.write(report.read_bytes())
    return read_compression(run)


def _digest(settings: Settings, teacher: str, corpus: Corpus) -> str:
    """What a bundle depends on, as one hash: settings, texts, teacher, code and versions."""
    weights = Path(teacher) / "model.safetensors"
    content = {
        "settings": settings.compression.model_dump(mode="json"),
        "seed": settings.seed,
        "threads": settings.text.threads,
        "code": _code_hash(),
        "versions": versions(),
        "teacher": [teacher, sha256_of(weights) if weights.is_file() else "by name"],
        "texts": [corpus.item_texts, corpus.prose],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _code_hash() -> str:
    """A hash of the code that makes bundles: a change of it makes them anew."""
    folder = Path(models.bundle.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def _is_made_from(run: RunFolder, digest: str) -> bool:
    path = run.path / DIGEST_FILE
    if not path.is_file() or path.read_text(encoding="utf-8").strip() != digest:
        return False
    try:
        EncoderBundle.open(run.bundle)
        read_compression(run)
    except PocketfleetError:
        return False
    return True


def encode_on_phones(
    run: RunFolder, materials: Materials, progress: Progress = silent
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Let the phones encode: the catalogue once, and each private text on the phone it is on.

    All phones run the same bundle, so one encoder stands for all of them; texts go through it one
    by one, as they would on a phone. Writes `phones/`.

    Returns:
        the raw item vectors (N, D) and the placed ones.
    """
    encoder = Encoder.load(run.bundle)
    raw = _encoded(encoder, materials.catalogue, "phones encode the catalogue", progress)
    space = TextSpace.of_catalogue(raw)
    placed = space.place(raw)
    texts = private_texts(materials.world.folder)
    private = space.place(_encoded(encoder, texts, "phones encode private texts", progress))
    for name, vectors in (("item_text", placed), ("private_vectors", private)):
        with write_whole(run.phones / f"{name}.npy") as file:
            np.save(file, vectors, allow_pickle=False)
    return raw, placed


def _encoded(
    encoder: Encoder, texts: list[str], what: str, progress: Progress
) -> NDArray[np.float32]:
    """Encode text after text; equal texts are encoded once."""
    distinct = sorted(set(texts))
    place = {text: row for row, text in enumerate(distinct)}
    vectors = np.zeros((len(distinct), encoder.vector_size), dtype=np.float32)
    step = 200
    for start in range(0, len(distinct), step):
        progress(what, start, len(distinct))
        vectors[start : start + step] = encoder.encode(distinct[start : start + step])
    progress(what, len(distinct), len(distinct))
    return vectors[[place[text] for text in texts]]


def check_materials(materials: Materials, settings: Settings) -> LeakCheck:
    """Look for leaks in the very columns that the phones map, under every arm's negatives.

    Raises:
        LeakError: if a held-out item was trained on, or could not be pushed down, or a cold item
            was trained on.
    """
    manifest = materials.world.manifest
    looked_at = min(manifest.num_devices, CHECKED_DEVICES)
    events = open_events(materials.world.folder, manifest, 0, looked_at)
    on_phones, held_out = events.cut(np.arange(looked_at))
    num_items = manifest.num_items
    is_cold = materials.split.cold_item
    if is_cold.any() and is_cold[on_phones.items].any():
        count = int(is_cold[on_phones.items].sum())
        raise LeakError(f"{count:,} training events on phones have a cold item: there must be none")
    arms = (settings.central, settings.static, settings.federation.training)
    checks = [
        check_for_leaks(on_phones, held_out, Negatives(arm.num_negatives), num_items)
        for arm in arms
    ]
    for check in checks:
        check.raise_if_leaking()
    return checks[-1]
