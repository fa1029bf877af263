"""The student: the whole forward pass of the ultra-compact encoder, in one file.

```
ids (B, T)
  words[ids] + positions[0..T-1], LayerNorm        (B, T, E)   factorised: E may be below H   [1]
  widen  E -> H                                    (B, T, H)   left out when E = H
  passes x layers times:                                       a pass costs time, not bytes   [1]
    LayerNorm(x + attention(x))                    (B, T, H)   H = heads x head size
    LayerNorm(x + feed-forward(x))                 (B, T, H)   H -> F -> H with GELU
    x + adapter(x), one per place in the stack     (B, T, H)   H -> A -> H, if A > 0          [2]
  mean over the real places                        (B, H)      `pool`
  projector  H -> V, length 1                      (B, V)      the vector that ships
```

One class is every student that we compare, by its settings:

    layers = 1, passes 1-4            ALBERT-type: one stored layer, applied again and again    [1]
    layers = 4, passes = 1, E = H     BERT-type: layers that share nothing
    adapter_size > 0                  MiniALBERT: a small bottleneck tells the passes apart     [2]
    layers = 0                        static: a bag of words, as Model2Vec ships it

EI-BERT's student is "a tiny ALBERT with 2 layers (shared weights)"; all sizes here are our choice.
It saves and loads as a transformers model (`save_pretrained`, `from_pretrained`).

[1] Z. Lan et al., "ALBERT", ICLR 2020, arXiv 1909.11942, section 3.1.
[2] M. Nouriborji et al., "MiniALBERT", EACL 2023, arXiv 2210.06425.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

INITIAL_SPREAD = 0.02
"""Standard deviation of every fresh weight, as in BERT and ALBERT."""

NORM_EPSILON = 1e-12


class StudentSettings(BaseModel, extra="forbid", frozen=True):
    """The shape of the student; the number of words follows from the byte budget."""

    embedding_size: int = Field(description="E, numbers per word", ge=8, le=1024)
    hidden_size: int = Field(description="H, numbers per place inside", ge=8, le=1024)
    intermediate_size: int = Field(description="F, width of the feed-forward net", ge=8, le=4096)
    num_heads: int = Field(description="attention heads; they divide hidden_size", ge=1, le=64)
    layers: int = Field(description="stored layers; 0 is a bag of words", ge=0, le=12)
    passes: int = Field(description="how often the stored layers are applied", ge=1, le=12)
    adapter_size: int = Field(
        description="A, of the adapters between passes; 0: none", ge=0, le=256
    )
    max_tokens: int = Field(description="longest text in pieces, frame included", ge=3, le=512)
    vector_size: int = Field(description="V, numbers per encoded text", ge=2, le=1024)

    @model_validator(mode="after")
    def _sizes_agree(self) -> "StudentSettings":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads is {self.num_heads} and does not divide hidden_size {self.hidden_size}"
            )
        if self.layers == 0 and (self.adapter_size or self.hidden_size != self.embedding_size):
            raise ValueError(
                "a student of 0 layers is a bag of words: set hidden_size = embedding_size "
                f"({self.embedding_size}) and adapter_size = 0"
            )
        return self

    @property
    def depth(self) -> int:
        """Layers that a text goes through."""
        return self.layers * self.passes


class StudentConfig(PretrainedConfig):
    """`StudentSettings` and the number of words, in the form that transformers saves."""

    model_type = "ei-bert"

    def __init__(
        self, vocab_size: int = 0, shape: dict[str, int] | None = None, **more: Any
    ) -> None:
        super().__init__(**more)
        self.vocab_size = vocab_size
        self.shape = dict(shape or {})

    @property
    def settings(self) -> StudentSettings:
        """The shape, checked."""
        return StudentSettings.model_validate(self.shape)


class Layer(nn.Module):
    """Attention and feed-forward net, each added to its input and normalised after it (BERT)."""

    def __init__(self, settings: StudentSettings) -> None:
        super().__init__()
        H, W = settings.hidden_size, settings.intermediate_size
        self.num_heads = settings.num_heads
        self.query_key_value = nn.Linear(H, 3 * H)
        self.attention_out = nn.Linear(H, H)
        self.attention_norm = nn.LayerNorm(H, eps=NORM_EPSILON)
        self.feed_in = nn.Linear(H, W)
        self.feed_out = nn.Linear(W, H)
        self.feed_norm = nn.LayerNorm(H, eps=NORM_EPSILON)

    def forward(self, x: Tensor, blocked: Tensor) -> Tensor:
        """Map (B, T, H) to (B, T, H); `blocked` (B, 1, 1, T) is -inf at padding, else 0."""
        x = self.attention_norm(x + self.attention_out(self.attend(x, blocked)))
        y: Tensor = self.feed_norm(x + self.feed_out(F.gelu(self.feed_in(x))))
        return y

    def attend(self, x: Tensor, blocked: Tensor) -> Tensor:
        """Return what each place reads from the others, heads side by side: (B, T, H)."""
        B, T, H = x.shape
        heads = self.query_key_value(x).view(B, T, 3, self.num_heads, H // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, T, H / heads)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=blocked)
        return read.transpose(1, 2).reshape(B, T, H)


class ZeroLinear(nn.Linear):
    """A linear map whose weights start at 0."""


class Adapter(nn.Module):
    """A bottleneck that starts as nothing: x + up(gelu(down(x)))  [2]."""

    def __init__(self, hidden_size: int, adapter_size: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, adapter_size)
        self.up = ZeroLinear(adapter_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H) to (B, T, H)."""
        y: Tensor = x + self.up(F.gelu(self.down(x)))
        return y


class Student(PreTrainedModel):
    """The encoder with its pooling and projector: what is trained and what is exported."""

    config_class = StudentConfig
    base_model_prefix = ""
    main_input_name = "ids"

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        settings = config.settings
        E, H = settings.embedding_size, settings.hidden_size
        self.settings = settings
        self.words = nn.Embedding(config.vocab_size, E)
        self.positions = nn.Embedding(settings.max_tokens, E)
        self.norm = nn.LayerNorm(E, eps=NORM_EPSILON)
        self.widen = nn.Linear(E, H) if E != H else None
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
        self.adapters = nn.ModuleList(
            Adapter(H, settings.adapter_size)
            for _ in range(settings.depth if settings.adapter_size else 0)
        )
        self.projector = nn.Linear(H, settings.vector_size, bias=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Fresh weights as BERT's; an adapter's way up is zero, so that it starts as nothing."""
        if isinstance(module, ZeroLinear):
            nn.init.zeros_(module.weight)
        elif isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INITIAL_SPREAD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode padded texts.

        Args:
            ids: (B, T) int64, T <= max_tokens.
            mask: (B, T) int64, 1 where there is a piece, 0 where there is padding.

        Returns:
            (B, vector_size) float32, rows of length 1.
        """
        return F.normalize(self.projector(self.pool(ids, mask)), dim=1)

    def pool(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of the last hidden states over the real places, (B, H)."""
        return mean_pool(self.hidden_states(ids, mask)[-1], mask)

    def hidden_states(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the states before the first layer and after each of the `depth` layers.

        Returns:
            depth + 1 tensors (B, T, H) float32.
        """
        x = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])
        states = [x if self.widen is None else self.widen(x)]
        blocked = torch.where(mask[:, None, None, :] > 0, 0.0, -torch.inf)
        for place in range(self.settings.depth):
            x = self.layers[place % self.settings.layers](states[-1], blocked)
            states.append(self.adapters[place](x) if self.adapters else x)
        return states


def build_student(settings: StudentSettings, vocabulary_size: int, seed: int) -> Student:
    """Make a student of fresh weights; torch's own random state is left as it was.

    Args:
        settings: its shape.
        vocabulary_size: its words.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(StudentConfig(vocabulary_size, settings.model_dump()))


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the hidden states over the real places: (B, T, H), (B, T) -> (B, H)."""
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def count_weights(student: Student) -> dict[str, int]:
    """Return how many weights are stored, and how many are applied to a text."""
    stored = sum(p.numel() for p in student.parameters())
    layers = sum(p.numel() for p in student.layers.parameters())
    return {
        "weights_stored": stored,
        "weights_applied": stored + layers * (student.settings.passes - 1),
    }
