"""Where a training run stands, on disk: killed at any step, it goes on to the same weights.

    <folder>/step-00001200.safetensors    weights, both moments of AdamW, the losses so far

A checkpoint is written whole or not at all, and the one before it is deleted only then. Drawn
numbers need no saving: every draw has an address (`models.seeds`), and the step is part of it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from models.errors import DataError
from models.files import write_whole

_NAME = re.compile(r"step-(\d{8})\.safetensors")
_MODEL, _FIRST, _SECOND, _COUNT, _LOSSES = "model.", "exp_avg.", "exp_avg_sq.", "count.", "losses"


def save_checkpoint(
    folder: Path,
    step: int,
    module: nn.Module,
    optimizer: torch.optim.AdamW,
    losses: Sequence[float],
) -> None:
    """Write where the training stands after `step` steps.

    Args:
        folder: made if it is not there.
        step: steps done.
        module: its parameters and buffers are saved.
        optimizer: over parameters of the module.
        losses: of all steps so far.
    """
    tensors = {f"{_MODEL}{name}": value for name, value in module.state_dict().items()}
    for number, parameter in enumerate(_parameters(optimizer)):
        state = optimizer.state.get(parameter, {})
        for prefix, key in ((_FIRST, "exp_avg"), (_SECOND, "exp_avg_sq"), (_COUNT, "step")):
            if key in state:
                tensors[f"{prefix}{number}"] = state[key]
    tensors[_LOSSES] = torch.tensor(losses, dtype=torch.float64)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.safetensors"
    with write_whole(path) as file:
        file.write(save({name: value.contiguous().clone() for name, value in tensors.items()}))
    for other in _checkpoints(folder):
        if other != path:
            other.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.AdamW
) -> tuple[int, list[float]]:
    """Put module and optimizer back to the last checkpoint, if there is one.

    Returns:
        the steps done and their losses; 0 and none without a checkpoint.

    Raises:
        DataError: if the checkpoint is of another model.
    """
    found = _checkpoints(folder)
    if not found:
        return 0, []
    tensors = load(found[-1].read_bytes())
    weights = {k.removeprefix(_MODEL): v for k, v in tensors.items() if k.startswith(_MODEL)}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"checkpoint {found[-1]} is of another model: delete its folder to start anew"
        ) from error
    for number, parameter in enumerate(_parameters(optimizer)):
        if f"{_FIRST}{number}" in tensors:
            keys = {"exp_avg": _FIRST, "exp_avg_sq": _SECOND, "step": _COUNT}
            optimizer.state[parameter] = {
                key: tensors[f"{prefix}{number}"].to(parameter.device)
                for key, prefix in keys.items()
            }
    return _step_of(found[-1]), tensors[_LOSSES].tolist()


def _parameters(optimizer: torch.optim.AdamW) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _checkpoints(folder: Path) -> list[Path]:
    """Return whole checkpoints, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
