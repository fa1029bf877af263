"""The whole compression: eight stages, eight rows of the report, one bundle.

```
text_teacher   the teacher reads items, queries and prose: vectors and attention
pruning        which of its words the student keeps
student        a small ALBERT that starts as the best bag of words
pretraining    it learns to give each text the teacher's vector
polish         it goes on under the rounding of its weights, if the plan asks for it
export         an fp32 ONNX graph, equal to torch
quantization   the same graph in few bits
bundle         graph, vocabulary, tokenizer settings, manifest: at most 1,910,000 bytes
```

The stages are EI-BERT's [1]; what is the paper's and what is our choice stands in each stage's
module. What comes out is the *general* encoder, or that of one catalogue. Its second half,
cross-distillation with the head of a task, starts from a bundle: see `cross_distillation` and
`recommender_distillation`.

A run that was killed goes on: the teacher's reading and the pre-training are kept on disk as they
go, the other stages take seconds and give the same bytes again.

[1] Wang et al., "Put Teacher in Student's Shoes", KDD 2025, arXiv 2507.04636.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from onnx import ModelProto
from pydantic import BaseModel, Field, model_validator

from models.bundle import (
    ENCODER_BUDGET_BYTES,
    GRAPH,
    TOKENIZER,
    VOCABULARY,
    EncoderBundle,
    write_bundle,
)
from models.compression.export.encoder_graph import (
    bytes_per_word,
    check_parity,
    export_graph,
    graph_bytes_without_words,
)
from models.compression.export.graph import graph_parts
from models.compression.judgement import compare_graphs, learning_figures
from models.compression.pretraining.batches import encode_ids
from models.compression.pretraining.curriculum import Curriculum, learning_weights, study
from models.compression.pretraining.general_distillation import (
    Lessons,
    PretrainingSettings,
    pretrain,
    teacher_states,
)
from models.compression.pretraining.warm_start import (
    WarmStartSettings,
    bag_of_words,
    fit_word_vectors,
    seat,
)
from models.compression.pruning.hard_pruning import PruningSettings, WeighedTexts, prune
from models.compression.pruning.vocabulary import Vocabulary
from models.compression.quantization.few_bits import FULL, BitPlan, plan_bits, uniform
from models.compression.quantization.polish import PolishSettings, polish
from models.compression.report import CompressionReport, Figure, ParityFigures, StageClock
from models.compression.student import Student, StudentSettings, build_student, count_weights
from models.compression.teacher.corpus import Corpus, CorpusSettings, collect
from models.compression.teacher.text_teacher import TeacherSettings, TextTeacher, load_text_teacher
from models.compression.threads import fixed_threads
from models.progress import Progress, silent
from models.seeds import integer_seed
from models.wordpiece import (
    TokenizerSettings,
    build_tokenizer,
    split_texts,
    vocabulary_to_bytes,
)

STAGES = 8
JUDGING_BATCH = 128

BESIDE_GRAPH_BYTES = 2_600
"""Kept free for manifest and tokenizer settings when words are counted out."""


class QuantizationSettings(BaseModel, extra="forbid", frozen=True):
    """How many bits the weights of the shipped graph have."""

    embedding_bits: Literal[2, 3, 4, 5, 6, 8] = Field(description="of words and positions")
    matrix_bits: Literal[2, 3, 4, 5, 6, 8] = Field(description="of all other matrices")
    polish: PolishSettings


class CompressionSettings(BaseModel, extra="forbid", frozen=True):
    """Everything a compression can be told, a section per stage."""

    budget_bytes: int = Field(
        description="most bytes of the whole bundle", ge=10_000, le=ENCODER_BUDGET_BYTES
    )
    corpus: CorpusSettings
    teacher: TeacherSettings
    pruning: PruningSettings
    student: StudentSettings
    warm_start: WarmStartSettings
    pretraining: PretrainingSettings
    quantization: QuantizationSettings

    @model_validator(mode="after")
    def _states_have_pieces(self) -> "CompressionSettings":
        if self.pruning.criterion == "fresh" and self.pretraining.state_weight:
            raise ValueError(
                f"pretraining.state_weight {self.pretraining.state_weight} asks for the teacher's "
                'states at its own pieces, and pruning.criterion "fresh" makes others: set '
                "state_weight to 0"
            )
        return self

    @property
    def plan(self) -> BitPlan:
        """The bits of each weight of the student."""
        bits = self.quantization
        return plan_bits(self.student, bits.embedding_bits, bits.matrix_bits)


def compress(
    teacher: str | Path,
    corpus: Corpus,
    settings: CompressionSettings,
    out: Path,
    cache: Path,
    seed: int,
    threads: int,
    progress: Progress = silent,
) -> CompressionReport:
    """Compress a text teacher into an encoder bundle.

    The same teacher, corpus, settings, seed and number of threads give the same bundle, byte by
    byte, on the same machine and library versions, whether it was killed on the way or not.

    Args:
        teacher: a Hugging Face folder or id.
        corpus: what the student learns from.
        settings: see `CompressionSettings`.
        out: the bundle's folder; the report is written beside it as `<name>-report.json`.
        cache: folder of the teacher's readings, reused by later runs, and of unfinished work.
        seed: of every draw.
        threads: threads of torch and NumPy, >= 1.
        progress: told about stages, batches and steps.

    Raises:
        DataError: if the teacher or the corpus cannot be used.
        BudgetError: if the bundle does not fit into its budget.
    """
    with fixed_threads(threads):
        clock = StageClock(progress, STAGES)
        reader, lessons = clock.run(
            "text_teacher", ask_teacher, teacher, corpus, settings, cache, seed, progress
        )
        work = cache / "compressions" / _address(reader, lessons, settings, seed, threads)
        words = clock.run("pruning", prune_words, reader, lessons, settings, seed)
        ids = _split(reader, words, settings, lessons.texts.everything)
        digest = sha256_of_text(settings.model_dump_json())
        job = Job(reader, lessons, words, ids, settings, digest, seed, work, progress)
        student = clock.run("student", start_student, job)
        clock.run("pretraining", pretrain_student, job, student)
        bundle, parity = ship(clock, job, student, out)
        report = CompressionReport(
            stages=tuple(clock.rows),
            byte_table=bundle.byte_table(),
            bundle_bytes=bundle.num_bytes,
            budget_bytes=settings.budget_bytes,
            parity=parity,
        )
    report.write(out.with_name(f"{out.name}-report.json"))
    shutil.rmtree(work, ignore_errors=True)  # kept until now for a run that is killed
    return report


@dataclass(frozen=True, slots=True)
class Job:
    """What the later stages share, of `compress` and of every size of an elastic family.

    Attributes:
        teacher: the text teacher.
        lessons: the texts and what the teacher said of them.
        words: the student's.
        ids: the student's pieces of every text.
        settings: all of them.
        settings_sha256: of all that was asked for; it stands in the manifest.
        seed: of every draw.
        work: folder of what is not finished.
        progress: told about steps.
    """

    teacher: TextTeacher
    lessons: Curriculum
    words: Vocabulary
    ids: list[list[int]]
    settings: CompressionSettings
    settings_sha256: str
    seed: int
    work: Path
    progress: Progress

    def course(self) -> Lessons:
        """What the student is trained on."""
        states = None
        if self.settings.pretraining.state_weight:
            states = teacher_states(self.teacher, self.words.teacher_ids)
        weights = drawing_weights(self.lessons, self.settings)
        return Lessons(self.ids, self.lessons.targets, weights, states, self.teacher.width)


def ask_teacher(
    source: str | Path,
    corpus: Corpus,
    settings: CompressionSettings,
    cache: Path,
    seed: int,
    progress: Progress,
) -> tuple[tuple[TextTeacher, Curriculum], dict[str, Figure]]:
    """Let the teacher read the texts of a corpus; return it, what there is to learn, and figures.

    Raises:
        DataError: if the teacher or the corpus cannot be used.
    """
    teacher = load_text_teacher(source, settings.teacher)
    lessons = study(
        teacher,
        collect(corpus, settings.corpus, seed),
        settings.student.vector_size,
        settings.corpus.held_back_every,
        settings.corpus.attention_every,
        cache,
        progress,
    )
    return (teacher, lessons), {
        "items": len(lessons.texts.items),
        "queries": len(lessons.texts.queries),
        "prose": len(lessons.texts.prose),
        "held_back": int(lessons.held_back.sum()),
        "vector_share_kept": lessons.share_kept,
    }


def prune_words(
    teacher: TextTeacher, lessons: Curriculum, settings: CompressionSettings, seed: int
) -> tuple[Vocabulary, dict[str, Figure]]:
    """Choose as many words as the budget holds beside the graph; return them with their figures.

    Raises:
        BudgetError: if not even what spells fits.
    """
    rest = graph_bytes_without_words(settings.student, settings.plan) + BESIDE_GRAPH_BYTES
    return prune(
        weighed_texts(lessons, settings.pruning.item_weight),
        teacher,
        max_tokens=settings.student.max_tokens,
        row_bytes=bytes_per_word(settings.student, settings.quantization.embedding_bits),
        budget_bytes=settings.budget_bytes - rest,
        settings=settings.pruning,
        seed=seed,
    )


def weighed_texts(lessons: Curriculum, item_weight: float) -> list[WeighedTexts]:
    """Return items and prose with their weights; queries only repeat words of items."""
    readings = iter(lessons.readings)
    kinds = ((lessons.texts.items, item_weight), (lessons.texts.queries, 0.0))
    parts = []
    for texts, weight in (*kinds, (lessons.texts.prose, 1.0)):
        if texts:
            reading = next(readings)
            whole = (texts, reading.attention_everywhere, reading.all_occurrences)
            parts += [WeighedTexts(*whole, weight)] if weight else []
    return parts


def _split(
    teacher: TextTeacher, words: Vocabulary, settings: CompressionSettings, texts: Sequence[str]
) -> list[list[int]]:
    tokenizer = build_tokenizer(words.pieces, reading_settings(teacher, settings))
    return split_texts(tokenizer, texts, settings.student.max_tokens)


def start_student(job: Job) -> tuple[Student, dict[str, Figure]]:
    """Make the student that starts as the best bag of words; return it with its figures."""
    learnt = (~job.lessons.held_back).nonzero()[0]
    word_vectors = fit_word_vectors(
        bag_of_words([job.ids[row] for row in learnt], len(job.words.pieces)),
        job.lessons.targets[learnt],
        drawing_weights(job.lessons, job.settings)[learnt] * len(learnt),
        job.words.seed_embeddings(job.teacher.word_embeddings()),
        job.settings.warm_start,
    )
    fresh = integer_seed(job.seed, "student-weights")
    student = build_student(job.settings.student, len(job.words.pieces), fresh)
    seat(student, word_vectors, job.settings.warm_start, integer_seed(job.seed, "student-seats"))
    return student, {**count_weights(student), **_learnt(job, student)}


def pretrain_student(job: Job, student: Student) -> tuple[None, dict[str, Figure]]:
    """Train the student in place, from the checkpoint on if there is one; return the figures."""
    losses = pretrain(
        student,
        job.course(),
        job.settings.pretraining,
        job.seed,
        job.progress,
        job.work / "pretraining",
    )
    recent = losses[-min(50, len(losses)) :]
    loss = sum(recent) / len(recent)
    return None, {"steps": len(losses), "loss": loss, **_learnt(job, student)}


def ship(
    clock: StageClock, job: Job, student: Student, out: Path
) -> tuple[EncoderBundle, ParityFigures]:
    """Turn a trained student into a bundle: polish, export, quantization, bundle.

    Args:
        clock: gets a row for each of the four stages.
        job: what it was trained on; its budget is the bundle's.
        student: trained; the polish changes it.
        out: the bundle's folder.

    Raises:
        BudgetError: if the bundle does not fit, or rounding broke the student.
    """
    clock.run("polish", _polish, job, student)
    graph, difference = clock.run("export", _export, job, student)
    small, parity = clock.run("quantization", _quantization, job, student, graph, difference)
    return clock.run("bundle", _bundle, job, small, out), parity


def _polish(job: Job, student: Student) -> tuple[None, dict[str, Figure]]:
    settings = job.settings.quantization.polish
    learnt = (~job.lessons.held_back).nonzero()[0]
    losses = polish(
        student,
        job.settings.plan,
        [job.ids[row] for row in learnt],
        job.lessons.targets[learnt],
        settings,
        job.seed,
        job.progress,
    )
    return None, {"steps": len(losses), "loss": losses[-1] if losses else 0.0}


def _export(job: Job, student: Student) -> tuple[tuple[ModelProto, float], dict[str, Figure]]:
    graph = export_graph(student, uniform(student, FULL))
    judged = [job.ids[row] for row in job.lessons.judged]
    difference = check_parity(student, graph, judged)
    return (graph, difference), {
        "fp32_bytes": graph.ByteSize(),
        "nodes": len(graph.graph.node),
        "torch_onnx_max_abs_diff": difference,
    }


def _quantization(
    job: Job, student: Student, graph: ModelProto, difference: float
) -> tuple[tuple[ModelProto, ParityFigures], dict[str, Figure]]:
    small = export_graph(student, job.settings.plan)
    full, few = (model.SerializeToString() for model in (graph, small))
    parity = compare_graphs(full, few, job.ids, job.lessons, difference)
    return (small, parity), {
        "graph_bytes": small.ByteSize(),
        "shrunk_by": graph.ByteSize() / small.ByteSize(),
        "int8_fp32_cosine": parity.int8_fp32_cosine,
        "neighbours": parity.teacher_neighbour_agreement,
    }


def _bundle(job: Job, graph: ModelProto, out: Path) -> tuple[EncoderBundle, dict[str, Figure]]:
    settings = job.settings
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        VOCABULARY: vocabulary_to_bytes(job.words.pieces),
        TOKENIZER: reading_settings(job.teacher, settings).to_bytes(),
    }
    bundle = write_bundle(
        out,
        files,
        graph_parts=graph_parts(graph),
        vector_size=settings.student.vector_size,
        origin={
            "teacher_sha256": job.teacher.fingerprint,
            "settings_sha256": job.settings_sha256,
            "seed": job.seed,
            "student": settings.student.model_dump(),
            "bits": dict(settings.plan),
        },
        budget_bytes=settings.budget_bytes,
    )
    free = settings.budget_bytes - bundle.num_bytes
    return bundle, {"bundle_bytes": bundle.num_bytes, "free_bytes": free}


def _learnt(job: Job, student: Student) -> dict[str, Figure]:
    def encode(rows: np.ndarray) -> np.ndarray:
        return encode_ids(student, [job.ids[row] for row in rows], JUDGING_BATCH)

    return learning_figures(job.lessons, encode)


def _address(
    teacher: TextTeacher,
    lessons: Curriculum,
    settings: CompressionSettings,
    seed: int,
    threads: int,
) -> str:
    """Return what all later stages depend on, as the name of their folder of unfinished work."""
    texts = sha256_of_text("\0".join(lessons.texts.everything))
    known = (
        teacher.fingerprint,
        texts,
        settings.model_dump_json(),
        seed,
        threads,
        torch.__version__,
    )
    return sha256_of_text(repr(known))[:32]


def sha256_of_text(text: str) -> str:
    """Return the SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def reading_settings(teacher: TextTeacher, settings: CompressionSettings) -> TokenizerSettings:
    """Return how the student reads: case and accents as its teacher, cut to its own length."""
    return TokenizerSettings(
        lowercase=teacher.lowercase,
        strip_accents=teacher.strip_accents,
        max_tokens=settings.student.max_tokens,
    )


def drawing_weights(lessons: Curriculum, settings: CompressionSettings) -> np.ndarray:
    """Return how often each text is drawn, (n,) float64, sums to 1; held-back ones never."""
    shares = settings.pretraining
    return learning_weights(lessons, shares.item_share, shares.query_share)
