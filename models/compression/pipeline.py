"""The whole compression: seven stages, seven rows of the report, one bundle.

```
text_teacher   the teacher reads items, queries and prose: vectors and attention
pruning        which of its words the student keeps
student        a small ALBERT that starts as the best bag of words
distillation   it learns to give each text the teacher's vector
export         an fp32 ONNX graph, equal to torch
quantization   the same graph in 8 bits
bundle         graph, vocabulary, tokenizer settings, manifest: at most 1,910,000 bytes
```

This follows EI-BERT [1] in a first cut: hard token pruning, distillation, quantisation;
cross-distillation with task heads is not in it yet. What is the paper's and what is our choice
stands in each stage's module.

[1] Wang et al., "Put Teacher in Student's Shoes", KDD 2025, arXiv 2507.04636.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto
from pydantic import BaseModel, Field
from threadpoolctl import threadpool_limits

from models.bundle import (
    ENCODER_BUDGET_BYTES,
    GRAPH,
    TOKENIZER,
    VOCABULARY,
    EncoderBundle,
    write_bundle,
)
from models.compression.corpus import Corpus, CorpusSettings, collect
from models.compression.curriculum import Curriculum, learning_weights, study
from models.compression.distillation import (
    DistillationSettings,
    Lessons,
    distil,
    encode_ids,
)
from models.compression.export import check_parity, export_graph
from models.compression.judgement import compare_graphs, learning_figures
from models.compression.pruning import PruningSettings, Vocabulary, prune
from models.compression.quantization import graph_parts, quantize
from models.compression.report import CompressionReport, Figure, ParityFigures, StageClock
from models.compression.student import (
    Student,
    StudentSettings,
    build_student,
    count_weights,
    graph_bytes_without_words,
)
from models.compression.text_teacher import TeacherSettings, TextTeacher, load_text_teacher
from models.compression.warm_start import WarmStartSettings, bag_of_words, fit_word_vectors, seat
from models.progress import Progress, silent
from models.seeds import integer_seed
from models.wordpiece import TokenizerSettings, build_tokenizer, vocabulary_to_bytes

STAGES = 7
JUDGING_BATCH = 128

BESIDE_GRAPH_BYTES = 1_000
"""Kept free for manifest and tokenizer settings when words are counted out."""


class CompressionSettings(BaseModel, extra="forbid", frozen=True):
    """Everything a compression can be told, a section per stage."""

    budget_bytes: int = Field(
        description="most bytes of the whole bundle", ge=20_000, le=ENCODER_BUDGET_BYTES
    )
    corpus: CorpusSettings
    teacher: TeacherSettings
    pruning: PruningSettings
    student: StudentSettings
    warm_start: WarmStartSettings
    distillation: DistillationSettings


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
    byte, on the same machine and library versions.

    Args:
        teacher: a Hugging Face folder or id.
        corpus: what the student learns from.
        settings: see `CompressionSettings`.
        out: the bundle's folder; the report is written beside it as `<name>-report.json`.
        cache: folder of the teacher's readings, reused by later runs.
        seed: of every draw.
        threads: threads of torch and NumPy, >= 1.
        progress: told about stages, batches and steps.

    Raises:
        DataError: if the teacher or the corpus cannot be used.
        BudgetError: if the bundle does not fit into its budget.
    """
    with _fixed_threads(threads):
        clock = StageClock(progress, STAGES)
        reader, lessons = clock.run(
            "text_teacher", _text_teacher, teacher, corpus, settings, cache, seed, progress
        )
        words = clock.run("pruning", _pruning, reader, lessons, settings)
        ids = _split(reader, words, settings, lessons.texts.everything)
        student = clock.run("student", _student, reader, lessons, words, ids, settings, seed)
        clock.run("distillation", _distillation, student, lessons, ids, settings, seed, progress)
        graph, difference = clock.run("export", _export, student, ids[: lessons.num_items])
        small, parity = clock.run("quantization", _quantization, graph, difference, lessons, ids)
        bundle = clock.run("bundle", _bundle, small, reader, words, settings, out, seed)
        report = CompressionReport(
            stages=tuple(clock.rows),
            byte_table=bundle.byte_table(),
            bundle_bytes=bundle.num_bytes,
            budget_bytes=settings.budget_bytes,
            parity=parity,
        )
    report.write(out.with_name(f"{out.name}-report.json"))
    return report


def _text_teacher(
    source: str | Path,
    corpus: Corpus,
    settings: CompressionSettings,
    cache: Path,
    seed: int,
    progress: Progress,
) -> tuple[tuple[TextTeacher, Curriculum], dict[str, Figure]]:
    teacher = load_text_teacher(source, settings.teacher)
    lessons = study(
        teacher,
        collect(corpus, settings.corpus, seed),
        settings.student.vector_size,
        settings.corpus.held_back_every,
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


def _pruning(
    teacher: TextTeacher, lessons: Curriculum, settings: CompressionSettings
) -> tuple[Vocabulary, dict[str, Figure]]:
    rest = graph_bytes_without_words(settings.student) + BESIDE_GRAPH_BYTES
    return prune(
        lessons,
        teacher,
        max_tokens=settings.student.max_tokens,
        row_bytes=settings.student.embedding_size,
        budget_bytes=settings.budget_bytes - rest,
        settings=settings.pruning,
    )


def _split(
    teacher: TextTeacher, words: Vocabulary, settings: CompressionSettings, texts: Sequence[str]
) -> list[list[int]]:
    tokenizer = build_tokenizer(words.pieces, _tokenizer_settings(teacher, settings))
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]


def _student(
    teacher: TextTeacher,
    lessons: Curriculum,
    words: Vocabulary,
    ids: list[list[int]],
    settings: CompressionSettings,
    seed: int,
) -> tuple[Student, dict[str, Figure]]:
    learnt = (~lessons.held_back).nonzero()[0]
    word_vectors = fit_word_vectors(
        bag_of_words([ids[row] for row in learnt], len(words.pieces)),
        lessons.targets[learnt],
        _weights(lessons, settings)[learnt] * len(learnt),
        teacher.word_embeddings()[words.teacher_ids],
        settings.warm_start,
    )
    student = build_student(
        settings.student, len(words.pieces), integer_seed(seed, "student-weights")
    )
    seat(student, word_vectors, settings.warm_start, integer_seed(seed, "student-seats"))
    figures = learning_figures(lessons, encode_ids(student, ids, JUDGING_BATCH))
    return student, {**count_weights(student), **figures}


def _distillation(
    student: Student,
    lessons: Curriculum,
    ids: list[list[int]],
    settings: CompressionSettings,
    seed: int,
    progress: Progress,
) -> tuple[None, dict[str, Figure]]:
    course = Lessons(ids, lessons.targets, _weights(lessons, settings))
    losses = distil(student, course, settings.distillation, seed, progress)
    recent = losses[-min(50, len(losses)) :]
    figures = learning_figures(lessons, encode_ids(student, ids, JUDGING_BATCH))
    return None, {"steps": len(losses), "loss": sum(recent) / len(recent), **figures}


def _export(
    student: Student, item_ids: list[list[int]]
) -> tuple[tuple[ModelProto, float], dict[str, Figure]]:
    graph = export_graph(student)
    difference = check_parity(student, graph, item_ids)
    return (graph, difference), {
        "fp32_bytes": graph.ByteSize(),
        "nodes": len(graph.graph.node),
        "torch_onnx_max_abs_diff": difference,
    }


def _quantization(
    graph: ModelProto, difference: float, lessons: Curriculum, ids: list[list[int]]
) -> tuple[tuple[ModelProto, ParityFigures], dict[str, Figure]]:
    small = quantize(graph)
    fp32, int8 = (model.SerializeToString() for model in (graph, small))
    parity = compare_graphs(fp32, int8, ids, lessons, difference)
    return (small, parity), {
        "int8_bytes": small.ByteSize(),
        "shrunk_by": graph.ByteSize() / small.ByteSize(),
        "int8_fp32_cosine": parity.int8_fp32_cosine,
        "item_neighbours": parity.teacher_neighbour_agreement,
    }


def _bundle(
    graph: ModelProto,
    teacher: TextTeacher,
    words: Vocabulary,
    settings: CompressionSettings,
    out: Path,
    seed: int,
) -> tuple[EncoderBundle, dict[str, Figure]]:
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        VOCABULARY: vocabulary_to_bytes(words.pieces),
        TOKENIZER: _tokenizer_settings(teacher, settings).to_bytes(),
    }
    bundle = write_bundle(
        out,
        files,
        graph_parts=graph_parts(graph),
        vector_size=settings.student.vector_size,
        origin={
            "teacher_sha256": teacher.fingerprint,
            "settings_sha256": hashlib.sha256(settings.model_dump_json().encode()).hexdigest(),
            "seed": seed,
        },
        budget_bytes=settings.budget_bytes,
    )
    free = settings.budget_bytes - bundle.num_bytes
    return bundle, {"bundle_bytes": bundle.num_bytes, "free_bytes": free}


def _tokenizer_settings(teacher: TextTeacher, settings: CompressionSettings) -> TokenizerSettings:
    return TokenizerSettings(
        lowercase=teacher.lowercase,
        strip_accents=teacher.strip_accents,
        max_tokens=settings.student.max_tokens,
    )


def _weights(lessons: Curriculum, settings: CompressionSettings) -> np.ndarray:
    shares = settings.distillation
    return learning_weights(lessons, shares.item_share, shares.query_share)


@contextmanager
def _fixed_threads(threads: int) -> Iterator[None]:
    """Pin the threads of torch and BLAS: sums in another order are other sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
