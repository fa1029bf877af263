"""What every cross-distillation is told, of a task or a recommender: who learns, how fast, when."""

from pydantic import BaseModel, Field, model_validator

from models.compression.tasks.task_head import HeadMode


class InterplaySettings(BaseModel, extra="forbid", frozen=True):
    """Three stages of a student and its teacher, see `interplay` for the letters."""

    integration: bool = Field(description="put the teacher's head into the student")
    head: HeadMode = Field(description="of integration: who trains the head in the student")
    mutual: bool = Field(description="let the teacher learn from the student in the joint stage")
    feature_weight: float = Field(description="a, of the student's MSE", ge=0)
    feedback_weight: float = Field(description="d, of what the teacher learns back", ge=0)
    temperature: float = Field(description="t, of both KL", gt=0, le=100)
    learning_rate: float = Field(description="highest rate of the student and P", gt=0, le=1)
    teacher_learning_rate: float = Field(
        description="the same of the teacher; below the student's", gt=0, le=1
    )
    warmup_share: float = Field(
        description="share of all steps in which the rates rise; they then fall to 0", ge=0, lt=1
    )
    weight_decay: float = Field(description="of matrices, not of words, norms and biases", ge=0)
    align_steps: int = Field(description="steps of stage i", ge=0)
    joint_steps: int = Field(description="steps of stage ii", ge=0)
    polish_steps: int = Field(description="steps of stage iii", ge=0)
    evaluate_every: int = Field(description="steps between two looks at validation", ge=1)
    guard_drop: float = Field(
        description="how far the teacher's score may fall below its best; 0.005 is 0.5 points",
        ge=0,
        le=1,
    )

    @model_validator(mode="after")
    def _teacher_is_slower(self) -> "InterplaySettings":
        if self.mutual and self.teacher_learning_rate >= self.learning_rate:
            raise ValueError(
                f"teacher_learning_rate {self.teacher_learning_rate} is not below the student's "
                f"learning_rate {self.learning_rate}: take one 20 to 100 times smaller"
            )
        return self

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self.align_steps + self.joint_steps + self.polish_steps
