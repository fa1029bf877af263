import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.errors import SettingsError
from simulation.data.interactions import Columns
from simulation.data.private_text import PrivateTextSettings, add_synthetic_private_texts
from simulation.data.splits import split
from tests.simulation.data.made_up import LEAVE_LAST, interactions

# Item k has the words "silver-k" and "garden-k", written with letters: no word is in two items.
LETTERS = "abcdefgh"
TEXTS = [f"Silver{letter} Garden{letter} (1991)" for letter in LETTERS]


def how(**more):
    values = {"share": 1.0, "max_per_user": 10, "min_words": 2, "max_words": 4, "noise": 0.0}
    return PrivateTextSettings(**{**values, **more})


def words_of(item):
    return {f"silver{LETTERS[item]}", f"garden{LETTERS[item]}"}


def train_of(rows):
    """Train events of rows (user, item, time) over the eight items."""
    data = interactions(rows, TEXTS)
    return split(data, LEAVE_LAST, 0).train, data.items


def texts(table):
    """Private text of each (user, item)."""
    keys = zip(table[Columns.USER], table[Columns.ITEM], strict=True)
    return dict(zip(keys, table[Columns.PRIVATE_TEXT], strict=True))


HISTORY = [("u", str(item), item) for item in range(8)]


def test_texts_are_short_lower_case_words_of_chosen_items():
    train, items = train_of(HISTORY)
    made = add_synthetic_private_texts(train, items, how(), 1)
    assert len(made) == 7
    for text in made[Columns.PRIVATE_TEXT]:
        assert 1 <= len(text.split()) <= 4
        assert text == text.lower()
    pd.testing.assert_frame_equal(
        made.drop(columns=Columns.PRIVATE_TEXT), train.drop(columns=Columns.PRIVATE_TEXT)
    )
    assert (train[Columns.PRIVATE_TEXT] == "").all()  # the table given is left alone


def test_only_the_most_recent_events_have_texts():
    train, items = train_of(HISTORY)
    made = texts(add_synthetic_private_texts(train, items, how(max_per_user=2), 1))
    assert [item for (_, item), text in made.items() if text] == [5, 6]


def test_the_share_is_a_share_and_zero_means_none():
    rows = [(f"u{user}", str(item), item) for user in range(100) for item in range(8)]
    train, items = train_of(rows)
    made = add_synthetic_private_texts(train, items, how(share=0.3), 1)
    # 700 draws: 5 standard deviations are 0.087.
    assert (made[Columns.PRIVATE_TEXT] != "").mean() == pytest.approx(0.3, abs=0.087)
    none = add_synthetic_private_texts(train, items, how(share=0.0), 1)
    pd.testing.assert_frame_equal(none, train)


def test_noise_words_come_from_the_whole_catalogue():
    train, items = train_of([("u", "0", 1), ("u", "1", 2)])
    everything = {word for item in range(8) for word in words_of(item)}
    found = set()
    for seed in range(80):
        made = add_synthetic_private_texts(train, items, how(noise=1.0), seed)
        found |= set(" ".join(made[Columns.PRIVATE_TEXT]).split())
    assert found == everything


def test_items_without_words_give_noise_and_a_wordless_catalogue_nothing():
    data = interactions([("u", "0", 1), ("u", "1", 2)], ["1984", "silver garden"])
    train = data.events.iloc[:1]
    made = add_synthetic_private_texts(train, data.items, how(), 1)
    assert set(made[Columns.PRIVATE_TEXT].iloc[0].split()) <= {"silver", "garden"}
    wordless = interactions([("u", "0", 1), ("u", "1", 2)], ["1984", "2001"])
    made = add_synthetic_private_texts(wordless.events, wordless.items, how(), 1)
    assert (made[Columns.PRIVATE_TEXT] == "").all()


def test_real_private_texts_are_never_mixed_with_synthetic_ones():
    train, items = train_of(HISTORY)
    real = train.assign(**{Columns.PRIVATE_TEXT: "my own note"})
    with pytest.raises(SettingsError, match=r"private_text\.share=1\.0 .* set it to 0"):
        add_synthetic_private_texts(real, items, how(), 1)
    pd.testing.assert_frame_equal(add_synthetic_private_texts(real, items, how(share=0), 1), real)


@pytest.mark.parametrize(
    "wrong", [{"share": 1.1}, {"noise": -0.1}, {"min_words": 5}, {"max_words": 0}, {"typo": 1}]
)
def test_settings_have_bounds(wrong):
    with pytest.raises(ValidationError):
        how(**wrong)


histories = st.lists(
    st.tuples(st.sampled_from("uvw"), st.integers(0, 6).map(str), st.integers(0, 3)),
    min_size=1,
    unique_by=lambda row: row[:2],
)
few = settings(max_examples=40)


@few
@given(histories, st.integers(0, 20))
def test_a_text_has_only_words_of_own_items_at_or_before_the_event(rows, seed):
    train, items = train_of(rows)
    made = add_synthetic_private_texts(train, items, how(), seed)
    for user, own in made.groupby(Columns.USER):
        allowed = set()
        for item, text in zip(own[Columns.ITEM], own[Columns.PRIVATE_TEXT], strict=True):
            allowed |= words_of(item)
            assert text
            assert set(text.split()) <= allowed, user


@few
@given(histories, st.integers(0, 20), st.floats(0, 1))
def test_the_held_out_item_has_no_part_in_it(rows, seed, noise):
    data = interactions(rows, TEXTS)
    held_out = dict(zip(data.users.tolist(), split(data, LEAVE_LAST, 0).held_out, strict=True))
    other = [(user, "7" if int(item) == held_out[user] else item, at) for user, item, at in rows]
    first, second = (
        add_synthetic_private_texts(*train_of(some), how(noise=noise), seed)
        for some in (rows, other)
    )
    pd.testing.assert_frame_equal(first, second)


@few
@given(histories, st.integers(0, 20))
def test_a_text_does_not_change_when_later_events_do(rows, seed):
    data = interactions(rows, TEXTS)
    whole = texts(add_synthetic_private_texts(data.events, data.items, how(share=0.5), seed))
    by_user = data.events.groupby(Columns.USER)
    shorter = data.events[by_user.cumcount(ascending=False) > 0]
    part = texts(add_synthetic_private_texts(shorter, data.items, how(share=0.5), seed))
    assert part == {key: whole[key] for key in part}


@few
@given(histories, st.integers(0, 20), st.randoms(use_true_random=False))
def test_the_order_of_users_and_rows_changes_nothing(rows, seed, random):
    train, items = train_of(rows)
    shuffled = train.iloc[random.sample(range(len(train)), len(train))]
    first = add_synthetic_private_texts(train, items, how(noise=0.3), seed)
    second = add_synthetic_private_texts(shuffled, items, how(noise=0.3), seed)
    pd.testing.assert_frame_equal(first, second.loc[first.index])
