"""A tiny text teacher, made here, and one bundle compressed from it: seconds, no download."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertModel, BertTokenizerFast

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, EncoderBundle, write_bundle
from models.compression.export.graph import graph_parts
from models.compression.pipeline import compress
from models.compression.report import CompressionReport
from models.compression.settings import CompressionSettings
from models.compression.teacher.corpus import Corpus
from models.wordpiece import PAD, SPECIAL_TOKENS

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789().,-"
WORDS = ("heat", "film", "crime", "drama", "city", "night", "river", "stone", "green", "house")
WORDS += ("old", "war", "love", "story", "comedy", "star", "moon", "ship", "road", "king", "queen")
WORDS += ("boy", "girl", "dog", "cat", "red", "blue", "last", "first", "day", "hand", "world")
TEACHER_PIECES = [
    *SPECIAL_TOKENS,
    "[unused0]",
    "[unused1]",
    *LETTERS,
    *("##" + letter for letter in LETTERS),
    *WORDS,
    "##s",
    "##ing",
]
TEACHER_PIECES = list(dict.fromkeys(TEACHER_PIECES))

TINY = {
    "budget_bytes": 60_000,
    "corpus": {
        "queries_per_item": 2,
        "query_words_min": 1,
        "query_words_max": 3,
        "prose_texts": 40,
        "prose_words": 8,
        "held_back_every": 5,
        "attention_every": 1,
    },
    "teacher": {"max_tokens": 24, "batch_size": 16},
    "pruning": {"criterion": "attention", "character_min_count": 3, "item_weight": 2.0},
    "student": {
        "embedding_size": 24,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "layers": 1,
        "passes": 2,
        "adapter_size": 0,
        "max_tokens": 16,
        "vector_size": 20,
    },
    "warm_start": {"penalty": 0.01, "rounds": 50, "length_quantile": 1.0},
    "pretraining": {
        "steps": 12,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "word_rate_share": 1.0,
        "warmup_share": 0.25,
        "weight_decay": 0.01,
        "relation_weight": 0.1,
        "temperature": 0.05,
        "state_weight": 0.0,
        "word_weight": 0.0,
        "item_share": 0.4,
        "query_share": 0.3,
        "checkpoint_every": 5,
        "device": "cpu",
    },
    "quantization": {
        "embedding_bits": 8,
        "matrix_bits": 8,
        "polish": {"steps": 4, "batch_size": 8, "learning_rate": 1e-4},
    },
}


def _word(number: int) -> str:
    return WORDS[number % len(WORDS)]


def tiny_teacher_model(seed: int = 0) -> BertModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(TEACHER_PIECES),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=32,
            # A fresh BERT gives all texts nearly one vector; wider weights tell them apart.
            initializer_range=0.3,
        )
        return BertModel(config, add_pooling_layer=False)


def save_teacher(model: BertModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    vocabulary = {piece: index for index, piece in enumerate(TEACHER_PIECES)}
    BertTokenizerFast(vocab=vocabulary, do_lower_case=True, pad_token=PAD).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_teacher(tiny_teacher_model(), tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="session")
def tiny_settings() -> CompressionSettings:
    return CompressionSettings.model_validate(TINY)


@pytest.fixture(scope="session")
def tiny_corpus() -> Corpus:
    items = [
        f"{_word(k)} {_word(5 * k + 1)} ({1960 + k}). {_word(7 * k)} {_word(3 * k + 2)}"
        for k in range(30)
    ]
    prose = [" ".join(_word(k * j + j) for j in range(1, 12)) for k in range(40)]
    return Corpus(tuple(items), tuple(prose))


@pytest.fixture(scope="session")
def compression_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def compressed(
    teacher_folder: Path,
    tiny_corpus: Corpus,
    tiny_settings: CompressionSettings,
    compression_cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[EncoderBundle, CompressionReport]:
    """One whole compression: the bundle and its report."""
    out = tmp_path_factory.mktemp("compressed") / "bundle"
    report = compress(
        teacher_folder, tiny_corpus, tiny_settings, out, compression_cache, seed=3, threads=1
    )
    return EncoderBundle.open(out), report


@pytest.fixture(scope="session")
def broken_bundle(
    compressed: tuple[EncoderBundle, CompressionReport], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle, whole by its hashes, whose graph holds a NaN in one norm."""
    whole = compressed[0]
    model = onnx.load_model_from_string(whole.read(GRAPH))
    norm = next(t for t in model.graph.initializer if t.name.startswith("n"))
    values = numpy_helper.to_array(norm).copy()
    values[0] = np.nan
    norm.CopyFrom(numpy_helper.from_array(values, norm.name))
    files = {name: whole.read(name) for name in (VOCABULARY, TOKENIZER)}
    folder = tmp_path_factory.mktemp("broken") / "bundle"
    write_bundle(
        folder,
        {**files, GRAPH: model.SerializeToString(deterministic=True)},
        graph_parts=graph_parts(model),
        vector_size=whole.vector_size,
        origin=whole.manifest["origin"],
        budget_bytes=TINY["budget_bytes"],
    )
    return folder
