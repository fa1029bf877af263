"""Somebody's own recommender: three functions that see one phone at a time.

    start(num_items, seed)      -> name -> tensor, what the cloud holds before round 1
    loss(parameters, phone)     -> one number, what a phone makes smaller in a round
    scores(parameters, phone)   -> (N,), higher is better, what it ranks the catalogue by

They are written for one phone; `torch.func.vmap` runs them for a block of phones at once. A phone's
history is padded on the right to the longest of its block, and `phone.here` says what is real: a
function that does not multiply by it would learn from padding. `check_own` finds that out before
any training.

All that there is of a model is its parameters. Whatever else an object remembers (running means of
a normalisation, a cache) is not sent, not summed and not the phone's; nothing personal is kept
between rounds, a phone's taste is what its history says. The parameters are trained in float32.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from models.errors import SettingsError
from models.parameters import Layout
from models.seeds import generator

Parameters = dict[str, Tensor]

PADDING = 3
"""Places added to a history to see whether they change anything."""
TOLERANCE = 1e-4


class Phone(NamedTuple):
    """What one phone has; a block of B phones has B as its first axis throughout.

    Attributes:
        items: (L,) int64 training events, oldest first; 0 where there is only padding.
        here: (L,) float32, 1 for an event and 0 for padding.
        negatives: (K,) int64 items drawn from what the phone has not chosen in training, with
            replacement, anew in each round; K is `federation.training.num_negatives`. Empty where
            the phone ranks.
    """

    items: Tensor
    here: Tensor
    negatives: Tensor


class OwnModel(Protocol):
    """What a recommender must have to be trained by the fleet."""

    def start(self, num_items: int, seed: int) -> Parameters:
        """Parameters before round 1; the same for the same seed."""
        ...

    def loss(self, parameters: Parameters, phone: Phone) -> Tensor:
        """The loss of one phone, a number."""
        ...

    def scores(self, parameters: Parameters, phone: Phone) -> Tensor:
        """Scores of the catalogue for one phone, (N,)."""
        ...


def layout_of(start: Parameters) -> Layout:
    """Where each tensor lies in what is sent."""
    names = tuple(sorted(start))
    return Layout(names, tuple(tuple(start[name].shape) for name in names))


def losses_and_gradients(
    model: OwnModel, own: Parameters, phones: Phone
) -> tuple[Tensor, Parameters]:
    """The losses (B,) of a block of phones and their gradients, name -> (B, ...).

    Args:
        model: the recommender.
        own: name -> (B, ...), the parameters as each phone has them now.
        phones: B of them.
    """
    gradients, losses = vmap(grad_and_value(model.loss))(own, phones)
    return losses.detach(), {name: each.detach() for name, each in gradients.items()}


def scores_of(model: OwnModel, parameters: Parameters, phones: Phone) -> Tensor:
    """Scores of the catalogue for a block of phones with the same parameters, (B, N)."""
    with torch.no_grad():
        return vmap(model.scores, in_dims=(None, 0))(parameters, phones)


def check_own(model: OwnModel, num_items: int, num_negatives: int, seed: int) -> Parameters:
    """Try a model on two made-up phones; return where it starts, float32.

    Args:
        model: the recommender.
        num_items: N.
        num_negatives: K.
        seed: the run's.

    Raises:
        SettingsError: if `start` gives no tensors or others when asked again, `loss` is no single
            number, `scores` are not N, padding changes either, or torch cannot batch them.
    """
    start = _checked_start(model, num_items, seed)
    rng = generator(seed, "own model")
    shaken = {  # away from a start of zeros, where padding may happen to change nothing
        name: value + torch.from_numpy(rng.normal(0, 0.1, value.shape).astype(np.float32))
        for name, value in start.items()
    }
    items = torch.from_numpy(rng.integers(num_items, size=(2, 4)))
    negatives = torch.from_numpy(rng.integers(num_items, size=(2, num_negatives)))
    plain = Phone(items, torch.ones(items.shape), negatives)
    padding = torch.zeros(2, PADDING)
    padded = Phone(
        torch.cat([items, padding.long()], dim=1),
        torch.cat([plain.here, padding], dim=1),
        negatives,
    )
    one, other = (_tried(model, shaken, phones, num_items) for phones in (plain, padded))
    for what, mine, theirs in zip(("loss", "scores"), one, other, strict=True):
        if not torch.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            raise SettingsError(
                f"{type(model).__name__}.{what} changes when a history is padded: multiply what "
                "comes of each event by phone.here, and divide by phone.here.sum()"
            )
    return start


def _checked_start(model: OwnModel, num_items: int, seed: int) -> Parameters:
    name = f"{type(model).__name__}.start"
    found, again = ({**model.start(num_items, seed)} for _ in range(2))
    if not found or not all(
        isinstance(each, Tensor) and each.is_floating_point() for each in found.values()
    ):
        raise SettingsError(
            f"{name} must give a dict of names and tensors of floating-point numbers, got "
            f"{ {key: type(each).__name__ for key, each in found.items()} }"
        )
    start = {key: each.detach().to("cpu", torch.float32).clone() for key, each in found.items()}
    for key, each in start.items():
        if key not in again or not torch.equal(each, again[key].detach().to("cpu", torch.float32)):
            raise SettingsError(
                f"{name} gives another {key} when it is called again with the same seed: draw with "
                "torch.Generator().manual_seed(seed)"
            )
        if not torch.isfinite(each).all():
            raise SettingsError(f"{name} gives a {key} that is not finite")
    return start


def _tried(
    model: OwnModel, start: Parameters, phones: Phone, num_items: int
) -> tuple[Tensor, Tensor]:
    """Losses and scores of two phones, of the right shapes."""
    name, count = type(model).__name__, len(phones.items)
    own = {key: each.expand(count, *each.shape) for key, each in start.items()}
    try:
        losses, _ = losses_and_gradients(model, own, phones)
        nothing = phones._replace(negatives=phones.negatives[:, :0])
        scores = scores_of(model, start, nothing)
    except (RuntimeError, ValueError, IndexError) as error:
        raise SettingsError(
            f"{name} cannot be run for a block of phones (torch.func.vmap): "
            f"{str(error).splitlines()[0]}; loss must be one number, and neither may draw, branch "
            "on a tensor's value or change a tensor in place"
        ) from error
    if tuple(scores.shape) != (count, num_items):
        raise SettingsError(
            f"{name}.scores gives shape {tuple(scores.shape[1:])}, the catalogue has ({num_items},)"
        )
    return losses, scores
