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

A run that was killed goes on: the teacher's reading, the pre-training and the polish are kept on
disk as they go, the other stages (three minutes of the preset `standard`) are done again and give
the same bytes.

[1] Wang et al., "Put Teacher in Student's Shoes", KDD 2025, arXiv 2507.04636.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from models.compression.export.encoder_graph import bytes_per_word, graph_bytes_without_words
from models.compression.job import Job, reading_settings, sha256_of_text
from models.compression.pretraining.curriculum import Curriculum, study
from models.compression.pretraining.general_distillation import pretrain
from models.compression.pretraining.warm_start import bag_of_words, fit_word_vectors, seat
from models.compression.pruning.hard_pruning import WeighedTexts, prune
from models.compression.pruning.vocabulary import Vocabulary
from models.compression.report import CompressionReport, Figure, StageClock
from models.compression.settings import CompressionSettings
from models.compression.shipping import ship
from models.compression.student import Student, build_student, count_weights
from models.compression.teacher.corpus import Corpus, collect
from models.compression.teacher.text_teacher import TextTeacher, load_text_teacher
from models.progress import Progress, silent
from models.seeds import integer_seed
from models.threads import fixed_threads
from models.wordpiece import build_tokenizer, split_texts

STAGES = 8
BESIDE_GRAPH_BYTES = 2_600
"""Kept free for manifest and tokenizer settings when words are counted out."""


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
        row_bytes=bytes_per_word(settings.student, settings.plan["words"]),
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
        job.drawing_weights()[learnt] * len(learnt),
        job.words.seed_embeddings(job.teacher.word_embeddings()),
        job.settings.warm_start,
    )
    fresh = integer_seed(job.seed, "student-weights")
    student = build_student(job.settings.student, len(job.words.pieces), fresh)
    seat(student, word_vectors, job.settings.warm_start, integer_seed(job.seed, "student-seats"))
    return student, {**count_weights(student), **job.figures_of(student)}


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
    return None, {"steps": len(losses), "loss": loss, **job.figures_of(student)}


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
