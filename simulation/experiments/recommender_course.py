"""Cross-distil a student for the recommendation task at hand, and make its bundle.

    student folder --> student, words                         (what `write_student` wrote)
    task's pool    --> fit | validation = each user's last training event
    fit            --> the teacher's recommender --> cross-distillation --> bundle, recommender

Each task has a course of its own: the encoder learns from who chose what, so one that was taught on
all events must not be judged on cold items. Held-out items of the task are seen by nobody.

A student folder is what `Student.save_pretrained` writes, with `vocab.txt` and `tokenizer.json` as
a bundle has them: the weights before they were rounded.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from models.bundle import (
    ENCODER_BUDGET_BYTES,
    GRAPH,
    TOKENIZER,
    VOCABULARY,
    EncoderBundle,
    write_bundle,
)
from models.compression.corpus import cut_short, short_queries
from models.compression.export import export_graph, graph_parts
from models.compression.quantization import plan_bits
from models.compression.recommender_distillation import (
    RecommenderDistillationSettings,
    TaughtRecommender,
    cross_distil_recommender,
)
from models.compression.recommender_pair import RecommendationLessons, TrainedRecommender
from models.compression.student import Student
from models.errors import DataError
from models.files import write_whole
from models.histories import Histories
from models.progress import Progress, silent
from models.text_space import TextSpace
from models.wordpiece import (
    TokenizerSettings,
    build_tokenizer,
    cut,
    vocabulary_from_bytes,
    vocabulary_to_bytes,
)
from server.server_teacher import train_on_pooled_data
from simulation.data.cache import sha256_of
from simulation.data.prose import distillation_prose
from simulation.experiments.encoders import TextReader
from simulation.experiments.ranking_tasks import RankingTask
from simulation.settings import Settings

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class StudentFolder:
    """A student before its weights were rounded, and its words.

    Attributes:
        student: in evaluation mode.
        pieces: its vocabulary.
        tokenizer: case, accents, longest text.
        sha256: of the weights.
    """

    student: Student
    pieces: tuple[str, ...]
    tokenizer: TokenizerSettings
    sha256: str

    @classmethod
    def read(cls, folder: Path) -> "StudentFolder":
        """Read a student folder.

        Raises:
            DataError: if it is none, or words and weights do not belong together.
        """
        try:
            student = Student.from_pretrained(folder, use_safetensors=True).eval()
            pieces = vocabulary_from_bytes((folder / VOCABULARY).read_bytes())
            tokenizer = TokenizerSettings.from_bytes((folder / TOKENIZER).read_bytes())
        except (OSError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{folder} is no student folder ({reason}): give one with config.json, {_WEIGHTS}, "
                f"{VOCABULARY} and {TOKENIZER}"
            ) from error
        if student.words.num_embeddings != len(pieces):
            raise DataError(
                f"{folder}: {student.words.num_embeddings} word vectors and {len(pieces)} words do "
                "not belong together: save the student again"
            )
        return cls(student, tuple(pieces), tokenizer, sha256_of(folder / _WEIGHTS))

    def split(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the pieces of each text, framed and cut as on a phone."""
        tokenizer = build_tokenizer(self.pieces, self.tokenizer)
        encodings = tokenizer.encode_batch_fast([cut(text, self.tokenizer) for text in texts])
        return [encoding.ids for encoding in encodings]


def write_student(
    folder: Path, student: Student, pieces: Sequence[str], tokenizer: TokenizerSettings
) -> None:
    """Write a student folder."""
    student.save_pretrained(folder)
    for name, content in (
        (VOCABULARY, vocabulary_to_bytes(pieces)),
        (TOKENIZER, tokenizer.to_bytes()),
    ):
        with write_whole(folder / name) as file:
            file.write(content)


class CompanionSettings(BaseModel, extra="forbid", frozen=True):
    """Which texts beside the catalogue the student goes on reading."""

    queries_per_item: int = Field(description="short queries made of each item's words", ge=0)
    query_words_min: int = Field(description="fewest words of a query", ge=1)
    query_words_max: int = Field(description="most words of a query; not below the fewest", ge=1)
    prose_texts: int = Field(description="general sentences", ge=0)
    prose_words: int = Field(description="a longer sentence is cut to so many words", ge=1)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "CompanionSettings":
        if self.query_words_min > self.query_words_max:
            raise ValueError(
                f"query_words_min is {self.query_words_min}, above query_words_max "
                f"{self.query_words_max}"
            )
        return self

    def texts(
        self, catalogue: Sequence[str], cache: Path, seed: int, progress: Progress = silent
    ) -> list[str]:
        """Queries made of a catalogue, then prose."""
        bounds = (self.query_words_min, self.query_words_max)
        queries = short_queries(catalogue, self.queries_per_item, bounds, seed)
        if self.prose_texts == 0:
            return queries
        prose = distillation_prose(cache, self.prose_texts, seed, progress)
        return [*queries, *cut_short(prose, self.prose_words, seed)]


@dataclass(frozen=True, slots=True)
class Course:
    """What a cross-distillation for recommendation needs beside the task and the student.

    Attributes:
        settings: of the run.
        distillation: of the cross-distillation.
        companions: which texts beside the catalogue are read.
        embedding_bits: of words and positions in the bundle.
        matrix_bits: of all other matrices.
        teacher: reads texts as the text teacher does.
        catalogue: item texts, (N,).
        cache: the cache folder.
    """

    settings: Settings
    distillation: RecommenderDistillationSettings
    companions: CompanionSettings
    embedding_bits: int
    matrix_bits: int
    teacher: TextReader
    catalogue: Sequence[str]
    cache: Path

    def teach(
        self, start: Path, task: RankingTask, folder: Path, progress: Progress = silent
    ) -> tuple[TaughtRecommender, EncoderBundle]:
        """Cross-distil a student for a task and write its bundle.

        A course that was killed goes on from its last checkpoint.

        Args:
            start: the student folder; it stays as it is.
            task: what is trained on.
            folder: where `bundle/` and the checkpoints go.
            progress: told about every step.

        Raises:
            DataError: if `start` is no student folder, or nothing can be learnt from the task.
            BudgetError: if the bundle is over its budget.
        """
        read = StudentFolder.read(start)
        raw = self.teacher.read(self.catalogue)
        fit, validation = hold_out_last(task.pool)
        lessons = self._lessons(read, raw, task, fit, validation, progress)
        head = self._teachers_recommender(raw, task, fit, progress)
        address = self._address(read, task)
        taught = cross_distil_recommender(
            read.student,
            head,
            lessons,
            self.distillation,
            self.settings.seed,
            progress,
            folder / f"checkpoints-{address[:16]}",
        )
        return taught, self._bundle(read, taught.student, folder / "bundle", address)

    def _lessons(
        self,
        read: StudentFolder,
        raw: NDArray[np.float32],
        task: RankingTask,
        fit: Histories,
        validation: NDArray[np.int64],
        progress: Progress,
    ) -> RecommendationLessons:
        beside = self.companions.texts(self.catalogue, self.cache, self.settings.seed, progress)
        return RecommendationLessons(
            item_ids=read.split(self.catalogue),
            item_vectors=raw,
            known=task.known,
            histories=fit,
            validation=validation,
            companion_ids=read.split(beside),
            companion_vectors=self.teacher.read(beside) if beside else raw[:0],
        )

    def _teachers_recommender(
        self, raw: NDArray[np.float32], task: RankingTask, fit: Histories, progress: Progress
    ) -> TrainedRecommender:
        """The recommender on the teacher's vectors, trained without the validation items."""
        text = TextSpace.of_catalogue(raw).place(raw)[task.known]
        shape, how, seed = self.settings.recommender, self.settings.central, self.settings.seed
        model = train_on_pooled_data(fit, text, shape, how, seed, progress=progress)
        return TrainedRecommender(model.parameters, model.taste, shape)

    def _bundle(
        self, read: StudentFolder, student: Student, folder: Path, address: str
    ) -> EncoderBundle:
        plan = plan_bits(student.settings, self.embedding_bits, self.matrix_bits)
        graph = export_graph(student, plan)
        return write_bundle(
            folder,
            {
                GRAPH: graph.SerializeToString(deterministic=True),
                VOCABULARY: vocabulary_to_bytes(read.pieces),
                TOKENIZER: read.tokenizer.to_bytes(),
            },
            graph_parts=graph_parts(graph),
            vector_size=student.settings.vector_size,
            origin={
                "student_sha256": read.sha256,
                "course_sha256": address,
                "seed": self.settings.seed,
            },
            budget_bytes=ENCODER_BUDGET_BYTES,
        )

    def _address(self, read: StudentFolder, task: RankingTask) -> str:
        """What the outcome depends on, as one hash."""
        digest = hashlib.sha256(read.sha256.encode())
        digest.update(self.distillation.model_dump_json().encode())
        digest.update(self.companions.model_dump_json().encode())
        digest.update(self.settings.model_dump_json().encode())
        digest.update("\0".join(self.catalogue).encode(errors="replace"))
        for column in (task.known, task.pool.offsets, task.pool.items):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def hold_out_last(histories: Histories) -> tuple[Histories, NDArray[np.int64]]:
    """Take the last event of each user who has another one, to validate by.

    Returns:
        what is left, and per user the item, or -1 where there is none.
    """
    lengths = histories.lengths()
    has = lengths >= 2
    last = histories.offsets[1:][has] - 1
    validation = np.full(histories.num_users, -1, dtype=np.int64)
    validation[has] = histories.items[last]
    kept = np.ones(len(histories.items), dtype=np.bool_)
    kept[last] = False
    offsets = np.concatenate([[0], np.cumsum(lengths - has)]).astype(np.int64)
    return Histories(offsets, histories.items[kept]), validation
