"""Settings of the language tasks: how each set's teacher and students are trained and compared.

    presets/language/english.toml

    [task.teacher]                    of every set
    [sets.20news.teacher]             what is different on this one
    [starts.bert-tiny]                a general student that tasks start from, and its formats
    [variants.plain]                  a manner of cross-distillation: what differs from the usual

A student's cross-distillation is put together in this order, the later one wins: the settings of
every set, of the set, of the start, of the variant. That one start may have a rate of its own is
fair: each rival gets the rate that is best for it on validation texts.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from models.bundle import ENCODER_BUDGET_BYTES
from models.compression.quantization.few_bits import ROW_TABLES, BitPlan, weight_names
from models.compression.quantization.polish import PolishSettings
from models.compression.student import StudentSettings
from models.compression.tasks.augmentation import AugmentationSettings
from models.compression.tasks.interplay import CrossDistillationSettings
from models.compression.tasks.task import Score
from models.compression.tasks.task_teacher import TaskTeacherSettings
from models.errors import SettingsError
from simulation.data.labelled_texts import LABELLED_NAMES
from simulation.overrides import put_override

DEFAULT_FILE = "english.toml"
OWN = "own"
"""Name of a user's own labelled texts, beside the sets'."""

USUAL = "usual"
"""The variant that changes nothing."""

Bits = Literal[32, 8, 6, 5, 4, 3, 2]
Value = bool | int | float | str
Changes = Mapping[str, Value]
Kind = TypeVar("Kind")

_ATTENTION = ("query_key_value", "attention_out")
_FEED_FORWARD = ("feed_in", "feed_out")


class FormatSettings(BaseModel, extra="forbid", frozen=True):
    """How many bits the weights of a shipped graph have, module by module; 32: left as they are."""

    embedding: Bits = Field(description="words and positions")
    attention: Bits = Field(description="the two matrices of each attention")
    feed_forward: Bits = Field(description="the two matrices of each feed-forward net")
    rest: Bits = Field(description="widening, adapters and readout")
    polish: bool = Field(description="train on for a while under this rounding")

    def plan(self, shape: StudentSettings) -> BitPlan:
        """Return the bits of each weight of a student of this shape."""
        return {name: self._bits(name) for name in weight_names(shape)}

    def _bits(self, name: str) -> int:
        if name in ROW_TABLES:
            return self.embedding
        part = name.rsplit(".", 1)[-1]
        if part in _ATTENTION:
            return self.attention
        return self.feed_forward if part in _FEED_FORWARD else self.rest


class StartSettings(BaseModel, extra="forbid", frozen=True):
    """A general student that tasks start from: a ready bundle, or a recipe to compress one."""

    bundle: str = Field(description='folder of a ready bundle; "" if it is compressed here')
    preset: str = Field(description='preset to compress it by; "" if there is a bundle')
    overrides: tuple[str, ...] = Field(description='on the preset, each "section.key=value"')
    fresh_weights: bool = Field(description="take only its shape and words: random weights")
    formats: tuple[str, ...] = Field(description="in which its students are judged")
    cross_distillation: dict[str, Value] = Field(description="what differs for this one")

    @model_validator(mode="after")
    def _one_origin(self) -> "StartSettings":
        if bool(self.bundle) == bool(self.preset) or (self.bundle and self.overrides):
            raise ValueError("give either a bundle, or a preset with overrides")
        return self


class SetSettings(BaseModel, extra="forbid", frozen=True):
    """A labelled set and what differs on it."""

    score: Score = Field(description="accuracy, or macro-f1 where one class is rare")
    train_limit: int = Field(description="most labelled rows to train on; 0: all", ge=0)
    teacher: dict[str, Value] = Field(description="what differs in the fine-tuning")
    cross_distillation: dict[str, Value] = Field(description="what differs there")
    augmentation: dict[str, Value] = Field(description="what differs there")


class TaskSettings(BaseModel, extra="forbid", frozen=True):
    """What holds for every set unless it says otherwise."""

    teacher: TaskTeacherSettings
    cross_distillation: CrossDistillationSettings
    augmentation: AugmentationSettings
    polish: PolishSettings


class TfIdfSettings(BaseModel, extra="forbid", frozen=True):
    """TF-IDF with logistic regression, the rival that knows no language."""

    longest_ngram: int = Field(description="words of the longest n-gram", ge=1, le=5)
    inverse_penalties: tuple[float, ...] = Field(description="C; validation chooses", min_length=1)
    iterations: int = Field(description="most rounds of the solver", ge=10)


class ProbeSettings(BaseModel, extra="forbid", frozen=True):
    """What is measured on vectors that nobody fine-tuned."""

    train_limit: int = Field(description="labelled rows of a linear probe", ge=1)
    inverse_penalties: tuple[float, ...] = Field(description="C; validation chooses", min_length=1)
    iterations: int = Field(description="most rounds of the solver", ge=10)
    neighbour_texts: int = Field(description="held-back texts whose neighbours count", ge=20)
    neighbours: int = Field(description="how many of each", ge=1)
    rival_texts: int = Field(description="general texts that TF-IDF with SVD is fitted on", ge=10)
    rival_size: int = Field(description="numbers per text of TF-IDF with SVD", ge=2, le=1024)
    teacher_tokens: int = Field(description="longest text of the text teacher", ge=8, le=512)
    teacher_batch: int = Field(description="texts per forward pass", ge=1)


class AblationSettings(BaseModel, extra="forbid", frozen=True):
    """One row of the ablations: a training, and the format it is judged in."""

    group: str = Field(description="the question that it belongs to")
    title: str
    start: str
    variant: str
    format: str


class LanguageSettings(BaseModel, extra="forbid", frozen=True):
    """All settings of the language tasks."""

    text_teacher: str = Field(
        min_length=1, description='"all-MiniLM-L6-v2" (fetched), or a Hugging Face folder or id'
    )
    teacher_seed: int = Field(description="of fine-tuning and of row limits, one for all", ge=0)
    threads: int = Field(description="of torch", ge=1, le=64)
    budget_bytes: int = Field(
        description="most bytes of a bundle with its readout", ge=20_000, le=ENCODER_BUDGET_BYTES
    )
    task: TaskSettings
    sets: dict[str, SetSettings]
    own: SetSettings = Field(description="of a user's own labelled texts")
    formats: dict[str, FormatSettings]
    starts: dict[str, StartSettings]
    variants: dict[str, dict[str, Value]]
    variant_formats: tuple[str, ...] = Field(description="in which other variants are judged")
    columns: dict[str, str] = Field(description='title to "arm:format", of the table of all sets')
    frontier: dict[str, str] = Field(description="drawn beside the columns, in the same form")
    ablations: tuple[AblationSettings, ...]
    tf_idf: TfIdfSettings
    probe: ProbeSettings

    @model_validator(mode="after")
    def _names_agree(self) -> "LanguageSettings":
        if self.variants.get(USUAL):
            raise ValueError(f"variant {USUAL!r} changes nothing: give another one a name")
        wanted = [
            *self.variant_formats,
            *(n for start in self.starts.values() for n in start.formats),
        ]
        unknown = sorted(set(wanted) - set(self.formats))
        if unknown:
            raise ValueError(f"there are no formats {unknown}")
        for row in self.ablations:
            if row.format not in self.formats_of(row.start, row.variant):
                raise ValueError(f"ablation {row.title!r} is not judged in format {row.format!r}")
        for name in (*self.sets, OWN):
            self.teacher(name)
            self.augmentation(name)
            for start in self.starts:
                for variant in (USUAL, *self.variants):
                    self.cross_distillation(name, start, variant)
        return self

    def teacher(self, set_name: str) -> TaskTeacherSettings:
        """How the teacher of a set is fine-tuned."""
        base = self.task.teacher.model_dump()
        return TaskTeacherSettings.model_validate({**base, **self.of_set(set_name).teacher})

    def augmentation(self, set_name: str) -> AugmentationSettings:
        """How texts without labels are made of a set's texts."""
        base = self.task.augmentation.model_dump()
        changes = self.of_set(set_name).augmentation
        return AugmentationSettings.model_validate({**base, **changes})

    def cross_distillation(
        self, set_name: str, start: str, variant: str = USUAL
    ) -> CrossDistillationSettings:
        """How a student learns a set."""
        changes: tuple[Changes, ...] = (
            self.of_set(set_name).cross_distillation,
            self.of_start(start).cross_distillation,
            {} if variant == USUAL else _named("variant", variant, self.variants),
        )
        tree: dict[str, Any] = self.task.cross_distillation.model_dump()
        for change in changes:
            tree |= change
        return CrossDistillationSettings.model_validate(tree)

    def formats_of(self, start: str, variant: str) -> tuple[str, ...]:
        """In which formats a student is judged."""
        return self.of_start(start).formats if variant == USUAL else self.variant_formats

    def of_set(self, name: str) -> SetSettings:
        """Settings of a set; one that can be had and is not set here is learnt as a user's own.

        Raises:
            SettingsError: if there is no such set.
        """
        is_like_own = name == OWN or (name in LABELLED_NAMES and name not in self.sets)
        return self.own if is_like_own else _named("set", name, self.sets)

    def of_start(self, name: str) -> StartSettings:
        """Settings of a start.

        Raises:
            SettingsError: if it has none.
        """
        return _named("start", name, self.starts)


def load_language_settings(
    path: Path | None = None,
    bundles: Mapping[str, Path] | None = None,
    overrides: Sequence[str] = (),
) -> LanguageSettings:
    """Read the settings.

    Args:
        path: a TOML file; those that come with the product when None.
        bundles: ready bundles that take the place of a start's own origin, by its name.
        overrides: each "section.key=value".

    Raises:
        SettingsError: if the file cannot be read, or a key or value is wrong.
    """
    try:
        tree = tomllib.loads(_content(path))
        for name, folder in (bundles or {}).items():
            start = {**_named("start", name, tree["starts"])}
            tree["starts"][name] = start | {"bundle": str(folder), "preset": "", "overrides": []}
        for override in overrides:
            put_override(tree, override)
        return LanguageSettings.model_validate(tree)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the language settings {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "settings"
        raise SettingsError(
            f"language settings {path or DEFAULT_FILE}: {key}: {first['msg'].lower()}"
        ) from error


def _content(path: Path | None) -> str:
    if path is not None:
        return path.read_text(encoding="utf-8")
    folder = resources.files("simulation.presets") / "language"
    return (folder / DEFAULT_FILE).read_text(encoding="utf-8")


def _named(what: str, name: str, known: Mapping[str, Kind]) -> Kind:
    if name not in known:
        raise SettingsError(f"there is no {what} {name!r}: choose one of {', '.join(known)}")
    return known[name]
