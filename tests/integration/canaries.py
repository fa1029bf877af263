"""Canaries: data of made-up people that can be recognised wherever it turns up.

    plant      a world whose texts, times, items and vectors occur nowhere else
    tap        every message that a node is given or gives, written to a folder, on any engine
    look       for each of them in messages, logs, history and all that the cloud writes

The tap is a `sitecustomize.py` on PYTHONPATH: each Python process that an engine starts loads it,
whoever starts it.
"""

import itertools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord

from clients.protocol.messages import TrainReply
from simulation.data.interactions import Columns
from simulation.world.build import build_world
from tests import tiny_world
from tests.tiny_world import SEED, TEXT_DIM, TIERS, TinyWorld, made_up_split

TAP_FOLDER = "POCKETFLEET_TEST_TAP"
FIRST_TIME_S = 1_234_500_000
FEWEST = 4  # items or numbers in a row that are taken for a person's: fewer may be chance
OWN_FILES = ("taste.npy", "taste.rounds")  # of the phones, which no machine but theirs holds

TAP = f"""
import json, os, uuid
from pathlib import Path

import flwr.clientapp.client_app as client_app
import numpy as np

inner = client_app.ClientApp.__call__


def write(folder, kind, content):
    name, arrays, words = uuid.uuid4().hex, {{}}, {{}}
    for record_name, record in content.items():
        for key, value in record.items():
            place = f"{{record_name}}.{{key}}"
            if hasattr(value, "numpy"):
                arrays[place] = value.numpy()
            elif isinstance(value, bytes):
                arrays[place] = np.frombuffer(value, dtype=np.uint8)
            else:
                words[place] = value
    np.savez(folder / f"{{name}}.{{kind}}.npz", **arrays)
    (folder / f"{{name}}.{{kind}}.json").write_text(json.dumps(words))


def tapped(self, message, context):
    folder = Path(os.environ[{TAP_FOLDER!r}])
    write(folder, "in", message.content)
    try:
        reply = inner(self, message, context)
    except Exception as error:
        (folder / f"{{uuid.uuid4().hex}}.error.json").write_text(json.dumps(str(error)))
        raise
    kind = message.metadata.message_type.replace(".", "_")
    write(folder, f"out-{{kind}}", reply.content)
    return reply


client_app.ClientApp.__call__ = tapped
"""


@dataclass(frozen=True)
class Canaries:
    """Byte patterns by what they betray."""

    patterns: dict[str, list[bytes]]

    def found_in(self, blob: bytes) -> set[str]:
        """Names of what is in these bytes."""
        return {name for name, many in self.patterns.items() if any(each in blob for each in many)}

    def found_below(self, folder: Path) -> set[str]:
        """Names of what is in any file below a folder, but the phones' own, with the file."""
        found = set()
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or set(OWN_FILES) & set(path.relative_to(folder).parts):
                continue
            for blob in blobs_of(path):
                found |= {f"{name} in {path.name}" for name in self.found_in(blob)}
        return found


def blobs_of(path: Path) -> list[bytes]:
    """The bytes of a file; of a NumPy archive, which may be packed, those of its arrays."""
    if path.suffix != ".npz":
        return [path.read_bytes()]
    with np.load(path, allow_pickle=False) as columns:
        return [np.ascontiguousarray(columns[name]).tobytes() for name in columns.files]


def plant(folder: Path, word: str = "siskin") -> tuple[TinyWorld, Canaries]:
    """A tiny world of canaries, and how to recognise them.

    Args:
        folder: where the world goes.
        word: in each private text.
    """
    parts = made_up_split()
    train = parts.train.copy()
    train[Columns.TIME_S] = FIRST_TIME_S + 7 * np.arange(len(train))
    written = train[Columns.PRIVATE_TEXT] != ""
    train.loc[written, Columns.PRIVATE_TEXT] = [f"{word} {row:05d}" for row in train.index[written]]
    split = replace(parts, train=train)
    world = build_world(split, TIERS, SEED, folder / "world")
    tiny = TinyWorld(folder, split)
    tiny.phones.mkdir()
    rng = np.random.default_rng(5)
    for name, rows in (
        ("item_text", tiny_world.NUM_ITEMS),
        ("private_vectors", int(written.sum())),
    ):
        vectors = rng.normal(0, 1 / np.sqrt(TEXT_DIM), (rows, TEXT_DIM)).astype(np.float32)
        np.save(tiny.phones / f"{name}.npy", vectors)
    assert len(world.private_texts) == int(written.sum())
    return tiny, recognise(tiny, word)


def recognise(tiny: TinyWorld, word: str) -> Canaries:
    """Everything that one device has, in the forms it may be written in."""
    train = tiny.split.train
    times = train[Columns.TIME_S].to_numpy()
    items = np.load(tiny.world / "item.npy")
    offsets = np.load(tiny.world / "offsets.npy")
    rows = [items[first:end] for first, end in itertools.pairwise(offsets)]
    long_ones = [row[:FEWEST] for row in rows if len(row) >= FEWEST]
    vectors = np.load(tiny.phones / "private_vectors.npy")
    patterns = {
        "a private text": [
            word.encode(),
            word.encode("utf-16-le"),
            json.dumps(word)[1:-1].encode(),
        ],
        "a time": [str(time).encode() for time in times]
        + [each.tobytes() for each in times.astype(np.int64)]
        + [each.tobytes() for each in times.astype(np.float64)],
        "a history": [row.astype(kind).tobytes() for row in long_ones for kind in ("<i4", "<i8")]
        + [", ".join(map(str, row)).encode() for row in long_ones],
        "a text's vector": _numbers(vectors),
    }
    return Canaries(patterns)


def with_personal(canaries: Canaries, taste: Path) -> Canaries:
    """And the devices' personal parameters, as a run left them."""
    rows = np.load(taste)
    moved = rows[np.abs(rows).sum(axis=1) > 0]
    return Canaries(canaries.patterns | {"a user's vector": _numbers(moved)})


def _numbers(rows: np.ndarray) -> list[bytes]:
    first = rows[:, :FEWEST]
    return [row.astype(kind).tobytes() for row in first for kind in (np.float32, np.float64)]


def set_tap(monkeypatch, folder: Path) -> Path:
    """Let every process from now on write its nodes' messages; return where."""
    hooks, messages = folder / "hooks", folder / "messages"
    hooks.mkdir()
    messages.mkdir()
    (hooks / "sitecustomize.py").write_text(TAP)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{hooks}{os.pathsep}{before}")
    monkeypatch.setenv(TAP_FOLDER, str(messages))
    return messages


def tap_here(monkeypatch) -> None:
    """The same in this process."""
    import flwr.clientapp.client_app as client_app

    monkeypatch.setattr(client_app.ClientApp, "__call__", client_app.ClientApp.__call__)
    exec(compile(TAP, "tap", "exec"), {"__name__": "tap"})  # the attribute is put back afterwards


@dataclass(frozen=True)
class Tapped:
    """What was heard on the wire."""

    folder: Path

    def kinds(self) -> dict[str, int]:
        """How many messages of each kind."""
        counts: dict[str, int] = {}
        for path in self.folder.glob("*.json"):
            kind = path.name.split(".")[1]
            counts[kind] = counts.get(kind, 0) + 1
        return counts

    def replies(self, kind: str) -> list[tuple[dict[str, tuple[int, ...]], dict[str, object]]]:
        """Shapes of arrays, and words, of each reply of a kind."""
        found = []
        for path in sorted(self.folder.glob(f"*.out-{kind}.json")):
            with np.load(path.with_suffix(".npz")) as arrays:
                shapes = {name: arrays[name].shape for name in arrays.files}
            found.append((shapes, json.loads(path.read_text())))
        return found


def leak_items(self: TrainReply, inner=TrainReply.to_record):
    """A reply that betrays: to see that the search finds it."""
    record = inner(self)
    items = np.load(Path(os.environ["POCKETFLEET_TEST_LEAK"]) / "item.npy")
    offsets = np.load(Path(os.environ["POCKETFLEET_TEST_LEAK"]) / "offsets.npy")
    first = offsets[np.flatnonzero(np.diff(offsets) >= FEWEST)[0]]
    record["config"] = ConfigRecord({"items": items[first : first + FEWEST].tolist()})
    return record
