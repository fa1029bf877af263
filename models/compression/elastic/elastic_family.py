"""A family of encoders from one run: a bundle for every device tier, each with its own budget.

```
texts, teacher --> words in nesting order --> sizes: as many words as each budget holds
                                                |
               pieces of all texts, per size <--+--> elastic student --one training--> slices
                                                                                        |
                    per size: polish, export, quantization, bundle  <-------------------+
```

Before and after the one training all stages are those of `pipeline`: a family is a compression of
the same texts by the same teacher, and each slice ships like any other student. `own_run` trains a
size by itself with the same words, steps and rates, which is what a family is measured against.

A training that was killed goes on from its last checkpoint; the other stages take minutes.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import ValidationError

from models.bundle import LARGEST_BUNDLE_BYTES, EncoderBundle
from models.compression.elastic.elastic_student import (
    ElasticSettings,
    ElasticStudent,
    slice_student,
)
from models.compression.elastic.elastic_training import ElasticLessons, train_elastic
from models.compression.elastic.elastic_warm_start import start_elastic
from models.compression.elastic.family_settings import FamilySettings, check_family
from models.compression.elastic.nested_words import nesting_order, size_for_budget
from models.compression.job import Job, drawing_weights, reading_settings, sha256_of_text
from models.compression.neighbours import neighbour_agreement
from models.compression.pipeline import (
    BESIDE_GRAPH_BYTES,
    ask_teacher,
    pretrain_student,
    prune_words,
    start_student,
    weighed_texts,
)
from models.compression.pretraining.curriculum import MOST_JUDGED, Curriculum
from models.compression.pretraining.general_distillation import vector_loss
from models.compression.pruning.hard_pruning import (
    count_words,
    frequent_characters,
    word_scores,
)
from models.compression.pruning.vocabulary import Vocabulary
from models.compression.report import StageClock
from models.compression.settings import CompressionSettings
from models.compression.shipping import ship
from models.compression.student import Student
from models.compression.teacher.corpus import Corpus
from models.compression.teacher.text_teacher import TextTeacher
from models.encoder import Encoder
from models.errors import DataError, SettingsError
from models.progress import Progress, silent
from models.seeds import integer_seed
from models.wordpiece import build_tokenizer, split_texts

SHIPPING_STAGES = 4
OWN_STAGES = 2 + SHIPPING_STAGES

NEIGHBOURS = 10

_SPLIT_TEXTS = 10_000
"""Texts that are split at a time: what a tokenizer returns is far larger than the pieces."""


@dataclass(frozen=True, slots=True)
class SizeFigures:
    """What one size weighs and is worth, as it ships.

    Attributes:
        name: of the size.
        words: of its vocabulary.
        num_bytes: of the whole bundle.
        budget_bytes: most it may have.
        vector_size: numbers per text.
        neighbours: share of the 10 nearest in common with the teacher, on held-back texts.
        cosine: mean cosine with the teacher's reduced vectors, on held-back texts.
    """

    name: str
    words: int
    num_bytes: int
    budget_bytes: int
    vector_size: int
    neighbours: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Family:
    """All that the training of a family needs.

    Attributes:
        teacher: the text teacher.
        curriculum: the texts and what the teacher said of them.
        words: of the largest size, in nesting order.
        elastic: sizes with their words, and how they learn.
        lessons: the texts in each size's pieces.
        settings: of the family.
        base: of the compression that it extends.
        seed: of every draw.
        fingerprint: SHA-256 of all that the bundles depend on.
        work: folder of what is not finished.
    """

    teacher: TextTeacher
    curriculum: Curriculum
    words: Vocabulary
    elastic: ElasticSettings
    lessons: ElasticLessons
    settings: FamilySettings
    base: CompressionSettings
    seed: int
    fingerprint: str
    work: Path

    @property
    def judged(self) -> np.ndarray:
        """Rows of the held-back texts that sizes are judged by."""
        rows = np.flatnonzero(self.curriculum.held_back)
        spread = np.linspace(0, len(rows) - 1, min(MOST_JUDGED, len(rows))).astype(np.int64)
        return np.asarray(rows[spread])

    def train(self, progress: Progress = silent) -> tuple[ElasticStudent, list[float]]:
        """Train all sizes in one run; return the elastic student and the loss of every step."""
        elastic = ElasticStudent(self.elastic.sizes, integer_seed(self.seed, "elastic-weights"))
        start_elastic(
            elastic,
            replace(self.lessons, weights=_some(self.lessons.weights, self.settings.start_texts)),
            self.words.seed_embeddings(self.teacher.word_embeddings()),
            self.base.warm_start,
            integer_seed(self.seed, "elastic-seats"),
        )
        ours = self.base.pretraining
        loss = partial(
            vector_loss, relation_weight=ours.relation_weight, temperature=ours.temperature
        )
        checkpoints = self.work / "elastic"
        losses = train_elastic(
            elastic, self.lessons, self.elastic, loss, self.seed, progress, checkpoints
        )
        return elastic, losses

    def ship_slice(
        self, elastic: ElasticStudent, place: int, out: Path, progress: Progress = silent
    ) -> SizeFigures:
        """Cut a size out of the trained student and write its bundle.

        Args:
            elastic: trained.
            place: of the size.
            out: the bundle's folder.
            progress: told about stages and steps.

        Raises:
            BudgetError: if the bundle does not fit, or rounding broke the student.
        """
        job = self._job(place, "slice", progress)
        clock = StageClock(job.progress, SHIPPING_STAGES)
        bundle, _ = ship(clock, job, slice_student(elastic, place), out)
        return self._judge(bundle, place)

    def own_run(self, place: int, out: Path, progress: Progress = silent) -> SizeFigures:
        """Train one size by itself: same words, texts, steps and rates; write its bundle.

        Args:
            place: of the size.
            out: the bundle's folder.
            progress: told about stages and steps.

        Raises:
            BudgetError: if the bundle does not fit, or rounding broke the student.
        """
        job = self._job(place, "own", progress)
        clock = StageClock(job.progress, OWN_STAGES)
        student: Student = clock.run("student", start_student, job)
        clock.run("pretraining", pretrain_student, job, student)
        bundle, _ = ship(clock, job, student, out)
        return self._judge(bundle, place)

    def _job(self, place: int, of: Literal["slice", "own"], progress: Progress) -> Job:
        """What a size is trained on."""
        # Apart, as both have a polish: one that found the other's on disk would go on with it.
        work = self.work / of / self.elastic.sizes[place].name
        size = self.elastic.sizes[place]
        return Job(
            teacher=self.teacher,
            lessons=replace(self.curriculum, targets=self._targets(place)),
            words=self.words.take(range(size.words)),
            ids=[list(ids) for ids in self.lessons.ids[place]],
            settings=self.settings.of_size(place, self.base),
            settings_sha256=self.fingerprint,
            seed=self.seed,
            work=work,
            progress=lambda what, done, total: progress(f"{size.name}: {what}", done, total),
        )

    def _targets(self, place: int) -> np.ndarray:
        """The first numbers of the targets, as many as a size has, made length 1 again."""
        whole, count = self.curriculum.targets, self.elastic.sizes[place].student.vector_size
        if count == whole.shape[1]:
            return whole
        lengths = np.linalg.norm(whole[:, :count], axis=1, keepdims=True)
        return np.asarray(whole[:, :count] / np.maximum(lengths, 1e-12), np.float32)

    def _judge(self, bundle: EncoderBundle, place: int) -> SizeFigures:
        """Ask a bundle as a phone does, a text a request."""
        rows, size = self.judged, self.elastic.sizes[place]
        encoder = Encoder.load(bundle.folder, budget_bytes=LARGEST_BUNDLE_BYTES)
        texts = self.curriculum.texts.everything
        vectors = encoder.encode([texts[row] for row in rows])
        theirs = self.curriculum.teacher_vectors[rows]
        return SizeFigures(
            name=size.name,
            words=size.words,
            num_bytes=bundle.num_bytes,
            budget_bytes=self.settings.sizes[place].budget_bytes,
            vector_size=encoder.vector_size,
            neighbours=neighbour_agreement(theirs, vectors, NEIGHBOURS),
            cosine=float((vectors * self._targets(place)[rows]).sum(axis=1).mean()),
        )


def prepare_family(
    teacher: str | Path,
    corpus: Corpus,
    base: CompressionSettings,
    settings: FamilySettings,
    cache: Path,
    seed: int,
    threads: int,
    progress: Progress = silent,
) -> Family:
    """Let the teacher read, choose and order the words, and split the texts for each size.

    Args:
        teacher: a Hugging Face folder or id.
        corpus: what all sizes learn from.
        base: the compression that the family extends; its budget, student and steps are not used.
        settings: the sizes and how they learn.
        cache: folder of the teacher's readings and of unfinished work.
        seed: of every draw.
        threads: of torch and NumPy; they are part of what the bundles depend on.
        progress: told about each batch.

    Raises:
        DataError: if the teacher or the corpus cannot be used.
        SettingsError: if the family cannot be made of these words.
        BudgetError: if a size has no room for what spells.
    """
    check_family(settings, base)
    largest = settings.of_size(len(settings.sizes) - 1, base)
    (reader, curriculum), _ = ask_teacher(teacher, corpus, largest, cache, seed, progress)
    if curriculum.held_back.sum() < 2:
        raise DataError(
            f"of {len(curriculum.held_back)} texts {int(curriculum.held_back.sum())} are held "
            "back, and sizes are judged by 2 or more: give more texts, or lower "
            "compression.corpus.held_back_every"
        )
    progress("choosing and ordering the words", 0, 1)
    words, num_required = _nested_words(reader, curriculum, largest, seed)
    elastic = _with_words(settings, base, words, num_required)
    progress("choosing and ordering the words", 1, 1)
    ids = _split(reader, words, elastic, largest, curriculum.texts.everything, progress)
    weights = drawing_weights(curriculum, base)
    return Family(
        teacher=reader,
        curriculum=curriculum,
        words=words,
        elastic=elastic,
        lessons=ElasticLessons(ids, curriculum.targets, weights),
        settings=settings,
        base=base,
        seed=seed,
        fingerprint=(known := _fingerprint(reader, curriculum, settings, base, seed, threads)),
        work=cache / "elastic" / known[:32],
    )


def _nested_words(
    teacher: TextTeacher, curriculum: Curriculum, largest: CompressionSettings, seed: int
) -> tuple[Vocabulary, int]:
    """Prune for the largest size, then order by worth; return how many none can do without."""
    kept, _ = prune_words(teacher, curriculum, largest, seed)
    kinds = weighed_texts(curriculum, largest.pruning.item_weight)
    reading = reading_settings(teacher, largest)
    tokenizer = build_tokenizer(teacher.standard_vocabulary, reading)
    counts = sum(
        (count_words(kind.texts, tokenizer, reading) for kind in kinds[1:]),
        start=count_words(kinds[0].texts, tokenizer, reading),
    )
    scores = word_scores(kinds, largest.pruning.criterion, seed)[kept.teacher_ids]
    characters = frequent_characters(counts, largest.pruning.character_min_count)
    return nesting_order(kept, scores, characters)


def _with_words(
    settings: FamilySettings, base: CompressionSettings, words: Vocabulary, num_required: int
) -> ElasticSettings:
    """Count out the words of each size."""
    sizes = [
        size_for_budget(
            size.name,
            size.student,
            settings.of_size(place, base).plan,
            words.pieces,
            num_required,
            size.budget_bytes - BESIDE_GRAPH_BYTES,
        )
        for place, size in enumerate(settings.sizes)
    ]
    try:
        return ElasticSettings(sizes=tuple(sizes), **settings.training.model_dump())
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError(
            f"{problem}: raise the budget_bytes of the larger size, or make the smaller one wider"
        ) from error


def _split(
    teacher: TextTeacher,
    words: Vocabulary,
    elastic: ElasticSettings,
    largest: CompressionSettings,
    texts: Sequence[str],
    progress: Progress,
) -> list[list[Sequence[int]]]:
    """Return per size the pieces of every text, 4 bytes a piece: lists would take gigabytes."""
    found: list[list[Sequence[int]]] = []
    for place, size in enumerate(elastic.sizes):
        progress("splitting the texts for each size", place, len(elastic.sizes))
        settings = largest.model_copy(update={"student": size.student})
        reading = reading_settings(teacher, settings)
        tokenizer = build_tokenizer(words.pieces[: size.words], reading)
        longest = size.student.max_tokens
        split: list[Sequence[int]] = []
        for first in range(0, len(texts), _SPLIT_TEXTS):
            some = split_texts(tokenizer, texts[first : first + _SPLIT_TEXTS], longest)
            split += [array("i", ids) for ids in some]
        found.append(split)
    progress("splitting the texts for each size", len(found), len(found))
    return found


def _some(weights: np.ndarray, count: int) -> np.ndarray:
    """Return weights that keep `count` of the texts with any, spread over all; they sum to 1."""
    learnt = np.flatnonzero(weights)
    rows = learnt[np.linspace(0, len(learnt) - 1, min(count, len(learnt))).astype(np.int64)]
    kept = np.zeros_like(weights)
    kept[rows] = weights[rows]
    return np.asarray(kept / kept.sum())


def _fingerprint(
    teacher: TextTeacher,
    curriculum: Curriculum,
    settings: FamilySettings,
    base: CompressionSettings,
    seed: int,
    threads: int,
) -> str:
    """The hash of all that the bundles depend on, but for the code."""
    known = (
        teacher.fingerprint,
        sha256_of_text("\0".join(curriculum.texts.everything)),
        settings.model_dump_json(),
        base.model_dump_json(),
        seed,
        threads,
        torch.__version__,
    )
    return sha256_of_text(repr(known))
