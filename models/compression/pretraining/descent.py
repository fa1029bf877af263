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


def adamw_groups(module: nn.Module, rate: float, decay: float) -> list[dict[str, object]]:
    """Return groups for AdamW: only matrices decay, but no word tables, norms or biases.

    Args:
        module: its learning parameters.
        rate: highest rate; `set_rates` multiplies it by a factor.
        decay: of the matrices.
    """
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [p for p in learning if p.ndim > 1 and id(p) not in tables]
    rest = [p for p in learning if p.ndim == 1 or id(p) in tables]
    return [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": weight_decay}
        for parameters, weight_decay in ((matrices, decay), (rest, 0.0))
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
