"""Where a training run stands, on disk: killed at any step, it goes on to the same weights.

    <folder>/step-00001200.safetensors    weights, both moments of AdamW, the losses so far

A checkpoint is written whole or not at all. The one before it is kept too, for a disk that damages
files: the run then goes on from there, or from the start, and ends with the same weights. Drawn
numbers need no saving: every draw has an address (`models.seeds`), and the step is part of it.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from models.errors import DataError
from models.files import write_whole

_NAME = re.compile(r"step-(\d{8})\.safetensors")
_MODEL, _FIRST, _SECOND, _COUNT, _LOSSES = "model.", "exp_avg.", "exp_avg_sq.", "count.", "losses"
_MOMENTS = {"exp_avg": _FIRST, "exp_avg_sq": _SECOND, "step": _COUNT}
_KEPT = 2


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
        for key, prefix in _MOMENTS.items():
            if key in state:
                tensors[f"{prefix}{number}"] = state[key]
    tensors[_LOSSES] = torch.tensor(losses, dtype=torch.float64)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.safetensors"
    with write_whole(path) as file:
        file.write(save({name: value.contiguous().clone() for name, value in tensors.items()}))
    for old in _checkpoints(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.AdamW
) -> tuple[int, list[float]]:
    """Put module and optimizer back to the last whole checkpoint, if there is one.

    A damaged one is deleted with a warning, and the one before it is taken.

    Returns:
        the steps done and their losses; 0 and none without a checkpoint.

    Raises:
        DataError: if the checkpoint is of another model, or cannot be read or deleted.
    """
    for path in reversed(_checkpoints(folder)):
        tensors = _read(path, len(_parameters(optimizer)))
        if tensors is not None:
            _restore(path, tensors, module, optimizer)
            return _step_of(path), tensors[_LOSSES].tolist()
    return 0, []


def _read(path: Path, num_parameters: int) -> dict[str, Tensor] | None:
    """Return the tensors of a checkpoint; None, and no file any more, if it is damaged."""
    try:
        tensors = load(path.read_bytes())
        if _is_whole(tensors, num_parameters):
            return tensors
        reason = "parts are missing"
    except SafetensorError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    except OSError as error:
        raise DataError(
            f"cannot read checkpoint {path} ({error.strerror}): check its permissions, or delete "
            "its folder to start anew"
        ) from error
    warnings.warn(
        f"checkpoint {path} is damaged ({reason}): the run goes on from an earlier one, or anew",
        stacklevel=3,
    )
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot delete the damaged checkpoint {path} ({error.strerror}): delete it"
        ) from error
    return None


def _is_whole(tensors: Mapping[str, Tensor], num_parameters: int) -> bool:
    """Say whether losses, weights and all three numbers of each moment are there."""
    moments = ({f"{prefix}{n}" for prefix in _MOMENTS.values()} for n in range(num_parameters))
    return (
        _LOSSES in tensors
        and any(name.startswith(_MODEL) for name in tensors)
        and all(len(names & tensors.keys()) in (0, len(names)) for names in moments)
    )


def _restore(
    path: Path, tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.AdamW
) -> None:
    weights = {k.removeprefix(_MODEL): v for k, v in tensors.items() if k.startswith(_MODEL)}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"checkpoint {path} is of another model: delete its folder to start anew"
        ) from error
    for number, parameter in enumerate(_parameters(optimizer)):
        if f"{_FIRST}{number}" in tensors:
            optimizer.state[parameter] = {
                key: tensors[f"{prefix}{number}"].to(parameter.device)
                for key, prefix in _MOMENTS.items()
            }


def _parameters(optimizer: torch.optim.AdamW) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _checkpoints(folder: Path) -> list[Path]:
    """Return whole checkpoints, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
