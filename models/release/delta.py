"""A release as the difference from the one that a phone has.

    "PFDELTA1"  header length, 4 bytes
    header      JSON: hashes of both manifests; for each new file its base and its runs
    streams     XZ (LZMA2), one for each file and way

A run is [way, place in the old file, length]; the runs of a file give it whole, in order
(`models.release.differences`). The delta carries the new manifest and its signature, and nothing in
it is trusted: what comes out must have the sizes and hashes of a manifest that is signed. Sizes are
known before anything is unpacked, and no stream may give more.
"""

import json
import lzma
from collections.abc import Mapping
from typing import Any

from models.errors import DataError
from models.release.differences import Way, difference, restored
from models.release.manifest import (
    LARGEST_FILE_BYTES,
    MANIFEST_LIMIT_BYTES,
    ReleaseManifest,
    manifest_hash,
)
from models.release.runs import Run, runs_of, word_rows
from models.release.signing import SIGNATURE_BYTES

MAGIC = b"PFDELTA1"
HEADER_LIMIT_BYTES = 4_000_000
_MEMORY_LIMIT_BYTES = 200_000_000
_SMALLEST_WINDOW_BYTES = 4096


def make_delta(
    old_signed: bytes,
    old: Mapping[str, bytes],
    new_signed: bytes,
    new_signature: bytes,
    new: Mapping[str, bytes],
) -> bytes:
    """Make the delta from one release to another.

    Args:
        old_signed: bytes of the manifest that the phone has.
        old: its files by name.
        new_signed: bytes of the new manifest.
        new_signature: of it.
        new: its files by name.
    """
    streams, files = [_packed(new_signed + new_signature)], {}
    for name, content in sorted(new.items()):
        base = name if name in old else ""
        runs = runs_of(name, old.get(name, b""), content, word_rows(name, old, new))
        told: dict[int, list[bytes]] = {}
        place = 0
        for way, at, length in runs:
            piece = difference(
                old.get(name, b"")[at : at + length], content[place : place + length], Way(way)
            )
            told.setdefault(way, []).append(piece)
            place += length
        packed = {way: _packed(b"".join(pieces)) for way, pieces in sorted(told.items())}
        files[name] = {
            "base": base,
            "runs": runs,
            "streams": [[way, len(each)] for way, each in packed.items()],
        }
        streams += packed.values()
    header = {
        "from": manifest_hash(old_signed),
        "to": manifest_hash(new_signed),
        "signed": len(streams[0]),
        "files": files,
    }
    content = _packed(json.dumps(header, separators=(",", ":")).encode())
    return b"".join([MAGIC, len(content).to_bytes(4, "little"), content, *streams])


def apply_delta(
    delta: bytes, old_signed: bytes, old: Mapping[str, bytes]
) -> tuple[bytes, bytes, dict[str, bytes]]:
    """Make the new release from the old one. The caller verifies the signature.

    Args:
        delta: from anybody.
        old_signed: bytes of the manifest that the phone has.
        old: its files by name.

    Returns:
        the new manifest's bytes, its signature, and its files, each with the size and the hash that
        this manifest says.

    Raises:
        DataError: if it is no delta, one from another release, or gives something else.
    """
    try:
        return _applied(delta, old_signed, old)
    except (ValueError, TypeError, KeyError, AttributeError, lzma.LZMAError) as error:
        raise _damaged("is damaged") from error


def _applied(
    delta: bytes, old_signed: bytes, old: Mapping[str, bytes]
) -> tuple[bytes, bytes, dict[str, bytes]]:
    header, place = _header(delta)
    if header["from"] != manifest_hash(old_signed):
        raise _damaged("is from another release than the one that is installed")
    most = MANIFEST_LIMIT_BYTES + SIGNATURE_BYTES
    both, place = _next_stream(delta, place, header["signed"], most, exact=False)
    signed, signature = both[:-SIGNATURE_BYTES], both[-SIGNATURE_BYTES:]
    manifest = ReleaseManifest.from_bytes(signed)
    if set(header["files"]) != set(manifest.files):
        raise _damaged("does not have the files of its manifest")
    made = {}
    for name in sorted(manifest.files):
        entry, expected = header["files"][name], manifest.files[name]
        runs = [_run(run) for run in entry["runs"]]
        if sum(length for _, _, length in runs) != expected.num_bytes:
            raise _damaged(f"does not give {name} whole")
        told: dict[int, bytes] = {}
        for way, packed in entry["streams"]:
            size = sum(length for each, _, length in runs if each == way)
            told[way], place = _next_stream(delta, place, packed, size)
        made[name] = _file(old.get(entry["base"], b""), runs, told)
        expected.check(name, made[name])
    return signed, signature, made


def _file(old: bytes, runs: list[Run], told: Mapping[int, bytes]) -> bytes:
    places, pieces = dict.fromkeys(told, 0), []
    for way, at, length in runs:
        start = places[way]
        places[way] = start + length
        piece = told[way][start : start + length]
        pieces.append(restored(old[at : at + length], piece, Way(way)))
    return b"".join(pieces)


def _header(delta: bytes) -> tuple[dict[str, Any], int]:
    start = len(MAGIC) + 4
    if delta[: len(MAGIC)] != MAGIC or len(delta) < start:
        raise _damaged("is none: it does not begin as one")
    size = int.from_bytes(delta[len(MAGIC) : start], "little")
    text, place = _next_stream(delta, start, size, HEADER_LIMIT_BYTES, exact=False)
    header = json.loads(text)
    if not isinstance(header, dict):
        raise _damaged("is damaged")
    return header, place


def _run(run: Any) -> Run:
    way, at, length = run
    if not all(type(n) is int and 0 <= n <= LARGEST_FILE_BYTES for n in (way, at, length)):
        raise _damaged("is damaged")
    return way, at, length


def _packed(content: bytes) -> bytes:
    """XZ with a window as large as the content: more would only take memory, on both ends."""
    window = max(_SMALLEST_WINDOW_BYTES, 1 << max(0, len(content) - 1).bit_length())
    filters = [
        {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window, "pb": 0}
    ]
    return lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters)


def _next_stream(
    delta: bytes, place: int, packed: int, size: int, *, exact: bool = True
) -> tuple[bytes, int]:
    """Unpack the next stream; it may not give more than `size` bytes."""
    if type(packed) is not int or not 0 <= packed <= len(delta) - place:
        raise _damaged("is cut off")
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT_BYTES)
    content = unpacker.decompress(delta[place : place + packed], max_length=size + 1)
    if len(content) > size or (exact and len(content) < size):
        raise _damaged("gives more or fewer bytes than it says")
    return content, place + packed


def _damaged(what: str) -> DataError:
    return DataError(f"the delta {what}: fetch the whole release instead")
