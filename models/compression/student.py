"""The student: an ALBERT-type encoder, small because one layer is stored once and applied N times.

    ids (B, T) int64, mask (B, T) int64
      -> word + position embeddings, LayerNorm      (B, T, E)   factorised: E < H          [1]
      -> linear E -> H                              (B, T, H)
      -> N times the SAME layer: attention, FFN     (B, T, H)   N costs time, not bytes    [1]
      -> mean over the real places                  (B, H)
      -> linear H -> V without bias, length 1       (B, V)      V: size of the vector that ships

It starts warm: its embedding table is the teacher's own, cut to the kept words and to E dimensions
(truncated SVD), scaled as ALBERT's first LayerNorm likes it.

[1] Z. Lan et al., "ALBERT", ICLR 2020, arXiv 1909.11942, section 3.1. The code of the layers is
    transformers' `AlbertModel`; a student without its pooler, whose 0.07 MB buy nothing here.
"""

import numpy as np
import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel

from models.compression.text_teacher import mean_pool

INITIAL_SPREAD = 0.02
"""Standard deviation of every fresh weight, as in BERT and ALBERT."""


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


def build_student(settings: StudentSettings, teacher_embeddings: np.ndarray, seed: int) -> Student:
    """Make a student and warm-start its words.

    Args:
        settings: its shape.
        teacher_embeddings: (words, width) float32, the teacher's table cut to the kept words.
        seed: of the weights that start at random. torch's own random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(settings, len(teacher_embeddings))
    table = student.albert.get_input_embeddings().weight
    with torch.no_grad():
        table.copy_(torch.from_numpy(warm_embeddings(teacher_embeddings, settings.embedding_size)))
    return student


def warm_embeddings(teacher_embeddings: np.ndarray, size: int) -> np.ndarray:
    """Return the teacher's word vectors in fewer dimensions, spread as fresh weights are.

    Args:
        teacher_embeddings: (words, width) float32.
        size: dimensions wanted; if the teacher has fewer, the rest stays 0.

    Returns:
        (words, size) float32, the best approximation of its rank (Eckart and Young 1936), rotated
        onto its principal axes, with standard deviation `INITIAL_SPREAD`.
    """
    centred = teacher_embeddings - teacher_embeddings.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:size].T
    warm = np.zeros((len(centred), size), np.float32)
    warm[:, : reduced.shape[1]] = reduced
    spread = float(warm.std())
    return warm * (INITIAL_SPREAD / spread) if spread > 0 else warm


def weight_bytes(settings: StudentSettings) -> int:
    """Return the bytes of all weights but the words, in int8 with fp32 biases and norms.

    A matrix has 1 byte per weight and, per output channel, 4 of scale and 1 of zero point; positions
    are a table of 1 byte per number; biases and LayerNorms stay fp32.
    """
    E, H, F = settings.embedding_size, settings.hidden_size, settings.intermediate_size
    matrices = [(E, H), *[(H, H)] * 4, (H, F), (F, H), (H, settings.vector_size)]
    weights = sum(rows * columns + 5 * columns for rows, columns in matrices)
    biases = 4 * (H + 4 * H + F + H)
    norms = 4 * 2 * (E + H + H)
    return weights + biases + norms + settings.max_tokens * E + E


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
