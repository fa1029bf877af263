"""A tiny catalogue, who chose what, a teacher's vectors and recommender, and a student to teach."""

import numpy as np
import torch

from models.compression.recommendation.recommender_distillation import (
    RecommenderDistillationSettings,
)
from models.compression.recommendation.recommender_pair import (
    RecommendationLessons,
    TrainedRecommender,
)
from models.compression.student import Student, StudentSettings, build_student
from models.histories import Histories
from models.recommender import RecommenderSettings, initial_parameters
from models.seeds import generator

NUM_ITEMS, NUM_USERS, WIDTH = 14, 9, 10
SHAPE = RecommenderSettings(dim=4, num_heads=2, max_history=5, low_rank=0, adapter=0, gated=False)
STUDENT = StudentSettings(
    embedding_size=12,
    hidden_size=16,
    intermediate_size=24,
    num_heads=2,
    layers=1,
    passes=2,
    adapter_size=0,
    max_tokens=8,
    vector_size=8,
)
SETTINGS = RecommenderDistillationSettings(
    integration=True,
    head="frozen",
    mutual=True,
    feature_weight=1.0,
    score_weight=1.0,
    ranking_weight=0.5,
    feedback_weight=0.1,
    temperature=2.0,
    learning_rate=5e-3,
    head_learning_rate=5e-3,
    teacher_learning_rate=1e-3,
    warmup_share=0.1,
    weight_decay=0.01,
    users_per_step=6,
    users_per_block=4,
    companions_per_step=3,
    texts_per_batch=5,
    align_steps=2,
    joint_steps=3,
    polish_steps=2,
    evaluate_every=2,
    checkpoint_every=2,
    guard_drop=1.0,
)


def settings(**changes: object) -> RecommenderDistillationSettings:
    return RecommenderDistillationSettings.model_validate({**SETTINGS.model_dump(), **changes})


def student(seed: int = 1) -> Student:
    """Weights wide enough to tell texts apart."""
    made = build_student(STUDENT, 40, seed).eval()
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=noise))
    return made


def teacher(num_items: int = NUM_ITEMS) -> TrainedRecommender:
    """Noise in every parameter, so that no path is zero."""
    noise = torch.Generator().manual_seed(5)
    start = initial_parameters(SHAPE, num_items, WIDTH, 3)
    noisy = {k: v + 0.2 * torch.randn(v.shape, generator=noise) for k, v in start.items()}
    taste = generator(4, "tiny-taste").normal(0, 0.2, (NUM_USERS, SHAPE.dim))
    return TrainedRecommender(noisy, taste.astype(np.float32), SHAPE)


def lessons(known: int = NUM_ITEMS, companions: int = 6) -> RecommendationLessons:
    """Histories of 1 to 8 events among the last `known` items of the catalogue."""
    rng = generator(2, "tiny-lessons")
    lengths = np.array([1, 2, 3, 8, 5, 4, 6, 2, 7])
    items = [rng.choice(known, length + 1, replace=False) for length in lengths]
    vectors = rng.normal(size=(NUM_ITEMS + companions, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [[2, *rng.integers(5, 40, rng.integers(1, 6)).tolist(), 3] for _ in vectors]
    return RecommendationLessons(
        item_ids=ids[:NUM_ITEMS],
        item_vectors=vectors[:NUM_ITEMS],
        known=np.arange(NUM_ITEMS - known, NUM_ITEMS),
        histories=Histories(
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([chosen[:-1] for chosen in items]).astype(np.int32),
        ),
        validation=np.array([chosen[-1] for chosen in items]),
        companion_ids=ids[NUM_ITEMS:],
        companion_vectors=vectors[NUM_ITEMS:],
    )
