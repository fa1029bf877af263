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
        def allowed(self, own, users, num_items):
            return super().allowed(histories([1, 2, 5], [3, 7]), users, num_items)

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
    events=st.lists(
        st.lists(st.integers(0, NUM_ITEMS - 1), max_size=8, unique=True), min_size=1, max_size=4
    ),
    seed=st.integers(0, 9),
    round_number=st.integers(0, 9),
)
def test_draws_are_uniform_over_what_is_allowed(events, seed, round_number):
    sampling, users = Negatives(600), np.arange(len(events))
    drawn = sampling.draw(histories(*events), users, NUM_ITEMS, (seed, round_number, users + 5))
    allowed = sampling.allowed(histories(*events), users, NUM_ITEMS)
    for user, chosen in enumerate(events):
        assert set(np.flatnonzero(allowed[user])) == set(range(NUM_ITEMS)) - set(chosen)
        counts = np.bincount(drawn[user], minlength=NUM_ITEMS)[allowed[user]]
        assert counts.sum() == 600  # nothing else was drawn
        expected = 600 / allowed[user].sum()
        assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)


def test_a_draw_is_the_same_alone_and_in_company():
    own, sampling = histories([1, 2], [3], [4, 5, 6]), Negatives(8)
    together = sampling.draw(own, np.arange(3), NUM_ITEMS, (7, 2, np.array([10, 11, 12])))
    alone = sampling.draw(own, np.array([1]), NUM_ITEMS, (7, 2, np.array([11])))
    np.testing.assert_array_equal(together[1], alone[0])


def test_who_has_chosen_everything_may_push_everything_down():
    own = histories(list(range(NUM_ITEMS)))
    drawn = Negatives(5).draw(own, np.array([0]), NUM_ITEMS, (0, 0, np.array([0])))
    assert drawn.shape == (1, 5)
