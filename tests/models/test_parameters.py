import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.parameters import Layout

SHAPES = st.dictionaries(
    st.text("abc_", min_size=1, max_size=5),
    st.lists(st.integers(1, 4), max_size=3).map(tuple),
    min_size=1,
    max_size=4,
)


@given(shapes=SHAPES, batch=st.integers(1, 3))
def test_flatten_and_unflatten_undo_each_other(shapes, batch):
    names = tuple(sorted(shapes))
    layout = Layout(names, tuple(shapes[name] for name in names))
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    flat = layout.flatten(tensors)
    assert flat.shape == (layout.size,)
    for name, tensor in layout.unflatten(flat).items():
        assert torch.equal(tensor, tensors[name])
    block = {name: torch.stack([tensor] * batch) for name, tensor in tensors.items()}
    assert torch.equal(layout.flatten(block, batch_dims=1), torch.stack([flat] * batch))


def test_what_does_not_fit_the_layout_is_refused():
    layout = Layout(("a", "b"), ((2,), (3,)))
    with pytest.raises(ValueError, match="layout wants"):
        layout.flatten({"a": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"b has shape \(4,\)"):
        layout.flatten({"a": torch.zeros(2), "b": torch.zeros(4)})
    with pytest.raises(ValueError, match=r"shape \(6,\).*wants \(5,\)"):
        layout.unflatten(torch.zeros(6))
