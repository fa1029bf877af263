"""How much memory serving takes: run as a fresh process that does nothing else.

    python -m clients.serving_probe PACKAGE CATALOGUE.json   ->   {"imported": ..., "peak": ...}

Bytes of resident memory at its peak, after the imports and after the first request.
"""

import json
import sys
from pathlib import Path

import numpy as np

from clients.peak_memory import peak_bytes
from clients.serving import Phone


def main() -> None:
    """Load a package, serve one request, print the memory it took."""
    package, catalogue = (Path(argument) for argument in sys.argv[1:3])
    imported = peak_bytes()
    phone = Phone.load(package, json.loads(catalogue.read_text(encoding="utf-8")))
    taste = np.zeros(phone.ranker.items.shape[1], dtype=np.float32)
    history = np.arange(min(10, len(phone.ranker.items) - 1))
    phone.recommend(history, {len(history) - 1: "a quiet film about the sea"}, taste, 10)
    answer = {"imported": imported, "peak": peak_bytes(), "torch": "torch" in sys.modules}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
