"""Everything a compression can be told, a section per stage."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from models.bundle import ENCODER_BUDGET_BYTES
from models.compression.pretraining.general_distillation import PretrainingSettings
from models.compression.pretraining.warm_start import WarmStartSettings
from models.compression.pruning.hard_pruning import PruningSettings
from models.compression.quantization.few_bits import BitPlan, plan_bits, weight_names
from models.compression.quantization.polish import PolishSettings
from models.compression.student import StudentSettings
from models.compression.teacher.corpus import CorpusSettings
from models.compression.teacher.text_teacher import TeacherSettings

Bits = Literal[2, 3, 4, 5, 6, 8]


class QuantizationSettings(BaseModel, extra="forbid", frozen=True):
    """How many bits the weights of the shipped graph have."""

    embedding_bits: Bits = Field(description="of words and positions")
    matrix_bits: Bits = Field(description="of all other matrices")
    bits: dict[str, Bits] = Field(
        default_factory=dict,
        description="of single weights in place of the above, by the names that `pocketfleet "
        "inspect` prints; `python -m benchmarks.ablations --sensitivity BUNDLE` chooses them",
        exclude_if=lambda bits: not bits,  # nothing said is nothing to tell settings apart by
    )
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

    @model_validator(mode="after")
    def _bits_have_weights(self) -> "CompressionSettings":
        known = weight_names(self.student)
        unknown = sorted(set(self.quantization.bits) - set(known))
        if unknown:
            raise ValueError(
                f"quantization.bits names {unknown[0]!r}, which the student does not have: its "
                f"weights are {', '.join(known)}"
            )
        return self

    @property
    def plan(self) -> BitPlan:
        """The bits of each weight of the student."""
        bits = self.quantization
        plan = plan_bits(self.student, bits.embedding_bits, bits.matrix_bits)
        return {**plan, **bits.bits}
