"""From a student that knows a task to what a phone gets, and what that is worth there.

    Taught (student, readout) --bits--> graph + words + names of classes --> bundle of <= 1.91 MB
                                                                               |
    texts, one request each --------------------------- Classifier ----------> score

Everything is measured as it ships: through onnxruntime, text by text, as dynamic int8 takes one
step per tensor and a text's logits would depend on its company. What is above the budget, as fp32
is, makes no bundle: its graph is run in the same way, and its bytes tell.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from models.bundle import (
    GRAPH,
    MANIFEST_LIMIT_BYTES,
    TOKENIZER,
    VOCABULARY,
    EncoderBundle,
    write_bundle,
)
from models.classifier import LABELS, Classifier, labels_as_text
from models.compression.export.encoder_graph import Readout, export_graph
from models.compression.export.graph import graph_parts
from models.compression.quantization.few_bits import FULL, BitPlan
from models.compression.student import Student
from models.compression.tasks.cross_distillation import Taught
from models.encoder import open_session, run_graph
from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator
from models.wordpiece import TokenizerSettings, cut, vocabulary_to_bytes
from simulation.experiments.encoders.general_students import GeneralStudent

_SAY_EVERY = 200


@dataclass(frozen=True, slots=True)
class Shipped:
    """What one format of a student answers, and weighs.

    Attributes:
        logits: (n, C) float32, of the texts asked.
        num_bytes: of the whole bundle; of graph, words and tokenizer settings where there is none.
    """

    logits: np.ndarray
    num_bytes: int


def write_task_bundle(
    taught: Taught,
    start: GeneralStudent,
    plan: BitPlan,
    labels: Sequence[str],
    origin: Mapping[str, str | int],
    out: Path,
    budget_bytes: int,
) -> EncoderBundle:
    """Write the bundle of a task.

    Args:
        taught: the student and its readout.
        start: whose words it has.
        plan: bits of each weight; the readout has those of "projector".
        labels: names of the classes, in the order of the logits.
        origin: hashes and seed that made it.
        out: the folder; an older bundle there is replaced.
        budget_bytes: most bytes of it.

    Raises:
        BudgetError: if it has more.
        DataError: if two classes have the same name.
    """
    return _write(taught.student, taught.readout, start, plan, labels, origin, out, budget_bytes)


def check_fits(
    start: GeneralStudent,
    plan: BitPlan,
    labels: Sequence[str],
    origin: Mapping[str, str | int],
    budget_bytes: int,
) -> None:
    """Raise before any training if a task's bundle could not be written after it.

    A readout that has learnt nothing is written: bytes depend on shapes, but for a few of the
    manifest's digits.

    Args:
        start: whom the task is taught.
        plan: bits of each weight.
        labels: names of the classes.
        origin: as long as the real one.
        budget_bytes: most bytes of the bundle.

    Raises:
        BudgetError: if the bundle has more.
        DataError: if two classes have the same name, or the names are too long for a manifest.
    """
    shape = (len(labels), start.student.settings.hidden_size)
    drawn = generator(0, "untrained-readout").normal(size=shape).astype(np.float32)
    readout = Readout("logits", drawn, np.zeros(len(labels), np.float32), unit_length=False)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "bundle"
        bundle = _write(start.student, readout, start, plan, labels, origin, out, budget_bytes)
    if bundle.manifest_bytes > MANIFEST_LIMIT_BYTES:
        raise DataError(
            f"the names of {len(labels)} classes make a manifest of {bundle.manifest_bytes:,} "
            f"bytes, allowed are {MANIFEST_LIMIT_BYTES:,}: take shorter names"
        )


def _write(
    student: Student,
    readout: Readout,
    start: GeneralStudent,
    plan: BitPlan,
    labels: Sequence[str],
    origin: Mapping[str, str | int],
    out: Path,
    budget_bytes: int,
) -> EncoderBundle:
    graph = export_graph(student, plan, readout)
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        VOCABULARY: vocabulary_to_bytes(start.pieces),
        TOKENIZER: start.reading.to_bytes(),
    }
    return write_bundle(
        out,
        files,
        graph_parts=graph_parts(graph),
        vector_size=len(labels),
        origin={**origin, LABELS: labels_as_text(labels)},
        budget_bytes=budget_bytes,
    )


def ship(
    taught: Taught,
    start: GeneralStudent,
    plan: BitPlan,
    labels: Sequence[str],
    texts: Sequence[str],
    budget_bytes: int,
    progress: Progress = silent,
) -> Shipped:
    """Answer some texts as a phone would with this format.

    Args:
        taught: the student and its readout.
        start: whose words it has.
        plan: bits of each weight. With fp32 in it there is no bundle.
        labels: names of the classes.
        texts: each is one request.
        budget_bytes: most bytes of the bundle; what has more is no bundle and only judged.
        progress: told now and then.
    """
    graph = export_graph(taught.student, plan, taught.readout).SerializeToString(deterministic=True)
    beside = len(vocabulary_to_bytes(start.pieces)) + len(start.reading.to_bytes())
    if FULL in plan.values() or len(graph) + beside > budget_bytes:
        logits = _ask_graph(graph, start.tokenizer, start.reading, texts, progress)
        return Shipped(logits, len(graph) + beside)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        bundle = write_task_bundle(taught, start, plan, labels, {}, folder, budget_bytes)
        classifier = Classifier.load(folder)
        rows = []
        for first in range(0, len(texts), _SAY_EVERY):
            progress("requests", first, len(texts))
            rows.append(classifier.logits(texts[first : first + _SAY_EVERY]))
        progress("requests", len(texts), len(texts))
        return Shipped(np.concatenate(rows), bundle.num_bytes)


def _ask_graph(
    graph: bytes,
    tokenizer: Tokenizer,
    reading: TokenizerSettings,
    texts: Sequence[str],
    progress: Progress,
) -> np.ndarray:
    """Return the logits of each text by a graph that is no bundle."""
    session = open_session(graph)
    rows = []
    for number, text in enumerate(texts):
        if number % _SAY_EVERY == 0:
            progress("requests", number, len(texts))
        ids = tokenizer.encode(cut(text, reading.max_tokens)).ids
        rows.append(run_graph(session, np.asarray([ids], np.int64)))
    progress("requests", len(texts), len(texts))
    return np.concatenate(rows)
