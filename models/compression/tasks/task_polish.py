"""A short polish of a student that knows a task, under the rounding of its weights.

```
student, fp32 --------> logits z          computed once, before
student, rounded -----> logits z_q        loss = t^2 KL(softmax(z / t) || softmax(z_q / t))
   ^                                         |
   +-------- straight through the rounding --+
```

The same idea as `polish`, for logits in place of vectors: the rounded student learns again what it
said in fp32, about texts that need no label. The readout is rounded too, and learns too. This is
our choice, not EI-BERT's; it pays below 8 bits.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from models.compression.export.encoder_graph import Readout
from models.compression.pretraining.batches import pad
from models.compression.pretraining.shuffling import mixed_batches
from models.compression.quantization.few_bits import FULL, BitPlan
from models.compression.quantization.grids import Grid, grid_of
from models.compression.quantization.polish import (
    GRADIENT_LIMIT,
    PolishSettings,
    fake_quantized,
    straight,
)
from models.compression.student import Student
from models.compression.tasks.cross_distillation import Taught
from models.compression.tasks.interplay import divergence
from models.compression.tasks.task_head import predict_logits
from models.progress import Progress, silent
from models.threads import fixed_threads

READOUT = "projector"
"""What a plan calls the readout, whatever it is."""

GRIDS_LAST = 10
"""Steps of the optimiser between two choices of the levels; the last choice is the export's."""


def polish_task(
    taught: Taught,
    plan: BitPlan,
    texts_ids: Sequence[Sequence[int]],
    temperature: float,
    settings: PolishSettings,
    seed: int,
    threads: int,
    progress: Progress = silent,
) -> Taught:
    """Return a polished copy; the student given stays as it is.

    Args:
        taught: student and readout, trained in fp32.
        plan: how they will be exported.
        texts_ids: per text its pieces, framed and cut; at least one.
        temperature: t.
        settings: how long and how fast.
        seed: of the order of the texts.
        threads: of torch.
        progress: told about every step.
    """
    with fixed_threads(threads):
        wanted = torch.from_numpy(predict_logits(taught.student, taught.readout, texts_ids))
        student, readout = copy.deepcopy(taught.student), _as_linear(taught.readout)
        weights = [*student.parameters(), *readout.parameters()]
        optimizer = torch.optim.AdamW(weights, settings.learning_rate, weight_decay=0.0, fused=True)
        body = {**plan, READOUT: FULL}  # the student's own readout plays no part
        grids: dict[str, Grid] = {}
        lengths = np.asarray([len(ids) for ids in texts_ids])
        size = min(settings.batch_size, len(texts_ids))
        batches = mixed_batches(lengths, len(texts_ids), 1.0, size, seed)
        student.train()
        for step in range(settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * (1 - step / settings.steps)
            if step % GRIDS_LAST == 0:
                grids = _grids(student, readout, plan)
            rows = next(batches)
            optimizer.zero_grad()
            with fake_quantized(student, body, grids):
                pooled = student.pool(*pad([texts_ids[row] for row in rows]))
                logits = nn.functional.linear(pooled, _seen(readout, grids), readout.bias)
                divergence(wanted[rows], logits, temperature).backward()
            nn.utils.clip_grad_norm_(weights, GRADIENT_LIMIT)
            optimizer.step()
            progress("polish", step + 1, settings.steps)
    bias = readout.bias.detach().numpy().copy()
    polished = replace(taught.readout, weight=readout.weight.detach().numpy().copy(), bias=bias)
    return replace(taught, student=student.eval(), readout=polished)


def _as_linear(readout: Readout) -> nn.Linear:
    """Return the readout as a layer that learns."""
    classes, width = readout.weight.shape
    layer = nn.Linear(width, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(readout.weight))
        bias = np.zeros(classes, np.float32) if readout.bias is None else readout.bias
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def _grids(student: Student, readout: nn.Linear, plan: BitPlan) -> dict[str, Grid]:
    """Return the levels of all weights that are rounded."""
    weights = {name: student.get_parameter(f"{name}.weight") for name in plan}
    weights[READOUT] = readout.weight
    return {name: grid_of(name, weights[name], bits) for name, bits in plan.items() if bits != FULL}


def _seen(readout: nn.Linear, grids: Mapping[str, Grid]) -> torch.Tensor:
    """Return the readout's weight as the graph computes it, with the gradient of the weight."""
    if READOUT not in grids:
        return readout.weight
    return straight(readout.weight, grids[READOUT].round(readout.weight.detach()))
