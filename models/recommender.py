"""The hybrid recommender: settings, forward pass and loss, all in this file.

    item vector    x_i = text_i @ text_projection + id_residual_i               (dim,)
    event vector   h_j = x_(item of event j) + private_j @ private_projection   (dim,)
    attention      w_hj = softmax over j <= t of ( h_j . content_h + recency_h[t - j] )
    user state     u_t = taste + sum over heads of ( sum_j w_hj h_j ) @ head_mix_h
    score          s_i = scale * u_t . x_i + item_bias_i

Two parts may be added, so that a phone can learn and send less than the whole [2]:

    low rank       text_projection + g_1 * low_rank_in @ low_rank_out
    adapter        u_t + g_2 * relu(u_t @ adapter_in) @ adapter_out
    gates          g = 2 sigmoid(gate), if there are any, else 1; all begin as if not there

An item nobody rated still has its text, so cold items fall back on it: `id_residual` starts at 0.
The user state comes from the last `max_history` events; attention pooling with a learned decay was
measured against a GRU cell (equal quality, the GRU is slower; docs/experiments.md). The loss is the
softmax over the whole catalogue, or over sampled negatives where a catalogue is too large for a
phone (256 of 1,682 were as good); with one negative that is BPR [1], which was far behind.

Two kinds of parameters, told apart by type: `Shared` ones are aggregated by the cloud; `Personal`
ones never leave the phone, and no message can carry them.

Every function works on a block of B users. A shared tensor has a leading axis G that is 1 (all
users share it) or B (each device trains its own copy). `state_of_one_user` is the definition, one
user and one moment at a time, and a test holds the block to it.

[1] S. Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
[2] Y. Mao et al., "UniPELT: A Unified Framework for Parameter-Efficient Language Model Tuning",
    ACL 2022; E. Hu et al., "LoRA", ICLR 2022; N. Houlsby et al., "Parameter-Efficient Transfer
    Learning for NLP", ICML 2019.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models.errors import SettingsError
from models.parameters import Layout
from models.seeds import integer_seed

Shared = dict[str, Tensor]
"""What the cloud aggregates: name -> (G, ...) in a block, (...) at rest."""

HALF_LIFE_GROWTH = 4.0
"""Head h starts with a memory 4^h events long, so that the heads do not start alike."""


class RecommenderSettings(BaseModel):
    """The shape of the recommender."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(ge=2, le=512, description="size of item and user vectors")
    num_heads: int = Field(ge=1, le=8, description="attention heads that pool the history")
    max_history: int = Field(ge=1, le=512, description="how many recent events a phone looks at")
    low_rank: int = Field(ge=0, le=64, description="rank added to the text projection; 0 is none")
    adapter: int = Field(ge=0, le=512, description="width of an adapter on the user; 0 is none")
    gated: bool = Field(description="whether the two have gates, to be mixed by")

    def without_parts(self) -> "RecommenderSettings":
        """The same recommender without low rank, adapter and gates: what a server trains."""
        return self.model_copy(update={"low_rank": 0, "adapter": 0, "gated": False})


@dataclass(frozen=True, slots=True)
class Personal:
    """Parameters that never leave the phone: no codec knows this type.

    Attributes:
        taste: (B, dim) float32, added to the user state.
    """

    taste: Tensor


@dataclass(frozen=True, slots=True)
class HistoryBlock:
    """The recent events of B users, padded on the right.

    Attributes:
        items: (B, T) int64 item index; 0 where padded.
        mask: (B, T) bool, True where there is an event.
        targets: (B, T) int64, the item chosen next; 0 where there is none.
        target_mask: (B, T) bool, True where `targets` counts in the loss.
        private: (B, T, text_dim) float32 vectors of private texts, 0 where none; or None.
    """

    items: Tensor
    mask: Tensor
    targets: Tensor
    target_mask: Tensor
    private: Tensor | None

    def to(self, processor: torch.device) -> "HistoryBlock":
        """The same block where it is worked on."""
        return HistoryBlock(
            self.items.to(processor),
            self.mask.to(processor),
            self.targets.to(processor),
            self.target_mask.to(processor),
            None if self.private is None else self.private.to(processor),
        )


def parameter_layout(settings: RecommenderSettings, num_items: int, text_dim: int) -> Layout:
    """Names and shapes of the shared parameters: the same on the cloud and on every phone."""
    dim, heads = settings.dim, settings.num_heads
    shapes: dict[str, tuple[int, ...]] = {
        "text_projection": (text_dim, dim),
        "private_projection": (text_dim, dim),
        "id_residual": (num_items, dim),
        "item_bias": (num_items,),
        "attention_content": (dim, heads),
        "attention_recency": (settings.max_history, heads),
        "head_mix": (heads, dim, dim),
        "scale": (1,),
    }
    if settings.low_rank:
        rank = settings.low_rank
        shapes |= {"low_rank_in": (text_dim, rank), "low_rank_out": (rank, dim)}
    if settings.adapter:
        shapes |= {"adapter_in": (dim, settings.adapter), "adapter_out": (settings.adapter, dim)}
    if settings.gated:
        shapes["gate"] = (2,)
    names = tuple(sorted(shapes))
    return Layout(names, tuple(shapes[name] for name in names))


HEAD = ("attention_content", "attention_recency", "head_mix", "scale")
LOW_RANK = ("low_rank_in", "low_rank_out")
ADAPTER = ("adapter_in", "adapter_out")
PARTS: dict[str, tuple[str, ...]] = {
    "head": HEAD,
    "head+bias": (*HEAD, "item_bias"),
    "low-rank": LOW_RANK,
    "adapter": ADAPTER,
    "gated-mix": (*LOW_RANK, *ADAPTER, "gate"),
}
"""What a phone may update, by name of the setting; "all" is everything that there is."""


def trained_names(layout: Layout, part: str) -> tuple[str, ...]:
    """Names of the parameters that a phone updates under this setting, sorted.

    Raises:
        SettingsError: if the recommender does not have them.
    """
    wanted = layout.names if part == "all" else PARTS[part]
    missing = sorted(set(wanted) - set(layout.names))
    if missing:
        raise SettingsError(
            f"federation.training.trained is '{part}', and this recommender has no "
            f"{', '.join(missing)}: set recommender.low_rank, recommender.adapter or "
            "recommender.gated"
        )
    return tuple(sorted(wanted))


def initial_parameters(
    settings: RecommenderSettings, num_items: int, text_dim: int, seed: int
) -> Shared:
    """Draw the shared parameters, without a leading axis.

    Args:
        settings: the shape.
        num_items: N, the size of the catalogue.
        text_dim: size of a text vector.
        seed: the run's seed; the draw's address is (seed, "recommender").
    """
    rng = torch.Generator().manual_seed(integer_seed(seed, "recommender"))
    dim, heads, length = settings.dim, settings.num_heads, settings.max_history
    memory = HALF_LIFE_GROWTH ** torch.arange(heads, dtype=torch.float32)  # (H,)
    noise = 0.01 * torch.randn(heads, dim, dim, generator=rng)
    drawn = {
        "text_projection": torch.randn(text_dim, dim, generator=rng) / math.sqrt(text_dim),
        "attention_recency": -torch.arange(length, dtype=torch.float32)[:, None] / memory,
        "head_mix": torch.eye(dim).expand(heads, dim, dim) / heads + noise,
        "scale": torch.ones(1),
    }
    # One side of a low rank or an adapter begins at 0, so that the whole does; the other must not.
    for name, inputs in (("low_rank_in", text_dim), ("adapter_in", dim)):
        width = settings.low_rank if name == "low_rank_in" else settings.adapter
        if width:
            drawn[name] = torch.randn(inputs, width, generator=rng) / math.sqrt(inputs)
    return parameter_layout(settings, num_items, text_dim).zeros() | drawn


def gates(parameters: Shared) -> tuple[Tensor | float, Tensor | float]:
    """How much of the low rank and of the adapter is taken, each (G, 1, 1), or 1 without gates."""
    if "gate" not in parameters:
        return 1.0, 1.0
    opened = 2.0 * parameters["gate"].sigmoid().unsqueeze(-1).unsqueeze(-1)  # (G, 2, 1, 1)
    return opened[..., 0, :, :], opened[..., 1, :, :]


def text_projection(parameters: Shared) -> Tensor:
    """The text projection with its low rank, if there is one: (G, text_dim, dim)."""
    whole = parameters["text_projection"]
    if "low_rank_in" not in parameters:
        return whole
    low_rank = parameters["low_rank_in"] @ parameters["low_rank_out"]
    return whole + gates(parameters)[0] * low_rank


def adapted(parameters: Shared, states: Tensor) -> Tensor:
    """User states (B, T, dim) behind the adapter, if there is one."""
    if "adapter_in" not in parameters:
        return states
    hidden = (states @ parameters["adapter_in"]).relu()
    return states + gates(parameters)[1] * (hidden @ parameters["adapter_out"])


def share(parameters: Shared) -> Shared:
    """Add the leading axis of 1 that says: everybody in the block uses these."""
    return {name: tensor.unsqueeze(0) for name, tensor in parameters.items()}


def item_vectors(parameters: Shared, text: Tensor) -> Tensor:
    """Vectors of the whole catalogue.

    Args:
        parameters: each (G, ...).
        text: (N, text_dim) text vectors, centred and of length 1 or less.

    Returns:
        (G, N, dim).
    """
    return text @ text_projection(parameters) + parameters["id_residual"]


def event_vectors(parameters: Shared, items: Tensor, history: HistoryBlock) -> Tensor:
    """Vectors of the events of each user: the item, plus what was written privately with it.

    Args:
        parameters: each (G, ...).
        items: (G, N, dim) item vectors.
        history: the events of B users.

    Returns:
        (B, T, dim).
    """
    if items.shape[0] == 1:
        events = items[0][history.items]
    else:
        rows = torch.arange(items.shape[0]).unsqueeze(1)
        events = items[rows, history.items]
    if history.private is not None:
        events = events + history.private @ parameters["private_projection"]
    return events


def user_states(parameters: Shared, items: Tensor, history: HistoryBlock, taste: Tensor) -> Tensor:
    """The state of each user after each event.

    Args:
        parameters: each (G, ...).
        items: (G, N, dim) item vectors.
        history: the events of B users.
        taste: (B, dim) personal vectors.

    Returns:
        (B, T, dim); rows of padded events mean nothing.
    """
    events = event_vectors(parameters, items, history)  # (B, T, dim)
    length = events.shape[1]
    now = torch.arange(length)
    age = now.unsqueeze(1) - now.unsqueeze(0)  # (T, T): t - j
    recency = parameters["attention_recency"][:, age.clamp(min=0)]  # (G, T, T, H)
    content = events @ parameters["attention_content"]  # (B, T, H)
    logits = content.unsqueeze(1) + recency  # (B, t, j, H)
    visible = (age >= 0) & history.mask.unsqueeze(1)  # (B, t, j)
    logits = logits.masked_fill(~visible.unsqueeze(-1), torch.finfo(logits.dtype).min)
    weights = logits.softmax(dim=2).permute(0, 3, 1, 2)  # (B, H, t, j)
    pooled = weights @ events.unsqueeze(1)  # (B, H, T, dim)
    states = (pooled @ parameters["head_mix"]).sum(dim=1) + taste.unsqueeze(1)
    return adapted(parameters, states)


def score(parameters: Shared, states: Tensor, items: Tensor) -> Tensor:
    """Scores of the whole catalogue for each state: (B, T, dim) -> (B, T, N)."""
    scaled = states * parameters["scale"].unsqueeze(-1)
    return scaled @ items.transpose(1, 2) + parameters["item_bias"].unsqueeze(1)


def losses(
    parameters: Shared,
    text: Tensor,
    history: HistoryBlock,
    taste: Tensor,
    negatives: Tensor | None = None,
) -> Tensor:
    """Mean softmax cross-entropy of the next item, for each user alone.

    Args:
        parameters: each (G, ...).
        text: (N, text_dim).
        history: the events of B users and the items chosen next.
        taste: (B, dim).
        negatives: (B, K) sampled item indices, shared by all moments of one user; None means the
            whole catalogue.

    Returns:
        (B,) float32; 0 for a user without a single target (padding, or one event).
    """
    items = item_vectors(parameters, text)
    states = user_states(parameters, items, history, taste)
    if negatives is None:
        scores = score(parameters, states, items)
        targets = history.targets
    else:
        scores, targets = _sampled_scores(parameters, states, items, history, negatives)
    nll = F.cross_entropy(scores.transpose(1, 2), targets, reduction="none")  # (B, T)
    counts = history.target_mask.sum(dim=1).clamp(min=1)
    return nll.masked_fill(~history.target_mask, 0.0).sum(dim=1) / counts


def _sampled_scores(
    parameters: Shared, states: Tensor, items: Tensor, history: HistoryBlock, negatives: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores (B, T, 1 + K) with the target in column 0, and targets of 0.

    A negative that happens to be the target is taken out: it cannot be above itself.
    """
    users, moments = history.targets.shape
    wanted = torch.cat([history.targets, negatives], dim=1)  # (B, T + K)
    rows = torch.arange(users).unsqueeze(1) if items.shape[0] > 1 else torch.zeros(1, 1).long()
    chosen = items[rows, wanted]  # (B, T + K, dim)
    bias = parameters["item_bias"][rows, wanted]  # (B, T + K)
    scaled = states * parameters["scale"].unsqueeze(-1)
    own = (scaled * chosen[:, :moments]).sum(dim=-1) + bias[:, :moments]  # (B, T)
    others = scaled @ chosen[:, moments:].transpose(1, 2) + bias[:, None, moments:]  # (B, T, K)
    same = history.targets.unsqueeze(-1) == negatives.unsqueeze(1)
    others = others.masked_fill(same, torch.finfo(others.dtype).min)
    scores = torch.cat([own.unsqueeze(-1), others], dim=-1)
    return scores, torch.zeros_like(history.targets)


def last_states(parameters: Shared, items: Tensor, history: HistoryBlock, taste: Tensor) -> Tensor:
    """The state of each user now, after the last event: the others are not worked out.

    Returns:
        (B, dim); a user without events is nothing but taste.
    """
    events = event_vectors(parameters, items, history)  # (B, T, dim)
    num_events = history.mask.sum(dim=1, keepdim=True)
    age = (num_events - 1 - torch.arange(events.shape[1])).clamp(min=0)  # (B, T)
    rows = torch.arange(len(events)).unsqueeze(1) if len(parameters["scale"]) > 1 else 0
    recency = parameters["attention_recency"][rows, age]  # (B, T, H)
    logits = events @ parameters["attention_content"] + recency
    logits = logits.masked_fill(~history.mask.unsqueeze(2), torch.finfo(logits.dtype).min)
    pooled = logits.softmax(dim=1).mT @ events  # (B, H, dim)
    mixed = (pooled.unsqueeze(2) @ parameters["head_mix"]).sum(dim=1)  # (B, 1, dim)
    states = adapted(parameters, mixed + taste.unsqueeze(1)).squeeze(1)
    return torch.where(num_events > 0, states, taste)


def state_of_one_user(
    parameters: Shared, items: Tensor, events: Tensor, private: Tensor | None, taste: Tensor
) -> Tensor:
    """The definition of the user state, one user at one moment, written to be read.

    Args:
        parameters: each without a leading axis.
        items: (N, dim) item vectors.
        events: (T,) items of the history, oldest first, T >= 1.
        private: (T, text_dim) vectors of private texts, or None.
        taste: (dim,).

    Returns:
        (dim,) the state after the last event.
    """
    vectors = items[events]
    if private is not None:
        vectors = vectors + private @ parameters["private_projection"]
    ages = torch.arange(len(events) - 1, -1, -1)  # the last event has age 0
    state = taste
    for head in range(parameters["head_mix"].shape[0]):
        content = vectors @ parameters["attention_content"][:, head]
        weights = torch.softmax(content + parameters["attention_recency"][ages, head], dim=0)
        state = state + (weights @ vectors) @ parameters["head_mix"][head]
    return adapted(share(parameters), state.reshape(1, 1, -1))[0, 0]
