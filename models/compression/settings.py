"""Everything a compression can be told, a section per stage."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from models.bundle import ENCODER_BUDGET_BYTES
from models.compression.pretraining.general_distillation import PretrainingSettings
from models.compression.pretraining.warm_start import WarmStartSettings
from models.compression.pruning.hard_pruning import PruningSettings
from models.compression.quantization.few_bits import BitPlan, plan_bits
from models.compression.quantization.polish import PolishSettings
from models.compression.student import StudentSettings
from models.compression.teacher.corpus import CorpusSettings
from models.compression.teacher.text_teacher import TeacherSettings


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
