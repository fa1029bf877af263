from hypothesis import given, settings
from hypothesis import strategies as st

from models.compression.tasks.augmentation import AugmentationSettings, augment

SPANS = AugmentationSettings(copies=4, span_share=1.0, shortest_span=0.5, word_dropout=0.0)
MIXED = AugmentationSettings(copies=4, span_share=0.5, shortest_span=0.3, word_dropout=0.3)
TEXTS = ["a fine film with a weak end", "old house by the river in the night", "love"]


def test_spans_are_pieces_of_their_texts():
    made = augment(TEXTS[:2], SPANS, seed=0)
    assert made
    for text in made:
        assert any(f" {text} " in f" {whole} " for whole in TEXTS)
        assert len(text.split()) >= 4  # half of 7 and of 8


@settings(max_examples=50)
@given(st.lists(st.text(min_size=1, max_size=20).filter(str.strip), max_size=4), st.integers(0, 5))
def test_none_empty_none_twice_none_that_is_there(texts, seed):
    made = augment(texts, MIXED, seed)
    assert all(text.strip() for text in made)
    assert len({*made, *texts}) == len(made) + len(set(texts))
    assert len(made) <= 4 * len(texts)


def test_more_texts_change_no_others_copies():
    alone = augment(TEXTS[:1], MIXED, seed=3)
    assert augment(TEXTS, MIXED, seed=3)[: len(alone)] == alone
    assert augment(TEXTS[:1], MIXED, seed=4) != alone


def test_words_are_left_out_in_their_order():
    dropout = AugmentationSettings(copies=8, span_share=0, shortest_span=1, word_dropout=0.5)
    for text in augment(TEXTS[:1], dropout, seed=1):
        words = iter(TEXTS[0].split())
        assert all(word in words for word in text.split())  # a subsequence


def test_a_script_without_spaces_is_cut_between_letters():
    made = augment(["房间干净服务也好"], SPANS, seed=0)
    assert made
    assert all(text in "房间干净服务也好" and len(text) >= 4 for text in made)


def test_no_copies_no_texts():
    assert augment(TEXTS, SPANS.model_copy(update={"copies": 0}), seed=0) == []
