import hashlib
import itertools
import json

import numpy as np
import pytest

from clients.protocol.partitions import partition_bounds
from clients.shard import DeviceShard, WorldManifest
from models.errors import DataError
from simulation.data.interactions import Columns
from simulation.world.build import build_world, pooled_histories
from tests.tiny_world import NUM_DEVICES, SEED, TIERS, TinyWorld, made_up_split


def test_a_shard_holds_what_the_split_says(tiny: TinyWorld):
    shard, train = tiny.shard(), tiny.split.train
    np.testing.assert_array_equal(shard.events.held_out, tiny.split.held_out)
    texts = [text for text in train[Columns.PRIVATE_TEXT] if text]
    offsets = np.load(tiny.world / "private_text_offsets.npy")
    raw = np.load(tiny.world / "private_text.npy").tobytes()
    on_disk = [raw[a:b].decode() for a, b in itertools.pairwise(offsets)]
    assert on_disk == texts and len(texts) > 20
    for user in range(NUM_DEVICES):
        mine = train[train[Columns.USER] == user]
        start, end = shard.events.histories.offsets[user : user + 2]
        assert shard.events.histories.items[start:end].tolist() == mine[Columns.ITEM].tolist()
        rows = shard.events.histories.private_row[start:end]
        written = [texts[row] if row >= 0 else "" for row in rows]
        assert written == mine[Columns.PRIVATE_TEXT].tolist()


@pytest.mark.parametrize("num_partitions", [1, 3, 7, NUM_DEVICES])
def test_every_device_is_on_exactly_one_node(tiny: TinyWorld, num_partitions: int):
    whole, met = tiny.shard(), []
    for partition in range(num_partitions):
        part = tiny.shard(partition, num_partitions)
        rows = np.arange(part.num_devices)
        devices = rows + part.first_device
        met += devices.tolist()
        ours, our_items = part.events.cut(rows)
        theirs, their_items = whole.events.cut(devices)
        np.testing.assert_array_equal(ours.offsets, theirs.offsets)
        np.testing.assert_array_equal(ours.items, theirs.items)
        np.testing.assert_array_equal(part.events.lengths(rows), whole.events.lengths(devices))
        np.testing.assert_array_equal(our_items, their_items)
    assert met == list(range(NUM_DEVICES))


def test_a_device_of_another_node_is_refused(tiny: TinyWorld):
    with pytest.raises(DataError, match=r"devices \[25\] are not on this node.*0 \.\. 19"):
        tiny.shard(0, 2).rows(np.array([3, 25]))
    with pytest.raises(DataError, match="partition 4 is outside"):
        partition_bounds(10, 4, 4)


def test_the_pool_of_a_server_has_no_private_texts(tiny: TinyWorld):
    pool = pooled_histories(tiny.split)
    assert pool.private_row is None
    np.testing.assert_array_equal(pool.items, np.load(tiny.world / "item.npy"))


def test_a_world_is_replaced_and_other_files_are_not(tiny: TinyWorld, tmp_path):
    build_world(tiny.split, TIERS, SEED + 1, tiny.world)
    assert WorldManifest.read(tiny.world).num_devices == NUM_DEVICES
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="exists and is no world"):
        build_world(tiny.split, TIERS, SEED, mine)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_damaged_world_is_one_clear_line(tiny: TinyWorld):
    with pytest.raises(DataError, match=r"holds no world.*pocketfleet world build"):
        WorldManifest.read(tiny.folder)
    (tiny.world / "item.npy").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"cannot read column .*item\.npy"):
        tiny.shard()
    manifest = json.loads((tiny.world / "manifest.json").read_text()) | {"format": 99}
    (tiny.world / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="has format 99, this version reads 2"):
        DeviceShard.open(tiny.world, tiny.phones, tiny.fresh_taste())


def test_columns_with_objects_in_them_are_refused(tiny: TinyWorld):
    """A pickle in a column could run code: it is never opened."""
    np.save(tiny.world / "item.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot read column"):
        tiny.shard()


def test_without_cold_items_and_users_the_bytes_are_those_of_before_there_were_any(
    tiny: TinyWorld,
):
    digest = hashlib.sha256()
    for path in sorted(tiny.world.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    assert digest.hexdigest() == "b2526057962c16d397ccad2df8f45937dc188b9a5eced81bd9c2832bb78ac085"


def test_a_cold_held_out_item_is_not_on_the_phones(tiny: TinyWorld):
    parts = made_up_split(cold_items=0.4)
    build_world(parts, TIERS, SEED, tiny.world)
    on_phones = np.load(tiny.world / "held_out.npy")
    has = parts.held_out >= 0
    is_cold = has & parts.cold_item[parts.held_out]
    assert is_cold.sum() > 5
    assert (on_phones[is_cold] == -1).all()
    np.testing.assert_array_equal(on_phones[~is_cold], parts.held_out[~is_cold])
    assert not parts.cold_item[np.load(tiny.world / "item.npy")].any()
