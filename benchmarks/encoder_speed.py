"""Claim: the bundle's bytes, latency, load time and memory, beside what one would use otherwise.

    python -m benchmarks.encoder_speed models/pretrained/ei-bert-en
    python -m benchmarks.encoder_speed models/pretrained/ei-bert-en --starts static bert-tiny --json

Side by side in one process, one thread, in alternation, tokenization included: the bundle as it
ships, its own fp32 graph, its fp32 weights in torch, all-MiniLM-L6-v2 in int8 (exported by
torch.onnx and onnxruntime's quantize_dynamic per channel, as anybody would do it; kept in the
cache), and rivals of equal bytes that the language settings name (compressed first, for an hour, if
they are not in the cache). Medians over the repeats of p50 and p95 by the clock on the wall, and
of p50 by the processor's time, which other programs disturb less: the ratios are taken from it.
Load time (with the first text) and peak memory are those of a fresh process each. Milliseconds
belong to the machine: compare the ratios.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from benchmarks.machine import describe_machine
from models.bundle import GRAPH, EncoderBundle
from models.compression.export.encoder_graph import export_graph
from models.compression.quantization.few_bits import FULL, uniform
from models.compression.student import mean_pool
from models.encoder import Encoder, open_session
from models.errors import DataError
from models.files import write_whole
from simulation.data.cache import cache_folder
from simulation.data.teachers import teacher_folder
from simulation.experiments.encoders.general_students import GeneralStudent, find_start
from simulation.experiments.language.settings import load_language_settings
from simulation.experiments.language.tables import markdown

LENGTHS, REPEATS, PROCESSES = (8, 16, 32, 64), 7, 5
REQUESTS = {1: 60, 64: 4}
"""Timed requests per repeat, by batch size."""

WORDS = (
    *("the", "a", "of", "and", "in", "to", "is", "was", "for", "on", "with", "as", "by", "at"),
    *("from", "his", "her", "it", "that", "this", "year", "time", "people", "world", "first"),
    *("city", "film", "war", "state", "school", "team", "family", "music", "house", "game"),
    *("water", "life", "day", "history"),
)
"""In every vocabulary: each is one piece, so a text has as many pieces for all."""

EI_BERT, FP32_GRAPH, FP32_TORCH = "EI-BERT bundle", "its fp32 graph", "its fp32 weights in torch"
MINILM = "MiniLM-L6 int8"
SLOWER = (MINILM, FP32_GRAPH, FP32_TORCH)


@dataclass(frozen=True, slots=True)
class Runner:
    """An encoder that is timed.

    Attributes:
        name: for the table.
        num_bytes: of all that it ships.
        num_tokens: pieces that it reads a text as.
        read: encodes a batch of texts that have equally many pieces.
        probe: what `benchmarks.encoder_probe` is told.
    """

    name: str
    num_bytes: int
    num_tokens: Callable[[str], int]
    read: Callable[[Sequence[str]], object]
    probe: tuple[str, Path]


@dataclass(frozen=True, slots=True)
class Times:
    """How long a request takes, ms.

    Attributes:
        cpu_p50: the processor's time, median.
        wall_p50: by the clock on the wall, median.
        wall_p95: likewise, 95th percentile.
    """

    cpu_p50: float
    wall_p50: float
    wall_p95: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--starts", nargs="+", default=[], metavar="NAME", help="rivals")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    keep_to_one_thread()
    with tempfile.TemporaryDirectory() as scratch:
        runners = all_runners(given.bundle, given.starts, Path(scratch), cache_folder())
        alone = {runner.name: in_fresh_processes(runner) for runner in runners}
        times = {
            (length, batch): time_all(runners, length, batch, given.repeats)
            for length in LENGTHS
            for batch in REQUESTS
        }
    num_bytes = {runner.name: runner.num_bytes for runner in runners}
    if given.json:
        flat = {
            f"{length} tokens x {batch}": {name: asdict(one) for name, one in found.items()}
            for (length, batch), found in times.items()
        }
        print(json.dumps({"bytes": num_bytes, "alone": alone, "ms": flat}))
        return
    print(describe_machine(), "\n")
    print(table(num_bytes, alone, times), "\n")
    print(ratios(times))


def keep_to_one_thread() -> None:
    """Let torch and tokenizers use one thread; onnxruntime's sessions have one anyway.

    Without it `encode_batch_fast` splits a batch on all cores. Fresh processes inherit it.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)


def all_runners(bundle: Path, starts: Sequence[str], scratch: Path, cache: Path) -> list[Runner]:
    """Everything that is compared."""
    settings = load_language_settings()
    rivals = [(name, find_start(settings.of_start(name), cache)) for name in starts]
    general = GeneralStudent.of_bundle(bundle)
    return [
        bundle_runner(EI_BERT, bundle),
        fp32_graph_runner(general, scratch / "graph"),
        torch_runner(general, scratch / "torch"),
        minilm_runner(cache),
        *(bundle_runner(name, folder) for name, folder in rivals),
    ]


def bundle_runner(name: str, folder: Path) -> Runner:
    """A bundle: one text as the product encodes it, more as one batch of its graph."""
    encoder, bundle = Encoder.load(folder), EncoderBundle.open(folder)
    start = GeneralStudent.of_bundle(folder)
    many = graph_reader(bundle.read(GRAPH), start.tokenizer)

    def read(texts: Sequence[str]) -> object:
        return encoder.encode(texts) if len(texts) == 1 else many(texts)

    return Runner(name, encoder.num_bytes, encoder.num_tokens, read, ("bundle", folder.resolve()))


def fp32_graph_runner(general: GeneralStudent, folder: Path) -> Runner:
    """The bundle's student, its weights in fp32, through onnxruntime."""
    graph = export_graph(general.student, uniform(general.student, FULL)).SerializeToString()
    return graph_runner(FP32_GRAPH, graph, general.tokenizer, folder)


def graph_runner(name: str, graph: bytes, tokenizer: Tokenizer, folder: Path) -> Runner:
    """Any graph with inputs `ids` and `mask`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH).write_bytes(graph)
    tokenizer.save(str(folder / "tokenizer.json"))
    words = sum(len(word.encode()) + 1 for word in tokenizer.get_vocab())
    return Runner(
        name,
        len(graph) + words,
        lambda text: len(tokenizer.encode(text).ids),
        graph_reader(graph, tokenizer),
        ("graph", folder),
    )


def torch_runner(general: GeneralStudent, folder: Path) -> Runner:
    """The same student in torch."""
    student, tokenizer = general.student, general.tokenizer
    student.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))

    def read(texts: Sequence[str]) -> object:
        ids = torch.from_numpy(split(tokenizer, texts))
        with torch.inference_mode():
            return student(ids, torch.ones_like(ids))

    return Runner(
        FP32_TORCH,
        (folder / "model.safetensors").stat().st_size,
        lambda text: len(tokenizer.encode(text).ids),
        read,
        ("student", folder),
    )


def minilm_runner(cache: Path) -> Runner:
    """The default text teacher as int8, exported once."""
    teacher = teacher_folder(cache)
    folder = cache / "minilm-int8" / minilm_key(teacher)
    if not (folder / GRAPH).is_file():
        with write_whole(folder / GRAPH) as file:
            file.write(export_minilm(teacher))
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    return graph_runner(MINILM, (folder / GRAPH).read_bytes(), tokenizer, folder)


def minilm_key(teacher: Path) -> str:
    """What the exported graph depends on: the teacher, who exports it and who quantises it."""
    return f"{teacher.name}-torch-{torch.__version__}-onnxruntime-{onnxruntime.__version__}"


def export_minilm(teacher: Path) -> bytes:
    """Export by torch.onnx, then quantise dynamically, per channel, after pre-processing."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from transformers import AutoModel

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(
                teacher, attn_implementation="eager", add_pooling_layer=False
            ).eval()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            return torch.nn.functional.normalize(mean_pool(states, mask), dim=1)

    axes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("tokens", max=128)}
    example = torch.ones((2, 16), dtype=torch.int64)
    with tempfile.TemporaryDirectory() as scratch:
        paths = [str(Path(scratch) / f"{name}.onnx") for name in ("fp32", "ready", "int8")]
        torch.onnx.export(
            Sentence().eval(),
            (example, example),
            paths[0],
            input_names=["ids", "mask"],
            output_names=["vector"],
            dynamic_shapes=(axes, axes),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        quant_pre_process(paths[0], paths[1], skip_symbolic_shape=True)
        quantize_dynamic(paths[1], paths[2], per_channel=True, weight_type=QuantType.QInt8)
        return Path(paths[2]).read_bytes()


def graph_reader(graph: bytes, tokenizer: Tokenizer) -> Callable[[Sequence[str]], object]:
    """A batch of texts through a graph, tokenization included."""
    session = open_session(graph)

    def read(texts: Sequence[str]) -> object:
        ids = split(tokenizer, texts)
        return session.run(None, {"ids": ids, "mask": np.ones_like(ids)})[0]

    return read


def split(tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Pieces of texts that have equally many, (batch, tokens) int64."""
    return np.asarray([e.ids for e in tokenizer.encode_batch_fast(list(texts))], np.int64)


def texts_of(length: int, count: int) -> list[str]:
    """Different texts of so many pieces, `[CLS]` and `[SEP]` included."""
    return [
        " ".join(
            WORDS[(7 * start + place * (1 + start % 3)) % len(WORDS)] for place in range(length - 2)
        )
        for start in range(count)
    ]


def time_all(runners: Sequence[Runner], length: int, batch: int, repeats: int) -> dict[str, Times]:
    """Times of each runner, medians over the repeats; runners take turns."""
    texts = texts_of(length, 64)
    for runner in runners:
        counts = {runner.num_tokens(text) for text in texts}
        if counts != {length}:
            raise DataError(
                f"{runner.name} reads texts of {length} pieces as {sorted(counts)}: its vocabulary "
                "lacks a word of WORDS, take another one"
            )
    requests = [texts] * REQUESTS[batch] if batch > 1 else [[text] for text in texts]
    found: dict[str, list[Times]] = {runner.name: [] for runner in runners}
    for _ in range(repeats):
        for runner in runners:
            found[runner.name].append(time_one(runner, requests[: REQUESTS[batch]]))
    return {
        name: Times(
            *(statistics.median(column) for column in zip(*map(astuple, values), strict=True))
        )
        for name, values in found.items()
    }


def time_one(runner: Runner, requests: Sequence[Sequence[str]]) -> Times:
    """Times of one runner over some requests, after one that warms up."""
    runner.read(requests[0])
    wall, cpu = [], []
    for texts in requests:
        before = time.perf_counter(), time.process_time()
        runner.read(texts)
        after = time.perf_counter(), time.process_time()
        wall.append(1e3 * (after[0] - before[0]))
        cpu.append(1e3 * (after[1] - before[1]))
    p50, p95 = np.percentile(wall, [50, 95])
    return Times(float(np.median(cpu)), float(p50), float(p95))


def in_fresh_processes(runner: Runner) -> dict[str, float]:
    """Median figures of some processes that do nothing else."""
    kind, folder = runner.probe
    runs = []
    for _ in range(PROCESSES):
        command = [sys.executable, "-m", "benchmarks.encoder_probe", kind, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


AllTimes = dict[tuple[int, int], dict[str, Times]]
"""By tokens and batch, by runner."""


def table(num_bytes: dict[str, int], alone: dict[str, dict[str, float]], times: AllTimes) -> str:
    """A row per figure, a column per encoder."""
    rows = [["", *num_bytes], ["bytes", *(f"{size:,}" for size in num_bytes.values())]]
    for key, title in (
        ("load_ms", "load and first text, ms"),
        ("peak_mb", "peak memory, MB"),
        ("imports_mb", "of it before loading, MB"),
        ("import_s", "import, s"),
    ):
        rows.append([title, *(f"{alone[name][key]:.2f}" for name in num_bytes)])
    for (length, batch), found in times.items():
        cells = [
            f"{one.cpu_p50:.2f} / {one.wall_p50:.2f} / {one.wall_p95:.2f}"
            for one in (found[name] for name in num_bytes)
        ]
        rows.append([f"{length} tokens x {batch}: CPU p50 / p50 / p95, ms", *cells])
    return markdown(rows)


def ratios(times: AllTimes) -> str:
    """How many times as long one takes as another."""
    others = [name for name in next(iter(times.values())) if name != EI_BERT]
    pairs = [(name, EI_BERT) if name in SLOWER else (EI_BERT, name) for name in others]
    rows = [
        ["ratio of CPU p50, tokens x batch", *(f"{length} x {batch}" for length, batch in times)]
    ]
    for slow, fast in pairs:
        cells = [f"{found[slow].cpu_p50 / found[fast].cpu_p50:.2f}" for found in times.values()]
        rows.append([f"{slow} / {fast}", *cells])
    return markdown(rows)


if __name__ == "__main__":
    main()
