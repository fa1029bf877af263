import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clients.privacy import clip


@example(rows=np.eye(3, 5, dtype=np.float32) * 27.5, clip_norm=27.5)
@given(
    rows=hnp.arrays("float32", (3, 5), elements=st.floats(-1e4, 1e4, width=32)),
    clip_norm=st.floats(0.01, 100.0),
)
def test_no_device_moves_a_sum_by_more_than_the_clip_norm(rows, clip_norm):
    clipped, norms = clip(torch.tensor(rows), clip_norm)
    lengths = clipped.norm(dim=1)
    assert (lengths <= clip_norm * (1 + 1e-5)).all()
    for before, after, norm in zip(torch.tensor(rows), clipped, norms, strict=True):
        if norm <= clip_norm:
            assert torch.equal(before, after)
        elif norm > clip_norm:  # the direction stays
            assert torch.allclose(after * norm, before * clip_norm, rtol=1e-4, atol=1e-2)


def test_a_row_that_is_not_finite_leaves_as_zeros_and_spares_the_others():
    rows = torch.tensor([[float("inf"), 1.0], [3.0, 4.0], [float("nan"), 0.0]])
    clipped, norms = clip(rows, 1.0)
    assert clipped.tolist() == [[0.0, 0.0], [pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert not torch.isfinite(norms[0]) and not torch.isfinite(norms[2])
