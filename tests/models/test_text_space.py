import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.text_space import TextSpace


@given(hnp.arrays("float32", (6, 4), elements=st.integers(-10, 10)))
def test_placed_texts_have_length_one_and_a_text_at_the_centre_has_none(raw):
    space = TextSpace.of_catalogue(raw)
    lengths = np.linalg.norm(space.place(raw), axis=1)
    assert ((np.abs(lengths - 1) < 1e-3) | (lengths < 1e-3)).all()
    assert np.abs(space.place(space.centre[None])).max() == 0.0
