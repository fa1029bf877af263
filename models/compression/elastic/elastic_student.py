"""The elastic student: a student for every device tier, each inside the next larger one.

```
words (N, E)          +-------+---+------+
                      | small |   |      |   a size is a corner of every weight: its first words,
                      +-------+   |      |   its first numbers per word and per place, its first
                      | middle    |      |   heads and its first layers
                      +-----------+      |
                      | large            |
                      +------------------+
LayerNorms            small | middle | large   own ones per size: a corner has its own mean and
                                               spread, and they are tiny
```

*What nests.* Words are in the order of their worth, spelling pieces first (`nested_words`), so a
smaller vocabulary is the head of a larger one and can still spell every word; its texts are split
anew. All heads have one size, so fewer heads are a prefix of them. Passes cost no bytes and are
free. A smaller `vector_size` is a prefix too: the targets lie on principal axes, whose head is the
best smaller target.

*What comes out.* `slice_student` cuts a real `Student` that owes nothing to the others, so export
and quantisation do not know of elastic training (`elastic_training`).

That one compression should serve every device is YOCO-BERT's idea [1] and that all sizes share
their weights is Once-for-all's [2]; corners, own norms and the order of words are our choice.

[1] S. Zhang et al., "You Only Compress Once: Towards Effective and Elastic BERT Compression via
    Exploit-Explore Stochastic Nature Gradient", arXiv 2106.02435.
[2] H. Cai et al., "Once-for-All", ICLR 2020, arXiv 1908.09791.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from models.compression.student import Student, StudentConfig, StudentSettings, build_student

_GROWING = (
    "embedding_size",
    "hidden_size",
    "intermediate_size",
    "num_heads",
    "layers",
    "adapter_size",
    "max_tokens",
    "vector_size",
)
"""What a larger size has at least as much of; its passes are free."""


class ElasticSize(BaseModel, extra="forbid", frozen=True):
    """One student of the family."""

    name: str = Field(description="for tables and folders, such as the tier it is for")
    words: int = Field(description="words of its vocabulary, the first of the largest's", ge=5)
    student: StudentSettings


class ElasticTrainingSettings(BaseModel, extra="forbid", frozen=True):
    """How all sizes learn together."""

    between: int = Field(
        description="sizes that learn in a step besides the largest and the smallest", ge=0
    )
    imitation: float = Field(
        description="share of a smaller size's loss that is against the largest's vectors",
        ge=0,
        le=1,
    )
    steps: int = Field(description="optimiser steps", ge=1)
    batch_size: int = Field(description="texts per step", ge=2, le=4096)
    learning_rate: float = Field(description="highest rate of AdamW", gt=0, le=1)
    word_rate_share: float = Field(
        description="rate of the word table as a share of learning_rate: it starts near its goal",
        gt=0,
        le=1,
    )
    warmup_share: float = Field(
        description="share of the steps in which the rate rises; it then falls to 0", ge=0, lt=1
    )
    weight_decay: float = Field(description="of matrices, not of words, norms and biases", ge=0)
    checkpoint_every: int = Field(description="steps between two checkpoints", ge=1)
    device: Literal["cpu", "cuda"] = Field(description="where the student is trained")


class ElasticSettings(ElasticTrainingSettings, frozen=True):
    """The sizes, and how they learn together."""

    sizes: tuple[ElasticSize, ...] = Field(description="smallest first", min_length=2)

    @model_validator(mode="after")
    def _sizes_nest(self) -> "ElasticSettings":
        check_nesting(self.sizes)
        return self


class ElasticStudent(nn.Module):
    """All sizes at once: the largest student, and own LayerNorms for each smaller one."""

    def __init__(self, sizes: Sequence[ElasticSize], seed: int) -> None:
        """Start from fresh weights; see `elastic_warm_start` for a better start.

        Args:
            sizes: smallest first, nested (`ElasticSettings` checks that).
            seed: of the weights.
        """
        super().__init__()
        self.sizes = tuple(sizes)
        self.largest = build_student(sizes[-1].student, sizes[-1].words, seed)
        # Students without memory: they only say which weights there are and how to apply them.
        # In a list, not a ModuleList, so that they are no part of what is trained and saved.
        self._shapes = [_without_memory(size) for size in sizes]
        self._norm_names = [_norm_names(shape) for shape in self._shapes]
        self.norms = nn.ModuleList(
            nn.ModuleList(_fresh_norm(shape, name) for name in names)
            for shape, names in zip(self._shapes[:-1], self._norm_names, strict=False)
        )

    def forward(self, ids: Tensor, mask: Tensor, size: int) -> Tensor:
        """Encode padded texts at one size.

        Args:
            ids: (B, T) int64, pieces of that size's vocabulary.
            mask: (B, T) int64, 1 where there is a piece.
            size: place in `sizes`.

        Returns:
            (B, V of that size) float32, rows of length 1.
        """
        vectors: Tensor = functional_call(self._shapes[size], self.weights(size), (ids, mask))
        return vectors

    def weights(self, size: int) -> dict[str, Tensor]:
        """Return the weights of one size, named as in `Student`, cut out of the shared ones."""
        shared = dict(self.largest.named_parameters())
        shape = self._shapes[size]
        cut = {
            name: corner(shared[_name_in_largest(name, shape, self.largest)], name, small.shape)
            for name, small in shape.named_parameters()
        }
        if size < len(self.norms):
            own = self.norms[size]
            assert isinstance(own, nn.ModuleList)
            for name, norm in zip(self._norm_names[size], own, strict=True):
                cut |= {f"{name}.{part}": value for part, value in norm.named_parameters()}
        return cut


def slice_student(elastic: ElasticStudent, size: int) -> Student:
    """Cut a student of its own out of the elastic one.

    Guarantee: it gives the same vectors as the elastic student at that size, and shares no memory
    with it.

    Args:
        elastic: all sizes.
        size: place in its `sizes`.
    """
    wanted = elastic.sizes[size]
    student = build_student(wanted.student, wanted.words, seed=0)
    with torch.no_grad():
        weights = elastic.weights(size)
        for name, parameter in student.named_parameters():
            parameter.copy_(weights[name])
    student.eval()
    return student


def corner(weight: Tensor, name: str, shape: Sequence[int]) -> Tensor:
    """Return the first numbers of a weight along every axis.

    Queries, keys and values are stacked on one axis: each of the three is cut by itself.

    >>> corner(torch.arange(12).reshape(6, 2), "layers.0.query_key_value.weight", (3, 1)).tolist()
    [[0], [4], [8]]
    """
    if "query_key_value" in name:
        three = weight.unflatten(0, (3, -1))
        return corner(three, "", (3, shape[0] // 3, *shape[1:])).flatten(0, 1)
    return weight[tuple(slice(0, length) for length in shape)]


def check_nesting(sizes: Sequence[ElasticSize]) -> None:
    """Raise if not each size is a corner of the next larger one.

    Raises:
        ValueError: naming the two sizes, what does not fit, and both values.
    """
    names = [size.name for size in sizes]
    if len(set(names)) != len(names):
        raise ValueError(f"sizes need a name each, they have {names}")
    for small, large in pairwise(sizes):
        _check_growth(small, large)
    for size in sizes[:-1]:
        _check_kind(size, sizes[-1])


def _check_growth(small: ElasticSize, large: ElasticSize) -> None:
    """Raise ValueError if the larger of two sizes has less of something."""
    pairs = {
        name: (getattr(small.student, name), getattr(large.student, name)) for name in _GROWING
    }
    pairs["words"] = (small.words, large.words)
    for name, (less, more) in pairs.items():
        if less > more:
            raise ValueError(
                f"size {small.name!r} does not fit into {large.name!r}: {name} is {less}, at most "
                f"{more}"
            )


def _check_kind(size: ElasticSize, largest: ElasticSize) -> None:
    """Raise ValueError if the weights of a size are not a corner of the largest's."""
    ours, theirs = size.student, largest.student
    head, heads = (s.hidden_size // s.num_heads for s in (ours, theirs))
    widens, widen = (s.embedding_size != s.hidden_size for s in (ours, theirs))
    problem = ""
    if head != heads:
        problem = f"its heads have {head} numbers, theirs {heads}"
    elif widens != widen:
        problem = "embedding_size equals hidden_size in one of them only"
    elif bool(ours.layers) != bool(theirs.layers):
        problem = "one of them is a bag of words (layers = 0)"
    elif bool(ours.adapter_size) != bool(theirs.adapter_size):
        problem = "one of them has no adapters"
    elif ours.adapter_size and ours.passes > theirs.passes:
        problem = f"adapters for {ours.passes} passes, there are some for {theirs.passes}"
    if problem:
        raise ValueError(f"size {size.name!r} does not fit into {largest.name!r}: {problem}")


def _without_memory(size: ElasticSize) -> Student:
    with torch.device("meta"):
        shape: Student = Student(StudentConfig(size.words, size.student.model_dump()))
    return shape


def _norm_names(shape: Student) -> list[str]:
    return [name for name, module in shape.named_modules() if isinstance(module, nn.LayerNorm)]


def _fresh_norm(shape: Student, name: str) -> nn.LayerNorm:
    norm = shape.get_submodule(name)
    assert isinstance(norm, nn.LayerNorm)
    return nn.LayerNorm(norm.normalized_shape, eps=norm.eps)


def _name_in_largest(name: str, small: Student, largest: Student) -> str:
    """Return the largest student's name of a weight: an adapter's place counts pass by pass."""
    if not name.startswith("adapters."):
        return name
    _, place, rest = name.split(".", 2)
    turn, layer = divmod(int(place), small.settings.layers)
    return f"adapters.{turn * largest.settings.layers + layer}.{rest}"
