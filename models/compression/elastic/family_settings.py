"""Settings of an elastic family: its sizes, and the compression that it extends.

sizes, steps, rates               `FamilySettings`
texts, teacher, pruning, bits     `pipeline.CompressionSettings`, the base
"""

from pydantic import BaseModel, Field, model_validator

from models.bundle import LARGEST_BUNDLE_BYTES
from models.compression.elastic.elastic_student import (
    ElasticSize,
    ElasticTrainingSettings,
    check_nesting,
)
from models.compression.quantization.few_bits import check_plan
from models.compression.settings import CompressionSettings
from models.compression.student import StudentSettings
from models.errors import SettingsError

_ANY_WORDS = 100
"""Stands for a size's number of words where only its shape is checked."""


class SizeSettings(BaseModel, extra="forbid", frozen=True):
    """One size of a family, before its words are counted out."""

    name: str = Field(description="for tables and folders", pattern=r"^[A-Za-z0-9][\w.-]*$")
    budget_bytes: int = Field(
        description="most bytes of its whole bundle", ge=10_000, le=LARGEST_BUNDLE_BYTES
    )
    student: StudentSettings


class FamilySettings(BaseModel, extra="forbid", frozen=True):
    """The sizes of a family, and how they learn together."""

    sizes: tuple[SizeSettings, ...] = Field(description="smallest first", min_length=2)
    start_texts: int = Field(
        description="most texts that the warm start is fitted to, spread over all", ge=2
    )
    training: ElasticTrainingSettings

    @model_validator(mode="after")
    def _sizes_nest(self) -> "FamilySettings":
        check_nesting(
            [ElasticSize(name=s.name, words=_ANY_WORDS, student=s.student) for s in self.sizes]
        )
        return self

    def of_size(self, place: int, base: CompressionSettings) -> CompressionSettings:
        """Return what an ordinary compression of one size would be told.

        The budget may be above that of an ordinary encoder, up to `LARGEST_BUNDLE_BYTES`.

        Args:
            place: in `sizes`.
            base: texts, teacher, pruning, warm start, losses, bits and polish.
        """
        size, ours = self.sizes[place], self.training
        alike = ("steps", "batch_size", "learning_rate", "word_rate_share", "warmup_share")
        learning = {
            name: getattr(ours, name)
            for name in (*alike, "weight_decay", "checkpoint_every", "device")
        }
        # Elastic training knows neither of these two terms.
        learning |= {"state_weight": 0.0, "word_weight": 0.0}
        changes = {
            "budget_bytes": size.budget_bytes,
            "student": size.student,
            "pretraining": base.pretraining.model_copy(update=learning),
        }
        return base.model_copy(update=changes)


def check_family(settings: FamilySettings, base: CompressionSettings) -> None:
    """Raise before anything is read if a family cannot be made.

    Raises:
        SettingsError: if the words are not the teacher's, or a size's bits cannot be packed.
    """
    if base.pruning.criterion == "fresh":
        raise SettingsError(
            'compression.pruning.criterion is "fresh", and sizes nest by the worth of the '
            'teacher\'s words: set it to "attention", "frequency" or "random"'
        )
    for place, size in enumerate(settings.sizes):
        check_plan(size.student, settings.of_size(place, base).plan)
