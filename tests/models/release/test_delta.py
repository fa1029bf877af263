"""Deltas give the new release to the last bit, or are refused."""

import itertools
import lzma

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from models.release.delta import apply_delta, make_delta
from models.release.differences import Way, difference, restored
from models.release.manifest import ReleaseFile
from models.release.runs import WordRows
from models.release.sections import sections
from models.release.signing import sign
from models.seeds import generator
from tests.models.release.made_up import KEY, about, files

NAMES = st.sampled_from(["a.txt", "b.npy", "c.bin", "d/e.json"])


def signed(contents: dict[str, bytes], sequence: int) -> tuple[bytes, bytes]:
    described = {name: ReleaseFile.of(content) for name, content in contents.items()}
    manifest = about(sequence, files=described).to_bytes()
    return manifest, sign(manifest, KEY)


def delta_of(old: dict[str, bytes], new: dict[str, bytes]) -> tuple[bytes, bytes]:
    before = signed(old, 1)[0]
    return make_delta(before, old, *signed(new, 2), new), before


@given(old=st.binary(max_size=64), apart=st.binary(max_size=64), way=st.sampled_from(list(Way)))
@settings(max_examples=200, deadline=None)
def test_every_way_comes_back_to_the_last_bit(old: bytes, apart: bytes, way: Way):
    length = min(len(old), len(apart)) // 4 * 4
    one, two = old[:length], apart[:length]
    told = difference(one, two, way)
    assert len(told) == length and restored(one, told, way) == two


def contents(draw_bytes) -> st.SearchStrategy:
    return st.dictionaries(st.sampled_from(["a.txt", "c.bin", "d/e.json"]), draw_bytes, min_size=1)


@given(contents(st.binary(max_size=200)), contents(st.binary(max_size=200)))
@settings(max_examples=50, deadline=None)
def test_any_files_come_back(old: dict[str, bytes], new: dict[str, bytes]):
    delta, before = delta_of(old, new)
    manifest, signature, made = apply_delta(delta, before, old)
    assert (manifest, signature) == signed(new, 2) and made == new


@given(
    st.lists(st.text("abc", max_size=4), max_size=20),
    st.lists(st.text("abc", max_size=4), max_size=20),
)
@settings(max_examples=50, deadline=None)
def test_vocabularies_come_back(one: list[str], two: list[str]):
    old, new = ({"vocab.txt": "\n".join(words).encode()} for words in (one, two))
    delta, before = delta_of(old, new)
    assert apply_delta(delta, before, old)[2] == new


def test_weights_that_moved_a_little_are_told_in_fewer_bytes():
    old, new = files(), files(0.001)
    delta, before = delta_of(old, new)
    assert apply_delta(delta, before, old)[2] == new
    packed = lzma.compress(b"".join(new.values()), preset=9)
    assert len(delta) < 0.7 * len(packed)
    again, _ = delta_of(new, new)
    assert len(again) < 1500  # nothing but a manifest and empty runs


def test_sections_are_where_the_tensors_are():
    content = files()["recommender.npz"]
    table = {each.key: each for each in sections("recommender.npz", content)}["table.npy"]
    stretch = content[table.offset : table.offset + table.length]
    assert np.frombuffer(stretch, np.float32).shape == (960,) and table.item_bytes == 4
    vector = sections("item_text.npy", files()["item_text.npy"])[0]
    assert (vector.length, vector.item_bytes) == (60 * 16 * 2, 2)
    assert sections("package.json", b"{}") == ()


def test_sections_of_an_encoder_cover_its_weights(request):
    graph = (request.config.rootpath / "models/pretrained/ei-bert-en/encoder.onnx").read_bytes()
    found = sections("encoder.onnx", graph)
    assert sum(each.length for each in found) > 0.8 * len(graph)
    places = [(each.offset, each.offset + each.length) for each in found]
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(places))


def graph_of(words: list[str], width: int = 40) -> bytes:
    """An ONNX file with a row of weights for each word; a word has the same row everywhere."""
    rows = [generator(1, word).integers(0, 256, width, dtype=np.uint8) for word in words]
    table = onnx.numpy_helper.from_array(np.stack(rows), "words")
    graph = onnx.helper.make_graph([], "encoder", [], [], [table])
    return onnx.helper.make_model(graph).SerializeToString()


def test_rows_of_words_are_found_though_the_vocabulary_moved():
    one = [f"word{n}" for n in range(300)]
    two = ["new", *one[:100], *one[120:], "other"]
    old, new = (
        {"b/vocab.txt": ("\n".join(words) + "\n").encode(), "b/encoder.onnx": graph_of(words)}
        for words in (one, two)
    )
    delta, before = delta_of(old, new)
    assert apply_delta(delta, before, old)[2] == new
    assert len(new["b/encoder.onnx"]) > 11_000 and len(delta) < 1_800  # two rows are new
    rows = WordRows.of(old["b/vocab.txt"], new["b/vocab.txt"])
    assert rows.pieces == ((-1, 1), (0, 100), (120, 180), (-1, 1))


def test_a_delta_from_another_release_is_refused():
    delta, _ = delta_of(files(), files(0.01))
    with pytest.raises(DataError, match="from another release"):
        apply_delta(delta, signed(files(0.5), 1)[0], files(0.5))


def test_old_files_that_are_not_what_they_were_are_found():
    delta, before = delta_of(files(), files(0.01))
    harmed = files() | {"recommender.npz": bytes(len(files()["recommender.npz"]))}
    with pytest.raises(DataError, match="does not have the SHA-256"):
        apply_delta(delta, before, harmed)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_delta_gives_the_release_or_is_refused(data):
    """Nothing else: no other error, and never other files. (A byte may not matter.)"""
    harmed = bytearray(DELTA)
    place = data.draw(st.integers(0, len(harmed) - 1))
    harmed[place] ^= data.draw(st.integers(1, 255))
    length = data.draw(st.one_of(st.just(len(harmed)), st.integers(0, len(harmed))))
    try:
        made = apply_delta(bytes(harmed[:length]), BEFORE, files())
    except DataError:
        return
    assert made[2] == files(0.01)  # the signature is the caller's to verify


DELTA, BEFORE = delta_of(files(), files(0.01))


def test_a_bomb_is_not_unpacked():
    """A stream that gives more than its manifest says stops there."""
    bomb = lzma.compress(bytes(50_000_000), preset=0)
    head = b"PFDELTA1" + len(bomb).to_bytes(4, "little")
    with pytest.raises(DataError, match="more or fewer bytes"):
        apply_delta(head + bomb, BEFORE, files())
