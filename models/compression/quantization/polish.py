"""A short polish: training goes on while the weights are seen as the graph will round them.

```
    w --quantise--> w_q ----> forward pass ----> loss
    ^                                             |
    +------- the gradient, as if w_q were w ------+      straight through  [1]
```

`fake_quantized` is that for any training step; `polish` is the plain use of it: the rounded student
learns again the vectors that it gave, or should give, in fp32. EI-BERT quantises after training
("post-training"); this last stage is our choice, and pays below 8 bits.

The rounding is that of `few_bits`, so what is trained is what ships. Activations are not rounded
here: the graph rounds them to 8 bits, which costs little.

[1] Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013,
    arXiv 1308.3432.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from models.compression.pretraining.batches import pad
from models.compression.pretraining.checkpoints import load_checkpoint, save_checkpoint
from models.compression.pretraining.shuffling import mixed_batches
from models.compression.quantization.few_bits import (
    FULL,
    ROW_TABLES,
    BitPlan,
    check_plan,
    quantize_columns,
    quantize_rows,
)
from models.compression.quantization.grids import Grid
from models.compression.student import Student
from models.progress import Progress, silent

GRADIENT_LIMIT = 1.0
"""Longest gradient; a longer one is scaled down to it."""

CHECKPOINT_EVERY = 200
"""Steps; half a minute to a few minutes of one core."""


class PolishSettings(BaseModel, extra="forbid", frozen=True):
    """How long and how fast the rounded student learns."""

    steps: int = Field(description="optimiser steps; 0: no polish", ge=0)
    batch_size: int = Field(description="texts per step", ge=1, le=4096)
    learning_rate: float = Field(description="first rate of AdamW; it falls to 0", gt=0, le=1)


@contextmanager
def fake_quantized(
    student: Student, plan: BitPlan, grids: Mapping[str, Grid] | None = None
) -> Iterator[None]:
    """Let the student compute with the weights that its graph would have.

    Inside, each weight of the plan is its rounded value, and gradients reach the weight itself.
    Rounding is done once, on entry: enter anew for each step, with an optimiser made outside.

    Args:
        student: back to itself on leaving.
        plan: the bits of each weight; those of 32 bits stay as they are.
        grids: levels chosen a while ago, of each weight that is rounded, see `grids`: several
            times faster. Chosen now when None, as the export would.

    Raises:
        SettingsError: if the plan does not fit the student.
    """
    check_plan(student.settings, plan)
    originals = {
        name: student.get_parameter(f"{name}.weight") for name, bits in plan.items() if bits != FULL
    }
    seen = {name: _rounded(name, w, plan[name], grids) for name, w in originals.items()}
    _swap(student, {name: straight(w, seen[name]) for name, w in originals.items()})
    try:
        yield
    finally:
        _swap(student, originals)


def rounded(name: str, weight: np.ndarray, bits: int) -> np.ndarray:
    """Return a weight as the graph computes it.

    Args:
        name: of the weight in the student, without ".weight".
        weight: as torch holds it: a table (n, E), or a matrix (outputs, inputs); float32.
        bits: not 32.
    """
    if name in ROW_TABLES:
        return quantize_rows(weight, bits).values()
    return quantize_columns(weight.T, bits).values().T


def polish(
    student: Student,
    plan: BitPlan,
    texts_ids: Sequence[Sequence[int]],
    targets: np.ndarray,
    settings: PolishSettings,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
) -> list[float]:
    """Train the student in place, so that its rounded self gives the targets.

    The loss of a text is 1 - cosine with its target.

    Args:
        student: trained in fp32.
        plan: how it will be exported.
        texts_ids: per text its pieces, framed and cut.
        targets: (len(texts_ids), V) float32, rows of length 1: the student's own vectors before
            the polish (`batches.encode_ids`), or the teacher's.
        settings: how long and how fast.
        seed: of the order of the texts.
        progress: told about every step.
        checkpoints: folder of unfinished work; a polish that was killed goes on from there.

    Returns:
        the loss of each step.

    Raises:
        DataError: if a checkpoint is of another model, or cannot be read.
    """
    optimizer = torch.optim.AdamW(student.parameters(), settings.learning_rate, weight_decay=0.0)
    done, losses = load_checkpoint(checkpoints, student, optimizer) if checkpoints else (0, [])
    lengths = np.asarray([len(ids) for ids in texts_ids])
    size = min(settings.batch_size, len(texts_ids))
    batches = mixed_batches(lengths, len(texts_ids), 1.0, size, seed)
    student.train()
    for step, rows in enumerate(islice(batches, done, settings.steps), start=done):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 - step / settings.steps)
        optimizer.zero_grad()
        with fake_quantized(student, plan):
            vectors = student(*pad([texts_ids[row] for row in rows]))
            loss = 1 - (vectors * torch.from_numpy(targets[rows])).sum(dim=1).mean()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        losses.append(float(loss.detach()))
        if checkpoints and (step + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(checkpoints, step + 1, student, optimizer, losses)
        progress("polish", step + 1, settings.steps)
    student.eval()
    return losses


def straight(weight: Tensor, seen: Tensor) -> Tensor:
    """Return `seen`, a weight after rounding, with the gradient of the weight."""
    made: Tensor = _StraightThrough.apply(weight, seen)
    return made


def _rounded(name: str, weight: Tensor, bits: int, grids: Mapping[str, Grid] | None) -> Tensor:
    if grids is not None:
        return grids[name].round(weight.detach())
    values = rounded(name, weight.detach().cpu().numpy(), bits)
    return torch.from_numpy(np.ascontiguousarray(values)).to(weight.device)


class _StraightThrough(torch.autograd.Function):
    """Forward the rounded values, exactly; backward nothing changes."""

    @staticmethod
    def forward(ctx: object, weight: Tensor, seen: Tensor) -> Tensor:
        return seen

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _swap(student: Student, weights: dict[str, Tensor]) -> None:
    """Put tensors in the places of weights, as `torch.func.functional_call` does.

    Setting the attribute would move the weight to the end of the parameters' order.
    """
    for name, weight in weights.items():
        student.get_submodule(name)._parameters["weight"] = weight  # type: ignore[assignment]
