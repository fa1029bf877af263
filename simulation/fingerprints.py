"""The hash of an encoder bundle, beside that of the data (`simulation.data.fingerprint`).

No torch and no pandas here: `run_folder` writes it beside every run's numbers, and `doctor` loads
that.
"""

import hashlib
from pathlib import Path

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, EncoderBundle


def bundle_sha256(folder: Path) -> str:
    """Of the files of a bundle that decide its vectors.

    Raises:
        DataError: if the folder is no whole bundle.
    """
    bundle, digest = EncoderBundle.open(folder), hashlib.sha256()
    for name in (GRAPH, VOCABULARY, TOKENIZER):
        digest.update(hashlib.sha256(bundle.read(name)).digest())
    return digest.hexdigest()
