import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.histories import Histories
from models.negatives import LeakError, Negatives, check_for_leaks

NUM_ITEMS = 12


def histories(*events: list[int]) -> Histories:
    lengths = [len(each) for each in events]
    items = np.array([item for each in events for item in each], np.int32)
    return Histories(np.concatenate([[0], np.cumsum(lengths)]), items)


def test_an_honest_sampler_passes():
    found = check_for_leaks(histories([1, 2], [3]), np.array([5, -1]), Negatives(4), NUM_ITEMS)
    assert (found.num_devices, found.passed) == (1, True)
    found.raise_if_leaking()


def test_the_habitual_sampler_is_caught():
    """The leak of the literature: negatives are drawn outside *all* interactions, so the sampler is
    given a history that holds the held-out item too."""

    class Habitual(Negatives):
        def chances(self, own, user, num_items):
            return super().chances(histories([1, 2, 5], [3, 7]), user, num_items)

    found = check_for_leaks(histories([1, 2], [3]), np.array([5, 7]), Habitual(4), NUM_ITEMS)
    assert (found.spared, found.trained_on) == (2, 0)
    with pytest.raises(LeakError, match="2 could not be drawn as a negative"):
        found.raise_if_leaking()


@pytest.mark.parametrize("num_negatives", [0, 4])
def test_training_on_the_held_out_item_is_caught(num_negatives):
    found = check_for_leaks(
        histories([1, 2, 5], [3]), np.array([5, 7]), Negatives(num_negatives), NUM_ITEMS
    )
    assert (found.trained_on, found.spared) == (1, 0)
    with pytest.raises(LeakError, match="of 2 held-out items 1 are in the training events"):
        found.raise_if_leaking()


@given(
    events=st.lists(st.integers(0, NUM_ITEMS - 1), min_size=1, max_size=8, unique=True),
    address=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
)
def test_draws_are_what_the_chances_say(events, address):
    sampling = Negatives(400)
    chances = sampling.chances(histories(events), 0, NUM_ITEMS)
    assert chances.sum() == pytest.approx(1.0)
    drawn = sampling.draw(histories(events), 0, NUM_ITEMS, address)
    assert (
        set(drawn.tolist()) == set(np.flatnonzero(chances)) == set(range(NUM_ITEMS)) - set(events)
    )
    again = sampling.draw(histories(events), 0, NUM_ITEMS, address)
    np.testing.assert_array_equal(drawn, again)
