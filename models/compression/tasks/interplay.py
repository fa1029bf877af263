"""What student and teacher learn from each other: the two losses of cross-distillation.

```
L_S = a MSE(f_S, sg f_T) + b t^2 KL(softmax(sg z_T / t) || softmax(z_S / t)) + c CE(z_S, y)
L_T = CE(z_T, y) + d ( MSE(f_T, sg f_S) + t^2 KL(softmax(sg z_S / t) || softmax(z_T / t)) )
```

f are features (B, H_T), z logits (B, C), y labels, sg stops the gradient. That MSE and KL go in
both directions is EI-BERT's; what they take, and the weights, are our choice.

- MSE is counted in units of the teacher's variance over the training texts, so 1 is a student that
  only knows the mean, and `a` and `d` mean the same for every teacher.
- Texts without a label take part in MSE and KL; CE is summed over the labelled ones of a batch and
  divided by the number expected in it.
"""

from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from models.compression.tasks.interplay_settings import InterplaySettings

NO_LABEL = -1


class CrossDistillationSettings(InterplaySettings, frozen=True):
    """How student and teacher learn a task; the letters are those of the formulas."""

    logit_weight: float = Field(description="b, of the student's KL", ge=0)
    label_weight: float = Field(description="c, of the student's cross-entropy", ge=0)
    word_rate_share: float = Field(
        description="rate of the student's word table as a share of learning_rate", gt=0, le=1
    )
    batch_size: int = Field(description="texts per step", ge=2, le=4096)
    labelled_share: float = Field(
        description="share of labelled texts among those drawn; 1 if there are no others",
        gt=0,
        le=1,
    )
    mutual_every: int = Field(description="the teacher takes every so-many-th step", ge=1)
    frozen_layers: int = Field(description="lowest layers of the teacher that never learn", ge=0)

    @model_validator(mode="after")
    def _settings_agree(self) -> "CrossDistillationSettings":
        if self.joint_steps + self.polish_steps == 0:
            raise ValueError("joint_steps and polish_steps are both 0: the task is never learnt")
        if self.feature_weight + self.logit_weight + self.label_weight == 0:
            raise ValueError("a, b and c are all 0: the student has nothing to learn")
        return self


def student_loss(
    f_S: Tensor,
    z_S: Tensor,
    f_T: Tensor,
    z_T: Tensor,
    y: Tensor,
    settings: CrossDistillationSettings,
    *,
    unit: float,
    expected_labels: float,
) -> Tensor:
    """Return L_S of one batch.

    Args:
        f_S: (B, H_T) float32.
        z_S: (B, C) float32.
        f_T: (B, H_T) float32; no gradient flows into it.
        z_T: (B, C) float32; no gradient flows into it.
        y: (B,) int64, `NO_LABEL` where there is none.
        settings: a, b, c and t.
        unit: the teacher's variance.
        expected_labels: labelled texts that a batch has on average.
    """
    f_T, z_T = f_T.detach(), z_T.detach()
    return (
        settings.feature_weight * squared_error(f_S, f_T, unit)
        + settings.logit_weight * divergence(z_T, z_S, settings.temperature)
        + settings.label_weight * cross_entropy(z_S, y, expected_labels)
    )


def teacher_loss(
    f_S: Tensor,
    z_S: Tensor,
    f_T: Tensor,
    z_T: Tensor,
    y: Tensor,
    settings: CrossDistillationSettings,
    *,
    unit: float,
    expected_labels: float,
) -> Tensor:
    """Return L_T of one batch; arguments as in `student_loss`, with the stops on the other side."""
    f_S, z_S = f_S.detach(), z_S.detach()
    feedback = squared_error(f_T, f_S, unit) + divergence(z_S, z_T, settings.temperature)
    return cross_entropy(z_T, y, expected_labels) + settings.feedback_weight * feedback


def squared_error(x: Tensor, y: Tensor, unit: float) -> Tensor:
    """Return the mean over texts and dimensions of (x - y)^2, in units of `unit`."""
    return F.mse_loss(x, y) / unit


def divergence(target: Tensor, z: Tensor, temperature: float) -> Tensor:
    """Return t^2 KL(softmax(target / t) || softmax(z / t)), mean over the texts, nats."""
    p, q = (F.log_softmax(logits / temperature, dim=1) for logits in (target, z))
    return temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)


def cross_entropy(z: Tensor, y: Tensor, expected_labels: float) -> Tensor:
    """Return -log softmax(z)[y], summed over the labelled texts, by the number expected; nats."""
    total = F.cross_entropy(z, y, ignore_index=NO_LABEL, reduction="sum")
    return total / expected_labels
