"""Which words did this phone's user type? Read off the rows of a word table's update.

A phone that fine-tunes its encoder on a private text moves the rows of the words in it, and no
others: the gradient of an embedding is zero elsewhere. One step of SGD or of Adam is enough to read
every word; that the update is a sum over steps, or that it is clipped, hides nothing. Weight decay
moves all rows, each along itself, so an attacker who knows the rows takes that part out:

    read_i = | d_i - (d_i . w_i / |w_i|^2) w_i |       d_i: row of the update, w_i: row as sent

What the phone learns here is to place its text near an item's: the loss is 1 - cosine of the text's
vector and the vector of another text. Any other loss moves the same rows.

The attacker names the `k` words with the largest reading, k as many as were typed, which is granted
to it; and all that moved at all, which needs no grant. Beside it: naming the most frequent words of
other people's texts, and chance.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models.compression.student import Student
from models.progress import Progress, silent
from models.wordpiece import SPECIAL_TOKENS, split_texts
from simulation.experiments.audit.findings import Findings, Row, recall_at, with_interval
from simulation.experiments.audit.protections import gaussian
from simulation.experiments.encoders.general_students import GeneralStudent

WORDS = "words.weight"
MOVED = 1e-4
"""A row has moved when its reading is above this share of the largest."""

Update = Mapping[str, Tensor]
"""Name of a weight -> what training added to it."""


class WordsAttack(BaseModel):
    """Sizes of the attack."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: int = Field(ge=4, description="private texts, one a phone; half as many teach frequency")
    source: str = Field(description="a labelled set of texts; their labels are not looked at")
    bundle: str = Field(description="the general encoder that phones start from")
    steps: int = Field(ge=1, description="of Adam and AdamW")
    sgd_rate: float = Field(gt=0, description="of one step of SGD")
    adam_rate: float = Field(gt=0, description="of Adam and AdamW")
    weight_decay: float = Field(ge=0, description="of AdamW")
    clip_norm: float = Field(gt=0, description="L2 norm of the whole update, at most")
    noise: tuple[float, ...] = Field(description="noise on each number / clip norm")


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one phone trains on.

    Attributes:
        typed: (T,) int64 pieces of the private text, frame included.
        near: (T',) int64 pieces of the text that it is to be placed near.
    """

    typed: NDArray[np.int64]
    near: NDArray[np.int64]

    @property
    def words(self) -> NDArray[np.int64]:
        """The different words typed, without the frame; ascending."""
        return np.unique(self.typed[self.typed >= len(SPECIAL_TOKENS)])


def fine_tuned(
    student: Student,
    lesson: Lesson,
    optimizer: Literal["sgd", "adam", "adamw"],
    attack: WordsAttack,
    *,
    frozen_words: bool = False,
) -> Update:
    """What fine-tuning on one text adds to each weight; the student is left as it was.

    Args:
        student: the encoder that the phone starts from.
        lesson: its private text.
        optimizer: "sgd" makes one step, the others `attack.steps`.
        attack: rates and steps.
        frozen_words: whether the word table is not trained, and not sent.
    """
    before = {name: weight.detach().clone() for name, weight in student.named_parameters()}
    sent = [name for name in before if not (frozen_words and name == WORDS)]
    own = [weight for name, weight in student.named_parameters() if name in sent]
    made: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(own, lr=attack.sgd_rate),
        "adam": lambda: torch.optim.Adam(own, lr=attack.adam_rate),
        "adamw": lambda: torch.optim.AdamW(
            own, lr=attack.adam_rate, weight_decay=attack.weight_decay
        ),
    }
    stepper = made[optimizer]()
    with torch.no_grad():
        goal = _vector(student, lesson.near)
    for _ in range(1 if optimizer == "sgd" else attack.steps):
        student.zero_grad()
        (1.0 - _vector(student, lesson.typed) @ goal).backward()  # type: ignore[no-untyped-call]
        stepper.step()
    after = dict(student.named_parameters())
    update = {name: after[name].detach() - before[name] for name in sent}
    with torch.no_grad():
        for name, weight in student.named_parameters():
            weight.copy_(before[name])
    return update


def readings(rows: Tensor, table: Tensor) -> NDArray[np.float64]:
    """How much each row moved across itself, (V,); the rows of the frame count as not moved.

    Args:
        rows: (V, E) the word table's part of an update.
        table: (V, E) the word table as it was sent.
    """
    along = (rows * table).sum(dim=1) / table.square().sum(dim=1).clamp(min=1e-12)
    found = (rows - along.unsqueeze(1) * table).norm(dim=1).double().numpy()
    found[: len(SPECIAL_TOKENS)] = 0.0
    return np.asarray(found)


def clip_update(update: Update, clip_norm: float) -> Update:
    """The whole update, scaled down to this norm if it is longer."""
    norm = torch.stack([part.norm() for part in update.values()]).norm()
    factor = (clip_norm / norm).clamp(max=1.0)
    return {name: factor * part for name, part in update.items()}


def noised_rows(update: Update, std: float, seed: int, phone: int) -> Tensor:
    """The word table's part of an update with noise on each number; no other part is read."""
    rows = update[WORDS]
    drawn = gaussian(rows.numel(), std, seed, "noise on an attacked encoder", phone)
    return rows + torch.from_numpy(drawn.astype(np.float32)).reshape(rows.shape)


@dataclass(frozen=True, slots=True)
class Guess:
    """How well the words of one phone were read.

    Attributes:
        recall: share of the typed words among as many guesses.
        precision_of_moved: share of typed words among all rows that moved; 0 if none did.
        recall_of_moved: share of the typed words whose rows moved.
    """

    recall: float
    precision_of_moved: float
    recall_of_moved: float

    @classmethod
    def of(cls, reading: NDArray[np.float64], words: NDArray[np.int64]) -> "Guess":
        """Judge a reading (V,) by the words that were typed."""
        moved = np.flatnonzero(reading > MOVED * reading.max())
        if not len(moved):
            return cls(0.0, 0.0, 0.0)
        return cls(
            recall_at(reading, words, len(words)),
            float(np.isin(moved, words).mean()),
            float(np.isin(words, moved).mean()),
        )


def read_typed_words(
    general: GeneralStudent,
    texts: Sequence[str],
    attack: WordsAttack,
    seed: int,
    progress: Progress = silent,
) -> Findings:
    """Attack phones that fine-tune an encoder on one private text each.

    Args:
        general: the encoder that they start from.
        texts: private texts, 2 or more; the text that a phone's is placed near is the next one's.
        attack: sizes.
        seed: the address of the noise.
        progress: told about each phone.
    """
    pieces = split_texts(general.tokenizer, texts, general.reading.max_tokens)
    ids = [np.array(each, dtype=np.int64) for each in pieces]
    lessons = [Lesson(typed, ids[i - len(ids) + 1]) for i, typed in enumerate(ids)]
    lessons = [lesson for lesson in lessons if len(lesson.words)]
    table = general.student.words.weight.detach()
    counts = np.bincount(np.concatenate(ids), minlength=len(table)).astype(np.float64)
    counts[: len(SPECIAL_TOKENS)] = 0.0
    frequent, guesses = [], dict[str, list[Guess]]()
    for phone, lesson in enumerate(lessons):
        progress("reading words off updates", phone, len(lessons))
        own = np.bincount(lesson.typed, minlength=len(table))
        own[: len(SPECIAL_TOKENS)] = 0  # frequencies are those of other people's texts
        frequent.append(recall_at(counts - own, lesson.words, len(lesson.words)))
        for name, rows in _scenes(general.student, lesson, attack, seed, phone):
            guesses.setdefault(name, []).append(Guess.of(readings(rows, table), lesson.words))
    progress("reading words off updates", len(lessons), len(lessons))
    chance = float(np.mean([len(lesson.words) / len(table) for lesson in lessons]))
    beside = {"frequent words": float(np.mean(frequent)), "chance": chance}
    return Findings(
        "words",
        "Which words did a phone's user type, from what fine-tuning on them changed?",
        [_row(name, found, beside, seed) for name, found in guesses.items()]
        + [_nothing(frequent, beside, seed)],
        (
            f"{len(lessons)} phones, one text each, {len(table):,} words in the table; guesses as "
            "many as words were typed.",
            "Precision of what moved needs no such grant: every row above a ten-thousandth of the "
            "largest.",
            "With a frozen word table no row is sent; what the other weights tell is not tried.",
        ),
    )


def _scenes(
    student: Student, lesson: Lesson, attack: WordsAttack, seed: int, phone: int
) -> Iterator[tuple[str, Tensor]]:
    """What was done to the update, and the word table's part of it as the attacker sees it."""
    sgd = fine_tuned(student, lesson, "sgd", attack)
    adam = fine_tuned(student, lesson, "adam", attack)
    adamw = fine_tuned(student, lesson, "adamw", attack)
    yield "SGD, 1 step", sgd[WORDS]
    yield f"Adam, {attack.steps} steps", adam[WORDS]
    yield f"AdamW, {attack.steps} steps", adamw[WORDS]
    short = clip_update(adamw, attack.clip_norm)
    yield "AdamW, clipped", short[WORDS]
    for noise in attack.noise:
        std = noise * attack.clip_norm
        yield f"AdamW, clipped + noise {noise:g}", noised_rows(short, std, seed, phone)


def _row(name: str, found: Sequence[Guess], beside: Row, seed: int) -> Row:
    return {
        "update": name,
        **with_interval("recall", np.array([guess.recall for guess in found]), seed),
        "precision of what moved": float(np.mean([guess.precision_of_moved for guess in found])),
        "recall of what moved": float(np.mean([guess.recall_of_moved for guess in found])),
        **beside,
    }


def _nothing(frequent: Sequence[float], beside: Row, seed: int) -> Row:
    """A frozen word table: the attacker can only name frequent words."""
    return {
        "update": "frozen word table",
        **with_interval("recall", np.array(frequent), seed),
        "precision of what moved": None,
        "recall of what moved": None,
        **beside,
    }


def _vector(student: Student, ids: NDArray[np.int64]) -> Tensor:
    """The vector of one text, (V,)."""
    whole = torch.from_numpy(ids[: student.settings.max_tokens]).unsqueeze(0)
    found: Tensor = student(whole, torch.ones_like(whole))[0]
    return found


def open_student(bundle: str) -> GeneralStudent:
    """The encoder of a bundle as a student that can be fine-tuned.

    Raises:
        DataError: if the folder is no whole bundle.
    """
    return GeneralStudent.of_bundle(Path(bundle))
