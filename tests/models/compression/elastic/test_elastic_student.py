import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.compression.elastic.elastic_student import (
    ElasticSettings,
    ElasticSize,
    ElasticStudent,
    corner,
    slice_student,
)
from models.compression.export.encoder_graph import export_graph
from models.compression.pretraining.batches import pad
from models.compression.quantization.few_bits import uniform
from models.compression.student import StudentSettings

LARGE = {
    "embedding_size": 16,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_heads": 3,
    "layers": 2,
    "passes": 2,
    "adapter_size": 3,
    "max_tokens": 14,
    "vector_size": 12,
}
SMALLER = {"embedding_size": 8, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2}
SMALLEST = {**SMALLER, "layers": 1, "adapter_size": 2, "vector_size": 10, "max_tokens": 12}


def size(name, words, **changes):
    return ElasticSize(
        name=name, words=words, student=StudentSettings.model_validate({**LARGE, **changes})
    )


SIZES = (
    size("small", 20, **SMALLEST),
    size("middle", 26, **SMALLER, passes=1),
    size("large", 40),
)


def family(**changes):
    values = {
        "sizes": SIZES,
        "between": 1,
        "imitation": 0.5,
        "steps": 6,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "word_rate_share": 0.5,
        "warmup_share": 0.25,
        "weight_decay": 0.01,
        "checkpoint_every": 4,
        "device": "cpu",
    }
    return ElasticSettings.model_validate({**values, **changes})


def lived(sizes=SIZES, seed=1):
    """An elastic student whose weights all differ, as after training."""
    elastic = ElasticStudent(sizes, seed)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in elastic.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return elastic


def texts(words, count=20, longest=9, seed=0):
    rng = np.random.default_rng(seed)
    return [
        [2, *rng.integers(5, words, size=rng.integers(1, longest)).tolist(), 3]
        for _ in range(count)
    ]


@pytest.mark.parametrize("place", range(3))
def test_a_slice_is_the_elastic_student_at_that_size(place):
    elastic = lived()
    ids, mask = pad(texts(SIZES[place].words))
    cut = slice_student(elastic, place)
    assert cut.settings == SIZES[place].student
    with torch.no_grad():
        assert torch.equal(cut(ids, mask), elastic(ids, mask, place))


def test_the_largest_slice_is_the_largest_student():
    elastic = lived()
    ids, mask = pad(texts(40))
    with torch.no_grad():
        assert torch.equal(slice_student(elastic, 2)(ids, mask), elastic.largest(ids, mask))


@settings(max_examples=8)
@given(st.data())
def test_any_nested_family_slices_exactly(data):
    def grow(name, low, high):
        return sorted(data.draw(st.lists(st.integers(low, high), min_size=2, max_size=2)), key=int)

    heads, layers = grow("heads", 1, 3), grow("layers", 1, 2)
    widths, inner = grow("embedding", 8, 15), grow("intermediate", 8, 20)
    words, vector = grow("words", 6, 30), grow("vector", 2, 9)
    passes = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=2))
    pair = [
        size(
            name,
            words[k],
            embedding_size=widths[k],
            hidden_size=16 * heads[k],
            num_heads=heads[k],
            layers=layers[k],
            intermediate_size=inner[k],
            passes=passes[k],
            adapter_size=0,
            vector_size=vector[k],
        )
        for k, name in enumerate("ab")
    ]
    elastic = lived(family(sizes=pair).sizes)
    ids, mask = pad(texts(words[0], count=3))
    with torch.no_grad():
        assert torch.equal(slice_student(elastic, 0)(ids, mask), elastic(ids, mask, 0))


def test_heads_are_cut_out_of_queries_keys_and_values_each():
    stacked = torch.arange(3 * 4 * 4).reshape(12, 4)
    cut = corner(stacked, "layers.0.query_key_value.weight", (6, 2))
    expected = torch.cat([stacked[start : start + 2, :2] for start in (0, 4, 8)])
    assert torch.equal(cut, expected)


def test_bytes_grow_with_the_size():
    elastic = lived()
    students = [slice_student(elastic, place) for place in range(len(SIZES))]
    graphs = [export_graph(student, uniform(student, 8)).ByteSize() for student in students]
    assert graphs == sorted(set(graphs))


def test_a_size_learns_in_its_corner_and_nowhere_else():
    elastic = lived()
    ids, mask = pad(texts(20))
    elastic(ids, mask, 0)[:, 0].sum().backward()  # not the whole: its length is always 1
    gradient = elastic.largest.words.weight.grad
    assert gradient[:20, :8].abs().sum() > 0
    assert gradient[20:].abs().sum() == 0
    assert gradient[:, 8:].abs().sum() == 0
    # The smallest has one layer, so the second learns nothing from it.
    assert elastic.largest.layers[1].feed_in.weight.grad is None


def test_norms_are_each_sizes_own():
    elastic = lived()
    ids, mask = pad(texts(20))
    elastic(ids, mask, 0)[:, 0].sum().backward()
    own, others = elastic.norms[0], [*elastic.norms[1], elastic.largest.norm]
    assert all(norm.weight.grad.abs().sum() > 0 for norm in own)
    assert all(norm.weight.grad is None for norm in others)


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"hidden_size": 32, "num_heads": 4}, 20, "hidden_size is 32, at most 24"),
        ({}, 41, "words is 41, at most 40"),
        ({"num_heads": 2}, 20, "heads have 12 numbers"),
        ({"embedding_size": 16, "hidden_size": 16, "num_heads": 2}, 20, "in one of them only"),
        ({"adapter_size": 0}, 20, "adapters"),
        ({"passes": 3}, 20, "adapters"),
    ],
)
def test_sizes_that_do_not_nest_are_refused(changes, words, message):
    with pytest.raises(ValidationError, match=message):
        family(sizes=(size("small", words, **changes), SIZES[-1]))


def test_names_tell_the_sizes_apart():
    with pytest.raises(ValidationError, match="a name each"):
        family(sizes=(SIZES[0], size("small", 40)))
