"""Steps of AdamW, taken apart: gradients first, then the step.

Two learners that hold one tensor (a tied head) must both be differentiated before either moves.
"""

import torch
from torch import Tensor, nn

from models.compression.pretraining.general_distillation import GRADIENT_LIMIT

Gradients = list[Tensor | None]
"""One per learning parameter, in the optimiser's order; None where the loss does not depend."""


def adamw(groups: list[dict[str, object]]) -> torch.optim.AdamW:
    """Return AdamW over groups of `adamw_groups`."""
    return torch.optim.AdamW(groups, fused=True)


def adamw_groups(
    module: nn.Module, rate: float, decay: float, word_rate_share: float = 1.0
) -> list[dict[str, object]]:
    """Return groups for AdamW: only matrices decay, but no word tables, norms or biases.

    Args:
        module: its learning parameters.
        rate: highest rate; `set_rates` multiplies it by a factor.
        decay: of the matrices.
        word_rate_share: rate of word tables as a share of `rate`; below 1, as a rare word is met
            seldom and AdamW takes a full step each time.
    """
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = (
        ([p for p in learning if p.ndim > 1 and id(p) not in tables], rate, decay),
        ([p for p in learning if p.ndim == 1], rate, 0.0),
        ([p for p in learning if id(p) in tables], rate * word_rate_share, 0.0),
    )
    return [
        {"params": parameters, "lr": highest, "peak": highest, "weight_decay": weight_decay}
        for parameters, highest, weight_decay in groups
        if parameters
    ]


def set_rates(optimizer: torch.optim.AdamW, factor: float) -> None:
    """Set each group's rate to `factor` times its highest one."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["peak"]


def gradients_of(loss: Tensor, optimizer: torch.optim.AdamW) -> Gradients:
    """Differentiate; nothing moves."""
    return list(torch.autograd.grad(loss, _parameters(optimizer), allow_unused=True))


def descend(optimizer: torch.optim.AdamW, gradients: Gradients) -> None:
    """Take one step; gradients that are longer than `GRADIENT_LIMIT` together are cut to it."""
    parameters = _parameters(optimizer)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.contiguous()
    nn.utils.clip_grad_norm_(parameters, GRADIENT_LIMIT)
    optimizer.step()
    optimizer.zero_grad()


def _parameters(optimizer: torch.optim.AdamW) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
