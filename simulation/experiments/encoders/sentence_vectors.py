"""What general vectors are worth before anybody fine-tunes them.

```
              linear probe     logistic regression on frozen vectors, on each labelled set
encoder --->  retrieval        the right answer of each question: MRR@10, recall@10
              neighbours       the 10 nearest in common with the text teacher, on held-back texts
```

Bundles are asked as a phone asks them, text by text; the teacher's vectors are kept on disk.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.compression.neighbours import neighbour_agreement
from models.compression.tasks.task import score_of
from models.compression.teacher.text_teacher import (
    CHUNK_TEXTS,
    TeacherSettings,
    load_text_teacher,
    read,
)
from models.progress import Progress, silent
from simulation.data.labelled_texts import LabelledTexts
from simulation.data.teachers import MINILM_NAME, teacher_folder
from simulation.experiments.encoders.held_back_texts import (
    Retrieval,
    mean_reciprocal_rank,
    ranks_of_right,
    recall,
)
from simulation.experiments.encoders.text_readers import TextReader
from simulation.experiments.language.cells import SplitName
from simulation.experiments.language.learning import judged_part, task_of
from simulation.experiments.language.settings import LanguageSettings
from simulation.experiments.language.text_baselines import fit_probe

_SHORTEST = 1e-12


@dataclass(frozen=True, slots=True)
class Examination:
    """All that encoders are asked.

    Attributes:
        labelled: sets for the linear probe, cut to its row limit.
        retrievals: questions and answers.
        neighbours: by name, texts among which the nearest are looked for.
        teacher: whose neighbours count.
    """

    labelled: Sequence[LabelledTexts]
    retrievals: Sequence[Retrieval]
    neighbours: Mapping[str, Sequence[str]]
    teacher: TextReader


def text_teacher(
    settings: LanguageSettings, cache: Path, progress: Progress = silent
) -> TextReader:
    """Return the text teacher with room for long texts; its readings are kept in the cache."""
    name, probe = settings.text_teacher, settings.probe
    source = teacher_folder(cache, progress) if name == MINILM_NAME else name
    reading = TeacherSettings(max_tokens=probe.teacher_tokens, batch_size=probe.teacher_batch)
    teacher = load_text_teacher(source, reading)
    num_bytes = sum(p.numel() * p.element_size() for p in teacher.model.parameters())

    def vectors(texts: Sequence[str]) -> np.ndarray:
        # Attentions are not asked for: the fewest that may be looked at are.
        return read(teacher, texts, cache, progress, attention_every=CHUNK_TEXTS).vectors

    return TextReader(name, vectors, num_bytes)


def examine(
    reader: TextReader,
    asked: Examination,
    settings: LanguageSettings,
    progress: Progress = silent,
    *,
    split: SplitName = "validation",
) -> dict[str, float]:
    """Return all figures of an encoder, each 0 to 1.

    Args:
        reader: the encoder.
        asked: what it is asked.
        settings: of probes and neighbours.
        split: whose labelled texts the probes are scored on; "test" once, when all is chosen.
        progress: told about each question.
    """
    encode = unit_vectors(reader)
    total = len(asked.labelled) + len(asked.retrievals) + len(asked.neighbours)
    figures: dict[str, float] = {}

    def say() -> None:
        progress(f"examining {reader.name}", len(figures), total)

    for labelled in asked.labelled:
        say()
        figures[f"probe {labelled.name}"] = probe_score(encode, labelled, settings, split)
    for task in asked.retrievals:
        say()
        figures |= {f"{task.name} {key}": value for key, value in retrieve(encode, task).items()}
    theirs, k = unit_vectors(asked.teacher), settings.probe.neighbours
    for name, texts in asked.neighbours.items():
        say()
        figures[f"neighbours {name}"] = neighbour_agreement(theirs(texts), encode(texts), k)
    progress(f"examining {reader.name}", total, total)
    return figures


def probe_score(
    encode: Callable[[Sequence[str]], np.ndarray],
    labelled: LabelledTexts,
    settings: LanguageSettings,
    split: SplitName = "validation",
) -> float:
    """Return the score of a logistic regression on frozen vectors, 0 to 1.

    Args:
        encode: gives (n, d) float32 of n texts.
        labelled: a set.
        settings: of the probe.
        split: "validation", on which C is chosen too: for choosing between encoders. "test": the
            test texts are encoded and scored, else they are not looked at.
    """
    task, probe = task_of(labelled, settings), settings.probe
    fitted = fit_probe(
        task,
        encode(task.train.texts),
        encode(task.validation.texts),
        probe.inverse_penalties,
        probe.iterations,
    )
    if split == "validation":
        return fitted.validation_score
    judged = judged_part(labelled, split)
    chosen = fitted.logits(encode(judged.texts)).argmax(axis=1)
    return score_of(task.score, judged.labels, chosen, task.num_labels)


def retrieve(encode: Callable[[Sequence[str]], np.ndarray], task: Retrieval) -> dict[str, float]:
    """Return MRR@10 and recall@10 of a retrieval task."""
    ranks = ranks_of_right(encode(task.questions), encode(task.answers), task)
    return {"mrr@10": mean_reciprocal_rank(ranks), "recall@10": recall(ranks)}


def unit_vectors(reader: TextReader) -> Callable[[Sequence[str]], np.ndarray]:
    """Return an encoder whose vectors have length 1, or 0 for a text that says nothing."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors = np.asarray(reader.read(texts), np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, _SHORTEST), np.float32)

    return encode
