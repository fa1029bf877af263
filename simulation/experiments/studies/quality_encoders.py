"""The encoder between the stages of its compression: what each gives for a catalogue.

    all words    the student with all words of its teacher, fp32; no phone could hold it
    pruned       the words that fit the budget, fp32
    few bits     the same student in the bits that ship, polished first if the settings ask for it

The product keeps only what ships, so the student is trained here once more, with the settings and
the seed of the bundle. On one thread the last step is the bundle itself (`text.threads = 1`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.compression.export.encoder_graph import bytes_per_word, export_graph
from models.compression.job import Job, reading_settings, sha256_of_text
from models.compression.pipeline import (
    ask_teacher,
    pretrain_student,
    prune_words,
    start_student,
    weighed_texts,
)
from models.compression.pretraining.curriculum import Curriculum
from models.compression.pruning.hard_pruning import prune
from models.compression.pruning.vocabulary import Vocabulary
from models.compression.quantization.few_bits import FULL, BitPlan, uniform
from models.compression.quantization.polish import polish
from models.compression.settings import CompressionSettings
from models.compression.student import Student
from models.compression.teacher.text_teacher import TextTeacher
from models.encoder import open_session, run_graph
from models.progress import silent
from models.threads import fixed_threads
from models.wordpiece import build_tokenizer, split_texts
from simulation.experiments.materials import encoder_corpus, find_teacher
from simulation.settings import Settings

Words = Literal["all", "pruned"]
FP32, FEW_BITS = "fp32", "few-bits"

NO_BUDGET_BYTES = 10**9
"""More than all words of any teacher have."""


def student_vectors(
    settings: Settings, catalogue: Sequence[str], words: Words, seed: int, work: Path, cache: Path
) -> dict[str, NDArray[np.float32]]:
    """Train a student and let it encode the catalogue.

    Args:
        settings: `text` and `compression` count.
        catalogue: item texts, (N,).
        words: whether the budget cuts the vocabulary.
        seed: of the compression.
        work: folder of the unfinished training, so that a killed one goes on.
        cache: the cache folder.

    Returns:
        raw vectors (N, V) under `FP32`, and under `FEW_BITS` with the plan's bits.
    """
    how = settings.compression
    with fixed_threads(settings.text.threads):
        corpus = encoder_corpus(settings.model_copy(update={"seed": seed}), list(catalogue), cache)
        source = find_teacher(settings, cache)
        (teacher, lessons), _ = ask_teacher(source, corpus, how, cache, seed, silent)
        kept = _vocabulary(teacher, lessons, how, words, seed)
        tokenizer = build_tokenizer(kept.pieces, reading_settings(teacher, how))
        ids = split_texts(tokenizer, lessons.texts.everything, how.student.max_tokens)
        digest = sha256_of_text(how.model_dump_json())
        job = Job(teacher, lessons, kept, ids, how, digest, seed, work, silent)
        student, _ = start_student(job)
        pretrain_student(job, student)
        rows = split_texts(tokenizer, catalogue, how.student.max_tokens)
        full = _encoded(student, uniform(student, FULL), rows)
        _polish(job, student)
        return {FP32: full, FEW_BITS: _encoded(student, how.plan, rows)}


def _polish(job: Job, student: Student) -> None:
    """Train on under the rounding of the weights, as the product does before it ships."""
    learnt = (~job.lessons.held_back).nonzero()[0]
    polish(
        student,
        job.settings.plan,
        [job.ids[row] for row in learnt],
        job.lessons.targets[learnt],
        job.settings.quantization.polish,
        job.seed,
        job.progress,
        job.work / "polish",
    )


def _vocabulary(
    teacher: TextTeacher, lessons: Curriculum, how: CompressionSettings, words: Words, seed: int
) -> Vocabulary:
    if words == "pruned":
        return prune_words(teacher, lessons, how, seed)[0]
    return prune(
        weighed_texts(lessons, how.pruning.item_weight),
        teacher,
        max_tokens=how.student.max_tokens,
        row_bytes=bytes_per_word(how.student, how.plan["words"]),
        budget_bytes=NO_BUDGET_BYTES,
        settings=how.pruning,
        seed=seed,
    )[0]


def _encoded(student: Student, plan: BitPlan, rows: Sequence[list[int]]) -> NDArray[np.float32]:
    """Vectors of texts given in pieces, one text a request as on a phone, (N, V)."""
    session = open_session(export_graph(student, plan).SerializeToString())
    return np.concatenate([run_graph(session, np.asarray([ids], np.int64)) for ids in rows])
