"""Claim: a release as the difference of its weights is fewer bytes than the release itself.

    python -m benchmarks.release_delta [RUN] [CACHE]        (default: runs/quickstart, the cache)

Pairs: the encoder that comes with the product and every other general encoder in the cache with a
graph of the same size or about; the device package of a run with the recommender as it started and
as federated rounds left it. Beside the delta: the files as they are, the files in XZ one by one,
and bsdiff4 (not used by the product). Each delta is applied and compared; the manifest and the
signature that it carries are in its bytes.
"""

import io
import json
import lzma
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import bsdiff4
import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.machine import describe_machine
from models.parameters import Layout
from models.release.delta import apply_delta, make_delta
from models.release.manifest import ReleaseFile, ReleaseManifest
from models.release.signing import sign
from simulation.data.cache import cache_folder

Files = Mapping[str, bytes]
KEY = Ed25519PrivateKey.generate()
PRETRAINED = Path("models/pretrained/ei-bert-en")


def main() -> None:
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
    cache = Path(sys.argv[2]) if len(sys.argv) > 2 else cache_folder()
    print(describe_machine())
    print("| pair | whole | XZ | bsdiff4 | delta | of whole | s to make | s to apply |")
    print("|---|---|---|---|---|---|---|---|")
    for title, old, new in (*_packages(run), *_encoders(cache)):
        print(_row(title, old, new), flush=True)


def _row(title: str, old: Files, new: Files) -> str:
    before, after = _signed(old, 1), _signed(new, 2)
    start = time.perf_counter()
    delta = make_delta(before[0], old, *after, new)
    made = time.perf_counter()
    if apply_delta(delta, before[0], old) != (*after, dict(new)):
        raise RuntimeError(f"{title}: the delta does not give the release again")
    applied = time.perf_counter()
    whole = sum(len(content) for content in new.values())
    packed = sum(len(lzma.compress(content, preset=9)) for content in new.values())
    bs = sum(len(bsdiff4.diff(old.get(name, b""), content)) for name, content in new.items())
    return (
        f"| {title} | {whole:,} | {packed:,} | {bs:,} | {len(delta):,} | "
        f"{100 * len(delta) / whole:.1f} % | {made - start:.1f} | {applied - made:.2f} |"
    )


def _signed(files: Files, sequence: int) -> tuple[bytes, bytes]:
    manifest = ReleaseManifest(
        name="benchmark",
        version="1.0.0",
        sequence=sequence,
        files={name: ReleaseFile.of(content) for name, content in files.items()},
        min_app_version="1.0.0",
        min_memory_mb=0,
        vocabulary_sha256="",
        parent="",
        epsilon=None,
    ).to_bytes()
    return manifest, sign(manifest, KEY)


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _packages(run: Path) -> Iterator[tuple[str, Files, Files]]:
    """The package of a run before and after its federated rounds: only the recommender differs."""
    package = _files(run / "package")
    with np.load(io.BytesIO(package["recommender.npz"]), allow_pickle=False) as arrays:
        order = arrays.files
        shapes = {name: arrays[name].shape for name in order}
    layout = Layout(tuple(sorted(shapes)), tuple(shapes[name] for name in sorted(shapes)))
    versions = {}
    for name in ("initial", "final"):
        flat = np.load(run / "arms/federated" / f"{name}.npy")
        file = io.BytesIO()
        parts = layout.unflatten(torch.from_numpy(flat))
        np.savez(file, allow_pickle=False, **{key: np.asarray(parts[key]) for key in order})
        versions[name] = {**package, "recommender.npz": file.getvalue()}
    yield "package, before and after federated rounds", versions["initial"], versions["final"]
    only = [{"recommender.npz": each["recommender.npz"]} for each in versions.values()]
    yield "its recommender alone", only[0], only[1]


def _encoders(cache: Path) -> Iterator[tuple[str, Files, Files]]:
    old = _files(PRETRAINED)
    for folder in sorted((cache / "general-students").glob("*/bundle")):
        new = _files(folder)
        if new != old:
            same = "same" if new["vocab.txt"] == old["vocab.txt"] else "other"
            bits = json.loads(new["manifest.json"])["origin"]["bits"]["words"]
            yield f"encoder to {folder.parent.name[:8]}: {same} words, {bits} bits", old, new


if __name__ == "__main__":
    main()
