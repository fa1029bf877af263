"""What one encoder needs in a process of its own: time to import and to load, and memory.

    python -m benchmarks.encoder_probe bundle FOLDER
    python -m benchmarks.encoder_probe graph FOLDER      (encoder.onnx and tokenizer.json)
    python -m benchmarks.encoder_probe student FOLDER    (save_pretrained, and tokenizer.json)

Prints one JSON object. `benchmarks.encoder_speed` runs it; nothing is imported that the encoder
does not need.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

TEXTS = [" ".join(["a quiet film about the sea"] * (1 + number % 8)) for number in range(64)]


def peak_mb() -> float:
    """Largest memory of this process so far, MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count the parent's memory, which fork copied
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def bundle(folder: Path) -> Callable[[str], object]:
    from models.encoder import Encoder

    encoder = Encoder.load(folder)
    return lambda text: encoder.encode([text])


def graph(folder: Path) -> Callable[[str], object]:
    import numpy as np
    from tokenizers import Tokenizer

    from models.encoder import open_session, run_graph

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = open_session((folder / "encoder.onnx").read_bytes())
    return lambda text: run_graph(session, np.asarray([tokenizer.encode(text).ids], np.int64))


def student(folder: Path) -> Callable[[str], object]:
    import torch
    from tokenizers import Tokenizer

    from models.compression.student import Student

    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = Student.from_pretrained(folder).eval()

    def read(text: str) -> object:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            return model(ids, torch.ones_like(ids))

    return read


IMPORTS = {
    "bundle": ("models.encoder",),
    "graph": ("models.encoder",),
    "student": ("models.compression.student",),
}
LOADERS = {"bundle": bundle, "graph": graph, "student": student}


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    bare = peak_mb()
    started = time.perf_counter()
    for module in IMPORTS[kind]:
        __import__(module)
    imported, with_imports = time.perf_counter(), peak_mb()
    read = LOADERS[kind](folder)
    read(TEXTS[0])
    loaded = time.perf_counter()
    for text in TEXTS:
        read(text)
    figures = {
        "import_s": imported - started,
        "load_ms": 1e3 * (loaded - imported),
        "bare_mb": bare,
        "imports_mb": with_imports,
        "peak_mb": peak_mb(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
