"""What the stages share once the teacher has read and the words are chosen."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.compression.judgement import learning_figures
from models.compression.pretraining.batches import encode_ids
from models.compression.pretraining.curriculum import Curriculum, learning_weights
from models.compression.pretraining.general_distillation import Lessons, teacher_states
from models.compression.pruning.vocabulary import Vocabulary
from models.compression.report import Figure
from models.compression.settings import CompressionSettings
from models.compression.student import Student
from models.compression.teacher.text_teacher import TextTeacher
from models.progress import Progress
from models.wordpiece import TokenizerSettings

JUDGING_BATCH = 128


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
        weights = self.drawing_weights()
        return Lessons(self.ids, self.lessons.targets, weights, states, self.teacher.width)

    def drawing_weights(self) -> np.ndarray:
        """How often each text is drawn, (n,) float64, sums to 1; held-back ones never."""
        return drawing_weights(self.lessons, self.settings)

    def figures_of(self, student: Student) -> dict[str, Figure]:
        """What the student has learnt so far, on learnt and held-back texts."""

        def encode(rows: np.ndarray) -> np.ndarray:
            return encode_ids(student, [self.ids[row] for row in rows], JUDGING_BATCH)

        return learning_figures(self.lessons, encode)

    def reading(self) -> TokenizerSettings:
        """How the student reads."""
        return reading_settings(self.teacher, self.settings)


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
