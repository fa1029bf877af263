"""The student: an ALBERT-type encoder, small because one layer is stored once and applied N times.

    ids (B, T) int64, mask (B, T) int64
      -> word + position embeddings, LayerNorm      (B, T, E)   factorised: E < H          [1]
      -> linear E -> H                              (B, T, H)
      -> N times the SAME layer: attention, FFN     (B, T, H)   N costs time, not bytes    [1]
      -> mean over the real places                  (B, H)
      -> linear H -> V without bias, length 1       (B, V)      V: size of the vector that ships

How it starts is told in `warm_start`.

[1] Z. Lan et al., "ALBERT", ICLR 2020, arXiv 1909.11942, section 3.1. The code of the layers is
    transformers' `AlbertModel`; a student without its pooler, whose 0.07 MB buy nothing here.
"""

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel

from models.compression.text_teacher import mean_pool

INITIAL_SPREAD = 0.02
"""Standard deviation of every fresh weight, as in BERT and ALBERT."""

STRUCTURE_BYTES, STRUCTURE_BYTES_PER_PASS, STRUCTURE_BYTES_PER_TOKEN = 4_700, 3_500, 16
"""Nodes, names and small constants of the graph: measured with torch 2.13, and a little more."""


class StudentSettings(BaseModel, extra="forbid", frozen=True):
    """The shape of the student; the number of words follows from the byte budget."""

    embedding_size: int = Field(description="E, numbers per word", ge=8, le=1024)
    hidden_size: int = Field(description="H, numbers per place inside", ge=8, le=1024)
    intermediate_size: int = Field(description="width of the feed-forward net", ge=8, le=4096)
    num_heads: int = Field(description="attention heads; they divide hidden_size", ge=1, le=64)
    passes: int = Field(description="how often the shared layer is applied", ge=1, le=12)
    max_tokens: int = Field(description="longest text in pieces, frame included", ge=3, le=512)
    vector_size: int = Field(description="numbers per encoded text", ge=2, le=1024)

    @model_validator(mode="after")
    def _heads_divide(self) -> "StudentSettings":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads is {self.num_heads} and does not divide hidden_size {self.hidden_size}"
            )
        return self


class Student(nn.Module):
    """The encoder with its pooling and projector: what is trained and what is exported."""

    def __init__(self, settings: StudentSettings, vocabulary_size: int) -> None:
        super().__init__()
        self.settings = settings
        self.albert = AlbertModel(
            _albert_config(settings, vocabulary_size), add_pooling_layer=False
        )
        self.projector = nn.Linear(settings.hidden_size, settings.vector_size, bias=False)
        nn.init.normal_(self.projector.weight, std=INITIAL_SPREAD)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode padded texts.

        Args:
            ids: (B, T) int64, T <= max_tokens.
            mask: (B, T) int64, 1 where there is a piece, 0 where there is padding.

        Returns:
            (B, vector_size) float32, rows of length 1.
        """
        states = self.albert(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, H)
        return nn.functional.normalize(self.projector(mean_pool(states, mask)), dim=1)


def build_student(settings: StudentSettings, vocabulary_size: int, seed: int) -> Student:
    """Make a student of fresh weights; torch's own random state is left as it was.

    Args:
        settings: its shape.
        vocabulary_size: its words.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(settings, vocabulary_size)


def graph_bytes_without_words(settings: StudentSettings) -> int:
    """Return the bytes of the int8 graph but for the word table, to some hundred bytes.

    A matrix has 1 byte per weight and, per output channel, 4 of scale and 1 of zero point;
    positions are a table of 1 byte per number; biases and LayerNorms stay fp32. Nodes and names
    were measured.
    """
    E, H, W = settings.embedding_size, settings.hidden_size, settings.intermediate_size
    matrices = [(E, H), *[(H, H)] * 4, (H, W), (W, H), (H, settings.vector_size)]
    weights = sum(rows * columns + 5 * columns for rows, columns in matrices)
    biases = 4 * (H + 4 * H + W + H)
    norms = 4 * 2 * (E + H + H)
    positions = settings.max_tokens * E + E  # and one row of token type
    structure = (
        STRUCTURE_BYTES
        + STRUCTURE_BYTES_PER_PASS * settings.passes
        + STRUCTURE_BYTES_PER_TOKEN * settings.max_tokens
    )
    return weights + biases + norms + positions + structure


def count_weights(student: Student) -> dict[str, int]:
    """Return how many weights are stored, and how many are applied to a text."""
    stored = sum(p.numel() for p in student.parameters())
    layer = sum(p.numel() for p in student.albert.encoder.albert_layer_groups.parameters())
    return {
        "weights_stored": stored,
        "weights_applied": stored + layer * (student.settings.passes - 1),
    }


def _albert_config(settings: StudentSettings, vocabulary_size: int) -> AlbertConfig:
    return AlbertConfig(
        vocab_size=vocabulary_size,
        embedding_size=settings.embedding_size,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_attention_heads=settings.num_heads,
        num_hidden_layers=settings.passes,
        num_hidden_groups=1,  # one stored layer
        max_position_embeddings=settings.max_tokens,
        type_vocab_size=1,
        pad_token_id=0,
        hidden_act="gelu",
        # Distillation targets are not scarce labels; noise in the student only slows it down.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        initializer_range=INITIAL_SPREAD,
        attn_implementation="eager",  # exports to fewer nodes than "sdpa"
    )
