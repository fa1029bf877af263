from hypothesis import given
from hypothesis import strategies as st

from clients.protocol.secure_sum.neighbourhoods import (
    is_one_piece,
    neighbourhoods,
    threshold_of,
)


@given(st.sets(st.integers(0, 1000), min_size=1, max_size=30), st.sampled_from([0, 2, 4, 10]))
def test_neighbours_are_mutual_and_as_many_as_asked_for(parties: set[int], degree: int):
    bound = neighbourhoods(parties, degree, b"session")
    assert bound.keys() == parties
    size = len(parties) if degree == 0 else min(degree + 1, len(parties))
    for party, hood in bound.items():
        assert party in hood and len(hood) == size == len(set(hood))
        assert all(party in bound[other] for other in hood)
    assert is_one_piece(parties, bound)


def test_another_session_binds_others():
    some = range(40)
    assert neighbourhoods(some, 4, b"one") != neighbourhoods(some, 4, b"two")


def test_a_ring_of_neighbours_that_is_cut_twice_falls_apart():
    bound = {k: tuple(sorted(((k - 1) % 8, k, (k + 1) % 8))) for k in range(8)}
    assert is_one_piece([0, 1, 2, 3, 4, 5, 6], bound)
    assert not is_one_piece([1, 2, 3, 5, 6, 7], bound)


@given(st.integers(1, 2000), st.floats(0.5, 1, exclude_min=True))
def test_two_groups_at_the_threshold_always_share_a_party(size: int, share: float):
    assert 2 * threshold_of(size, share) > size
    assert threshold_of(size, share) <= size
