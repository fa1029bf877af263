"""Cross-distil an encoder for the recommendation task at hand, and make its bundle.

    bundle         --> student, words, bits                   (`general_students`)
    task's pool    --> fit | validation = each user's last training event
    fit            --> the teacher's recommender --> cross-distillation --> bundle, recommender

Each task has a course of its own: the encoder learns from who chose what, so one that was taught on
all events must not be judged on cold items. Held-out items of the task are seen by nobody. The new
bundle has the bits of the one it came from, and the student learns with its weights rounded to
them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from models.compression.export.encoder_graph import export_graph, graph_parts
from models.compression.quantization.few_bits import BitPlan
from models.compression.recommendation.recommender_distillation import (
    RecommenderDistillationSettings,
    TaughtRecommender,
    cross_distil_recommender,
)
from models.compression.recommendation.recommender_pair import (
    RecommendationLessons,
    TrainedRecommender,
)
from models.compression.teacher.corpus import cut_short, short_queries
from models.histories import Histories
from models.progress import Progress, silent
from models.text_space import TextSpace
from models.wordpiece import split_texts, vocabulary_to_bytes
from server.server_teacher import train_on_pooled_data
from simulation.data.prose import distillation_prose
from simulation.experiments.encoders.general_students import GeneralStudent
from simulation.experiments.encoders.ranking_tasks import RankingTask
from simulation.experiments.encoders.text_readers import TextReader
from simulation.settings import Settings


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
        teacher: reads texts as the text teacher does.
        catalogue: item texts, (N,).
        cache: the cache folder.
    """

    settings: Settings
    distillation: RecommenderDistillationSettings
    companions: CompanionSettings
    teacher: TextReader
    catalogue: Sequence[str]
    cache: Path

    def teach(
        self, start: Path, task: RankingTask, folder: Path, progress: Progress = silent
    ) -> tuple[TaughtRecommender, EncoderBundle]:
        """Cross-distil a student for a task and write its bundle.

        A course that was killed goes on from its last checkpoint.

        Args:
            start: a bundle that gives vectors; it stays as it is.
            task: what is trained on.
            folder: where `bundle/` and the checkpoints go.
            progress: told about every step.

        Raises:
            DataError: if `start` is no such bundle, or nothing can be learnt from the task.
            BudgetError: if the bundle is over its budget.
        """
        general = GeneralStudent.of_bundle(start)
        plan = {name: int(bits) for name, bits in _origin(start)["bits"].items()}
        raw = self.teacher.read(self.catalogue)
        fit, validation = hold_out_last(task.pool)
        lessons = self._lessons(general, raw, task, fit, validation, progress)
        head = self._teachers_recommender(raw, task, fit, progress)
        address = self._address(general, task)
        taught = cross_distil_recommender(
            general.student,
            head,
            lessons,
            self.distillation,
            self.settings.seed,
            progress,
            folder / f"checkpoints-{address[:16]}",
            plan,
        )
        return taught, self._bundle(general, plan, folder / "bundle", address)

    def _lessons(
        self,
        general: GeneralStudent,
        raw: NDArray[np.float32],
        task: RankingTask,
        fit: Histories,
        validation: NDArray[np.int64],
        progress: Progress,
    ) -> RecommendationLessons:
        beside = self.companions.texts(self.catalogue, self.cache, self.settings.seed, progress)

        def split(texts: Sequence[str]) -> list[list[int]]:
            return split_texts(general.tokenizer, texts, general.reading.max_tokens)

        return RecommendationLessons(
            item_ids=split(self.catalogue),
            item_vectors=raw,
            known=task.known,
            histories=fit,
            validation=validation,
            companion_ids=split(beside),
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
        self, general: GeneralStudent, plan: BitPlan, folder: Path, address: str
    ) -> EncoderBundle:
        student = general.student  # taught in place
        graph = export_graph(student, plan)
        return write_bundle(
            folder,
            {
                GRAPH: graph.SerializeToString(deterministic=True),
                VOCABULARY: vocabulary_to_bytes(general.pieces),
                TOKENIZER: general.reading.to_bytes(),
            },
            graph_parts=graph_parts(graph),
            vector_size=student.settings.vector_size,
            origin={
                "start_sha256": general.fingerprint,
                "course_sha256": address,
                "seed": self.settings.seed,
                "student": student.settings.model_dump(),
                "bits": plan,
            },
            budget_bytes=ENCODER_BUDGET_BYTES,
        )

    def _address(self, general: GeneralStudent, task: RankingTask) -> str:
        """What the outcome depends on, as one hash."""
        digest = hashlib.sha256(general.fingerprint.encode())
        digest.update(self.distillation.model_dump_json().encode())
        digest.update(self.companions.model_dump_json().encode())
        digest.update(self.settings.model_dump_json().encode())
        digest.update("\0".join(self.catalogue).encode(errors="replace"))
        for column in (task.known, task.pool.offsets, task.pool.items):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def _origin(folder: Path) -> Mapping[str, Any]:
    origin: Mapping[str, Any] = EncoderBundle.open(folder).manifest["origin"]
    return origin


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
