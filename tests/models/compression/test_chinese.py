"""The paper's own language: characters are words, and each stands alone."""

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from models.compression.pipeline import compress
from models.compression.settings import CompressionSettings
from models.compression.teacher.corpus import Corpus
from models.encoder import Encoder
from models.wordpiece import PAD, SPECIAL_TOKENS
from tests.models.conftest import LETTERS, TINY

CHARACTERS = "手机很好用屏幕电池不行酒店房间干净服务差书的内容有趣价格便宜送货快慢喜欢推荐"
SENTENCES = (
    "手机很好用",
    "电池不行",
    "酒店房间干净",
    "服务很差",
    "书的内容有趣",
    "价格便宜",
    "送货很快",
)
TEXTS = tuple(a + "，" + b for a in SENTENCES for b in SENTENCES if a != b)
PIECES = [*SPECIAL_TOKENS, *LETTERS, *("##" + letter for letter in LETTERS)]
PIECES += [*dict.fromkeys(CHARACTERS), *("##" + c for c in dict.fromkeys(CHARACTERS)), "，"]


def chinese_teacher(folder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(PIECES),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=32,
            initializer_range=0.3,
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    vocabulary = {piece: index for index, piece in enumerate(PIECES)}
    BertTokenizerFast(vocab=vocabulary, do_lower_case=True, pad_token=PAD).save_pretrained(folder)
    return folder


def test_a_chinese_teacher_gives_a_chinese_encoder(tmp_path):
    settings = CompressionSettings.model_validate(TINY)
    teacher = chinese_teacher(tmp_path / "teacher")
    out = tmp_path / "bundle"
    report = compress(teacher, Corpus((), TEXTS), settings, out, tmp_path / "cache", 0, 1)
    pruning = next(row.figures for row in report.stages if row.stage == "pruning")
    assert pruning["unknown_rate_after"] == 0
    assert pruning["words_after"] < len(PIECES)  # "##手" can never be met, and is gone
    encoder = Encoder.load(out)
    assert encoder.num_tokens("手机很好用") == 2 + 5  # one piece a character
    vectors = encoder.encode(["手机很好用，电池不行", "手机很好用，服务很差", "价格便宜，送货很快"])
    one_half_in_common, nothing_in_common = (float(vectors[0] @ other) for other in vectors[1:])
    assert nothing_in_common < one_half_in_common < 0.999
