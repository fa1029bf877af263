"""The recommender's gradients, a block of devices at once, each device its own.

Autograd would do (`models.recommender.losses` is the definition, and a test holds this file to it),
but it keeps a copy of everything for each device. Written out, the dear parts are few matrix
products, and what a device does not train costs nothing:

    z   = scale * u @ X' + bias          (B, T, N)  one product for a block while all share X
    dz  = softmax(z) - target            (B, T, N)  in the place of z
    du  = scale * dz @ X                 (B, T, dim)
    dX  = scale * dz' @ u                (B, N, dim)     rows of events are added to it
    dW  = text' @ dX                     (B, text_dim, dim)

With sampled negatives a device sees only its own few items (`LocalCatalogue`): N is then what its
events, targets and negatives touch, and its update of the item table has as many rows.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from models.recommender import (
    LOW_RANK,
    HistoryBlock,
    Shared,
    adapted,
    event_vectors,
    gates,
    item_vectors,
)

ITEM_TABLES = ("id_residual", "item_bias")
"""Shared parameters with one row per item of the catalogue."""


Precision = Literal["fp32", "bf16"]
Product = Callable[[Tensor, Tensor], Tensor]


def _in_bfloat16(left: Tensor, right: Tensor) -> Tensor:
    """Twice as fast where the processor multiplies bfloat16, slower where it does not."""
    return (left.bfloat16() @ right.bfloat16()).float()


PRODUCTS: dict[Precision, Product] = {"fp32": torch.matmul, "bf16": _in_bfloat16}


@dataclass(frozen=True, slots=True)
class LocalCatalogue:
    """The items that some devices work with.

    Attributes:
        rows: (B, M) int64, each device's items, all different; the rest is filled up with the
            number of items, which is none of them. None: the whole catalogue, the same for all.
        history: the block, its items and targets counted in `rows`.
        negatives: (B, K) sampled ones, counted likewise; None for all others.
        num_items: N, of the whole catalogue.
    """

    rows: Tensor | None
    history: HistoryBlock
    negatives: Tensor | None
    num_items: int

    @classmethod
    def of(
        cls, history: HistoryBlock, negatives: Tensor | None, num_items: int
    ) -> "LocalCatalogue":
        """The items of a block: all of them, or with sampled negatives those that it touches."""
        if negatives is None:
            return cls(None, history, None, num_items)
        touched = torch.cat([history.items, history.targets, negatives], dim=1)
        ordered, order = touched.sort(dim=1)
        new = torch.ones_like(ordered, dtype=torch.bool)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        place = torch.empty_like(order).scatter_(1, order, new.cumsum(dim=1) - 1)
        width = int(new.sum(dim=1).max())
        rows = torch.full((len(touched), width), num_items)
        rows.scatter_(1, place, touched)
        length = history.items.shape[1]
        items, targets, drawn = place.split([length, length, negatives.shape[1]], dim=1)
        return cls(rows, replace(history, items=items, targets=targets), drawn, num_items)

    def to(self, processor: torch.device) -> "LocalCatalogue":
        """The same where the gradients are worked out."""
        rows, negatives = (
            None if tensor is None else tensor.to(processor)
            for tensor in (self.rows, self.negatives)
        )
        return LocalCatalogue(rows, self.history.to(processor), negatives, self.num_items)

    def text(self, text: Tensor) -> Tensor:
        """Text vectors (N, text_dim) of the catalogue -> (1, N, .) or (B, M, .)."""
        return text.unsqueeze(0) if self.rows is None else self._taken(text)

    def parameters(self, shared: Shared) -> Shared:
        """Shared parameters without a leading axis -> those of the block, item tables cut."""
        cut = {name: tensor.unsqueeze(0) for name, tensor in shared.items()}
        if self.rows is not None:
            cut |= {name: self._taken(shared[name]) for name in ITEM_TABLES}
        return cut

    def _taken(self, table: Tensor) -> Tensor:
        assert self.rows is not None
        return table[self.rows.clamp(max=self.num_items - 1)]

    def weighted_sum(self, name: str, values: Tensor, weights: Tensor) -> Tensor:
        """Add up what the devices have for one shared parameter.

        Args:
            name: of the parameter.
            values: (B, ...), an item table with the rows of this catalogue.
            weights: (B,).

        Returns:
            (...), an item table with N rows.
        """
        total = weights @ values.reshape(len(values), -1) if self._is_whole(name) else None
        if total is not None:
            return total.reshape(values.shape[1:])
        assert self.rows is not None
        scaled = values * weights.reshape(-1, *[1] * (values.ndim - 1))
        summed = values.new_zeros(self.num_items + 1, *values.shape[2:])
        return summed.index_add_(0, self.rows.reshape(-1), scaled.flatten(0, 1))[:-1]

    def spread(self, name: str, values: Tensor) -> Tensor:
        """What the devices have for a parameter, item tables over the whole catalogue again."""
        if self._is_whole(name):
            return values
        assert self.rows is not None
        spread = values.new_zeros(len(values), self.num_items + 1, *values.shape[2:])
        index = self.rows.reshape(*self.rows.shape, *[1] * (values.ndim - 2)).expand_as(values)
        return spread.scatter_(1, index, values)[:, :-1]

    def _is_whole(self, name: str) -> bool:
        return self.rows is None or name not in ITEM_TABLES


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of B devices, each of its own mean loss.

    Attributes:
        losses: (B,).
        shared: name -> (B, ...), of what is trained.
        taste: (B, dim).
    """

    losses: Tensor
    shared: Shared
    taste: Tensor


def gradients(
    parameters: Shared,
    text: Tensor,
    local: LocalCatalogue,
    taste: Tensor,
    trained: Collection[str],
    precision: Precision = "fp32",
) -> Gradients:
    """The gradients of `models.recommender.losses`, for each device alone.

    Args:
        parameters: each (G, ...), as `LocalCatalogue.parameters` cuts them.
        text: (1, N, text_dim) or (B, M, text_dim), as `LocalCatalogue.text` cuts it.
        local: events, targets and candidates.
        taste: (B, dim).
        trained: names of the shared parameters whose gradients are wanted.
        precision: of the factors of the dear products; their sums are float32 in either case.
    """
    history, product = local.history, PRODUCTS[precision]
    items = item_vectors(parameters, text)  # (G, N, dim)
    events = event_vectors(parameters, items, history)  # (B, T, dim)
    weights = _attention(parameters, events, history)  # (B, H, t, j)
    pooled = weights @ events.unsqueeze(1)  # (B, H, T, dim)
    plain = (pooled @ parameters["head_mix"]).sum(dim=1) + taste.unsqueeze(1)
    states = adapted(parameters, plain)
    wants_items = bool({"id_residual", "text_projection", *LOW_RANK} & set(trained))
    if local.negatives is None:
        found = _softmax(parameters, states, items, local, product, wants_items=wants_items)
    else:
        found = _sampled_softmax(parameters, states, items, local, wants_items=wants_items)
    losses, d_states, d_items, d_bias, d_scale = found
    grads: Shared = {"item_bias": d_bias, "scale": d_scale}
    if "adapter_in" in parameters:
        d_states = _adapter_back(parameters, plain, d_states, grads)
    grads["head_mix"] = pooled.mT @ d_states.unsqueeze(1)
    d_events = _attention_back(parameters, events, weights, d_states, grads)
    if wants_items:
        _add_rows(d_items, history.items, d_events)
        grads["id_residual"] = d_items
    if "text_projection" in trained:
        grads["text_projection"] = product(text.mT, d_items)
    if set(LOW_RANK) & set(trained):
        _low_rank_back(parameters, text, d_items, grads)
    if "gate" in trained:
        _gates_back(parameters, grads)
    if "private_projection" in trained:
        private = history.private
        shape = (len(taste), text.shape[2], taste.shape[1])
        grads["private_projection"] = (
            taste.new_zeros(shape) if private is None else private.mT @ d_events
        )
    return Gradients(losses, {name: grads[name] for name in trained}, d_states.sum(dim=1))


def _attention(parameters: Shared, events: Tensor, history: HistoryBlock) -> Tensor:
    """The weights (B, H, t, j) of event j in the state after event t."""
    now = torch.arange(events.shape[1], device=events.device)
    age = now.unsqueeze(1) - now.unsqueeze(0)  # (t, j)
    content = (events @ parameters["attention_content"]).mT.unsqueeze(2)  # (B, H, 1, j)
    recency = parameters["attention_recency"][:, age.clamp(min=0)].permute(0, 3, 1, 2)
    visible = (age >= 0) & history.mask.unsqueeze(1)  # (B, t, j)
    logits = (content + recency).masked_fill_(~visible.unsqueeze(1), torch.finfo(events.dtype).min)
    return logits.softmax(dim=3)


def _attention_back(
    parameters: Shared, events: Tensor, weights: Tensor, d_states: Tensor, grads: Shared
) -> Tensor:
    """From the gradient of the states to that of the events (B, T, dim), which it returns.

    Writes the gradients of `attention_content` and `attention_recency` into `grads`.
    """
    d_pooled = d_states.unsqueeze(1) @ parameters["head_mix"].mT  # (B, H, t, dim)
    d_events = (weights.mT @ d_pooled).sum(dim=1)  # (B, j, dim)
    d_weights = d_pooled @ events.mT.unsqueeze(1)  # (B, H, t, j)
    d_logits = weights * (d_weights - (weights * d_weights).sum(dim=3, keepdim=True))
    d_content = d_logits.sum(dim=2).mT  # (B, j, H)
    grads["attention_content"] = events.mT @ d_content
    grads["attention_recency"] = _by_age(d_logits, parameters["attention_recency"].shape[1])
    return d_events + d_content @ parameters["attention_content"].mT


def _adapter_back(parameters: Shared, plain: Tensor, d_states: Tensor, grads: Shared) -> Tensor:
    """From behind the adapter to before it; writes its gradients, and that of its gate."""
    gate = gates(parameters)[1]
    before = plain @ parameters["adapter_in"]  # (B, T, width)
    hidden = before.relu()
    d_out = gate * d_states
    grads["adapter_out"] = hidden.mT @ d_out
    d_before = (d_out @ parameters["adapter_out"].mT).mul_(before > 0)
    grads["adapter_in"] = plain.mT @ d_before
    grads["gate of the adapter"] = (d_states * (hidden @ parameters["adapter_out"])).sum(dim=(1, 2))
    return d_states + d_before @ parameters["adapter_in"].mT


def _low_rank_back(parameters: Shared, text: Tensor, d_items: Tensor, grads: Shared) -> None:
    """Gradients of the low rank without that of the whole projection, which would be the dear one.

    Writes them, and that of its gate.
    """
    gate, out = gates(parameters)[0], parameters["low_rank_out"]
    inner = (text @ parameters["low_rank_in"]).mT @ d_items  # (B, rank, dim)
    grads["low_rank_out"] = gate * inner
    grads["low_rank_in"] = gate * (text.mT @ (d_items @ out.mT))
    grads["gate of the low rank"] = (inner * out).sum(dim=(1, 2))


def _gates_back(parameters: Shared, grads: Shared) -> None:
    """From how much is taken of each part to the gates (B, 2); a part that is not there gets 0."""
    opened = parameters["gate"].sigmoid()
    nothing = opened.new_zeros(len(grads["scale"]))
    parts = ("gate of the low rank", "gate of the adapter")
    each = torch.stack([grads.get(part, nothing) for part in parts], dim=1)
    grads["gate"] = each * 2.0 * opened * (1.0 - opened)


def _by_age(d_logits: Tensor, max_age: int) -> Tensor:
    """Add up (B, H, t, j) along t - j: -> (B, max_age, H)."""
    devices, heads, length, _ = d_logits.shape
    # A row t shifted left by its own number, and turned round, has the age in its column.
    padded = torch.nn.functional.pad(d_logits.flip(3), (0, length))  # (B, H, t, 2 T)
    sheared = padded.flatten(2)[:, :, : length * (2 * length - 1)]
    by_age = sheared.reshape(devices, heads, length, 2 * length - 1).sum(dim=2)
    found = by_age[:, :, length - 1 :].mT  # (B, T, H)
    return torch.nn.functional.pad(found, (0, 0, 0, max_age - length))


Step = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""losses (B,); gradients of states (B, T, dim), items (B, N, dim), bias (B, N), scale (B, 1)."""


def _softmax(
    parameters: Shared,
    states: Tensor,
    items: Tensor,
    local: LocalCatalogue,
    product: Product,
    *,
    wants_items: bool,
) -> Step:
    """Loss over the whole catalogue."""
    targets = local.history.targets.unsqueeze(2)  # (B, T, 1)
    scale = parameters["scale"].unsqueeze(2)  # (G, 1, 1)
    scores = product(scale * states, items.mT).add_(parameters["item_bias"].unsqueeze(1))
    share, own = _per_target(local.history), scores.gather(2, targets)
    d_scores, log_sums = _softmax_in_place(scores)
    losses = ((log_sums - own) * share).sum(dim=(1, 2))
    d_scores.mul_(share)
    d_scores.scatter_add_(2, targets, -share)
    d_unscaled = product(d_scores, items)
    d_items = product(d_scores.mT, scale * states) if wants_items else states
    d_scale = (states * d_unscaled).sum(dim=(1, 2)).unsqueeze(1)
    return losses, scale * d_unscaled, d_items, d_scores.sum(dim=1), d_scale


def _sampled_softmax(
    parameters: Shared, states: Tensor, items: Tensor, local: LocalCatalogue, *, wants_items: bool
) -> Step:
    """Loss of the target against each device's own negatives; they are items of its own."""
    history, negatives = local.history, local.negatives
    assert negatives is not None
    rows = torch.arange(len(states), device=states.device).unsqueeze(1)
    scale = parameters["scale"].unsqueeze(2)
    bias = parameters["item_bias"]
    rivals, wanted = items[rows, negatives], items[rows, history.targets]  # (B, K, dim), (B, T, .)
    scaled = scale * states
    others = scaled @ rivals.mT + bias[rows, negatives].unsqueeze(1)  # (B, T, K)
    same = history.targets.unsqueeze(2) == negatives.unsqueeze(1)
    others.masked_fill_(same, torch.finfo(others.dtype).min)
    own = (scaled * wanted).sum(dim=2) + bias[rows, history.targets]  # (B, T)
    share = _per_target(history)
    d_scores, log_sums = _softmax_in_place(torch.cat([own.unsqueeze(2), others], dim=2))
    losses = ((log_sums - own.unsqueeze(2)) * share).sum(dim=(1, 2))
    d_scores.mul_(share)
    d_scores[:, :, 0] -= share[:, :, 0]
    d_own, d_others = d_scores[:, :, :1], d_scores[:, :, 1:]  # (B, T, 1), (B, T, K)
    d_unscaled = d_own * wanted + d_others @ rivals
    width = items.shape[1]
    d_bias = states.new_zeros(len(states), width)
    d_bias.scatter_add_(1, history.targets, d_own.squeeze(2))
    d_bias.scatter_add_(1, negatives, d_others.sum(dim=1))
    d_items = states.new_zeros(len(states), width, states.shape[2])
    if wants_items:
        _add_rows(d_items, history.targets, d_own * scaled)
        _add_rows(d_items, negatives, d_others.mT @ scaled)
    d_scale = (states * d_unscaled).sum(dim=(1, 2)).unsqueeze(1)
    return losses, scale * d_unscaled, d_items, d_bias, d_scale


def _per_target(history: HistoryBlock) -> Tensor:
    """What each moment weighs in its device's mean loss, (B, T, 1)."""
    mask = history.target_mask.to(torch.float32)
    return (mask / mask.sum(dim=1, keepdim=True).clamp(min=1)).unsqueeze(2)


def _softmax_in_place(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax of the last axis, in the place of the scores, and the logarithms of its sums."""
    highest = scores.amax(dim=2, keepdim=True)
    scores.sub_(highest).exp_()
    sums = scores.sum(dim=2, keepdim=True)
    return scores.div_(sums), sums.log_().add_(highest)


def _add_rows(table: Tensor, index: Tensor, values: Tensor) -> None:
    """Add values (B, T, dim) to rows (B, T) of each device's table (B, N, dim)."""
    devices, width, size = table.shape
    flat = index + width * torch.arange(devices, device=index.device).unsqueeze(1)
    table.view(-1, size).index_add_(0, flat.reshape(-1), values.reshape(-1, size))
