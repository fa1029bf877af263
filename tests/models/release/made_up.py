"""Two small releases, and keys."""

import io
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.release.folder import Release, make_release
from models.release.manifest import ReleaseManifest
from models.seeds import generator

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def about(sequence: int, **changes: object) -> ReleaseManifest:
    fields = {
        "name": "recommender",
        "version": "2.1.0",
        "sequence": sequence,
        "files": {},
        "min_app_version": "2.0.0",
        "min_memory_mb": 100,
        "vocabulary_sha256": "",
        "parent": "",
        "epsilon": 4.0,
    }
    return ReleaseManifest(**(fields | changes))


def files(step: float = 0.0, words: tuple[str, ...] = ("one", "two", "three")) -> dict[str, bytes]:
    """A small device package; `step` moves its weights a little."""
    rng = generator(1, "weights")
    weights = rng.normal(size=(60, 16)).astype(np.float32)
    moved = weights * (1 + step * rng.normal(size=weights.shape)).astype(np.float32)
    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, allow_pickle=False, table=moved, bias=moved[0])
    np.save(npy, weights.astype(np.float16))
    return {
        "bundle/vocab.txt": "".join(word + "\n" for word in words).encode(),
        "recommender.npz": npz.getvalue(),
        "item_text.npy": npy.getvalue(),
        "package.json": b'{"step": %d}' % (step * 1000),
    }


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def release(folder: Path, sequence: int, step: float = 0.0, key=KEY, **changes: object) -> Release:
    content = write(folder / f"content-{sequence}", files(step))
    return make_release(folder / f"release-{sequence}", content, about(sequence, **changes), key)


def contents_of(made: Release) -> dict[str, bytes]:
    return {name: made.read(name) for name in made.manifest.files}
