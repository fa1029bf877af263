"""General students that tasks start from: read from a bundle, or compressed by a recipe first.

    bundle (few bits) --> student (fp32, the values that the bundle computes with) + its words
    preset + overrides --compress--> <cache>/general-students/<address>/bundle --> the same

A recipe is compressed once; the same settings, teacher and texts are found again. So a rival (two
layers of BERT-Tiny, a bag of words) goes through the same stages, on the same texts, as the encoder
it is measured against.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from models.bundle import CONTENT_FILES, TOKENIZER, VOCABULARY, EncoderBundle
from models.classifier import labels_of
from models.compression.export.revival import student_from_bundle
from models.compression.pipeline import compress
from models.compression.student import Student, build_student
from models.errors import DataError, SettingsError
from models.locks import alone_in
from models.progress import Progress, silent
from models.seeds import integer_seed
from models.wordpiece import TokenizerSettings, build_tokenizer, vocabulary_from_bytes
from simulation.data.pretraining_text import TEXT_SOURCES
from simulation.data.teachers import teacher_sha256
from simulation.experiments.language.settings import StartSettings
from simulation.experiments.materials import encoder_corpus, find_teacher
from simulation.settings import Settings, load_settings

BUNDLE, REPORT = "bundle", "bundle-report.json"


@dataclass(frozen=True, slots=True)
class GeneralStudent:
    """A student before it learns a task.

    Attributes:
        student: in evaluation mode.
        pieces: its words.
        reading: its tokenizer's settings.
        fingerprint: SHA-256 over what it was read from.
    """

    student: Student
    pieces: tuple[str, ...]
    reading: TokenizerSettings
    fingerprint: str

    @property
    def tokenizer(self) -> Tokenizer:
        """A new tokenizer of its words."""
        return build_tokenizer(self.pieces, self.reading)

    @classmethod
    def of_bundle(cls, folder: Path) -> "GeneralStudent":
        """Read a student out of a bundle.

        Raises:
            DataError: if the folder is no whole bundle, or one of a task.
        """
        bundle = EncoderBundle.open(folder)
        if labels_of(bundle.manifest["origin"]):
            raise DataError(f"bundle {folder} is that of a task: start from a general one")
        hashes = [bundle.manifest["files"][name]["sha256"] for name in CONTENT_FILES]
        return cls(
            student_from_bundle(folder).eval(),
            tuple(vocabulary_from_bytes(bundle.read(VOCABULARY))),
            TokenizerSettings.from_bytes(bundle.read(TOKENIZER)),
            hashlib.sha256("".join(hashes).encode()).hexdigest(),
        )

    def with_fresh_weights(self, seed: int) -> "GeneralStudent":
        """Return a student of this shape and these words that has learnt nothing."""
        made = build_student(
            self.student.settings, len(self.pieces), integer_seed(seed, "fresh-student")
        )
        return GeneralStudent(made.eval(), self.pieces, self.reading, f"fresh-{self.fingerprint}")


def find_start(
    start: StartSettings, cache: Path, progress: Progress = silent, *, make: bool = True
) -> Path:
    """Return the bundle folder of a start, compressed first if need be.

    Args:
        start: a bundle or a recipe.
        cache: folder of downloads and compressed starts.
        progress: told about everything.
        make: whether a recipe may be compressed now, which can take hours.

    Raises:
        DataError: if a ready bundle is not there, a recipe is not compressed yet and may not be,
            or its teacher or texts cannot be had.
        SettingsError: if a recipe is wrong, or one of a catalogue.
        BudgetError: if what a recipe gives does not fit into its budget.
    """
    if start.bundle:
        if not Path(start.bundle).is_dir():
            raise DataError(
                f"no bundle at {start.bundle}: run `pocketfleet compress --preset standard`, or "
                "name another one"
            )
        return Path(start.bundle)
    settings = load_settings(start.preset, start.overrides)
    folder = _folder(settings, cache)
    return _compressed(settings, folder, cache, progress, make)


def open_start(
    start: StartSettings, cache: Path, progress: Progress = silent, *, make: bool = True
) -> GeneralStudent:
    """Return a start's student; fresh weights are drawn by seed 0, the words are those learnt.

    Raises:
        DataError: as `find_start`.
        SettingsError: as `find_start`.
        BudgetError: as `find_start`.
    """
    found = GeneralStudent.of_bundle(find_start(start, cache, progress, make=make))
    return found.with_fresh_weights(0) if start.fresh_weights else found


def _folder(settings: Settings, cache: Path) -> Path:
    if settings.text.corpus != "general":
        raise SettingsError(
            'a start needs text.corpus = "general": an encoder of one catalogue is no general one'
        )
    return cache / "general-students" / _address(settings)


def _compressed(
    settings: Settings, folder: Path, cache: Path, progress: Progress, make: bool
) -> Path:
    if not make:
        if not (folder / REPORT).is_file():  # written last
            raise DataError("the start is not compressed yet: make its cells first")
        return folder / BUNDLE
    with alone_in(folder):
        if not (folder / REPORT).is_file():
            compress(
                find_teacher(settings, cache, progress),
                encoder_corpus(settings, [], cache, progress),
                settings.compression,
                folder / BUNDLE,
                cache,
                seed=settings.seed,
                threads=settings.text.threads,
                progress=progress,
            )
    return folder / BUNDLE


def _address(settings: Settings) -> str:
    """Return a name for all that the bundle depends on, but for the code.

    Reading all texts takes a minute, so the pinned hashes of their sources stand for them.
    """
    pinned = [(source.name, source.pinned) for source in TEXT_SOURCES]
    parts = {
        "text": settings.text.model_dump(mode="json"),
        "texts": [[name, wheel.package, wheel.version, wheel.sha256] for name, wheel in pinned],
        "teacher": teacher_sha256(settings.text.teacher),
        "compression": settings.compression.model_dump(mode="json"),
        "seed": settings.seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
