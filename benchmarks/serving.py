"""Claim: the bundle encodes a text many times faster than the text teacher, in a fraction of bytes.

    python -m benchmarks.serving RUN          (default: runs/quickstart)

Synthetic queries of 2 to 24 words, one text per request, one thread, tokenization included; both
encoders in alternation, median over repeats of the median request.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from benchmarks.machine import describe_machine
from clients.serving import latency
from models.compression.student import mean_pool
from models.encoder import Encoder
from simulation.data.cache import cache_folder
from simulation.experiments.materials import find_teacher
from simulation.run_folder import RunFolder

REPEATS, REQUESTS = 5, 100
SENTENCE = "a quiet film about the sea and two brothers who come home after a long war"
WORDS = SENTENCE.split()


def _nth(encode: Callable[[str], object], texts: Sequence[str], number: int) -> object:
    """One request: texts in turn."""
    return encode(texts[number % len(texts)])


def main() -> None:
    torch.set_num_threads(1)
    run = RunFolder(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart").resolve())
    settings = run.settings()
    encoder = Encoder.load(run.bundle)
    source = find_teacher(settings, cache_folder())
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source)
    model.eval()

    def ask_teacher(text: str) -> object:
        """The teacher as anybody would run it: the default attention, no attentions returned."""
        batch = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.inference_mode():
            return mean_pool(model(**batch).last_hidden_state, batch["attention_mask"])

    weights = Path(source) / "model.safetensors"
    print(describe_machine())
    print(f"bytes: bundle {encoder.num_bytes:,}, teacher's weights {weights.stat().st_size:,}")
    for num_words in (2, 8, 24):
        texts = [
            " ".join(WORDS[(start + place) % len(WORDS)] for place in range(num_words))
            for start in range(len(WORDS))
        ]
        ways: dict[str, Callable[[str], object]] = {
            "EI-BERT int8 (onnxruntime)": lambda text: encoder.encode([text]),
            "text teacher fp32 (torch)": ask_teacher,
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(REPEATS):
            for way, encode in ways.items():
                spent = latency(partial(_nth, encode, texts), REQUESTS)
                times[way].append(spent.p50_ms)
        fast, slow = (statistics.median(values) for values in times.values())
        tokens = statistics.median(encoder.num_tokens(text) for text in texts)
        print(
            f"{tokens:.0f} tokens: EI-BERT {fast:.2f} ms, teacher {slow:.2f} ms, "
            f"ratio {slow / fast:.1f}x"
        )


if __name__ == "__main__":
    main()
