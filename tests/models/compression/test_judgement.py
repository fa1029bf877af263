import numpy as np
import pytest

from models.compression import judgement
from models.compression.judgement import learning_figures
from models.compression.pretraining import curriculum as curricula
from models.compression.pretraining.curriculum import Curriculum
from models.compression.teacher.corpus import CorpusTexts
from models.errors import BudgetError


def curriculum(num_items=30, num_queries=10, num_prose=5, size=6):
    rng = np.random.default_rng(0)
    total = num_items + num_queries + num_prose
    vectors = rng.normal(size=(total, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kinds = (("item", num_items), ("query", num_queries), ("prose", num_prose))
    texts = CorpusTexts(*(tuple(f"{kind} {k}" for k in range(n)) for kind, n in kinds))
    held_back = np.zeros(total, bool)
    held_back[num_items::4] = True
    return Curriculum(texts, (), vectors, vectors, 1.0, held_back)


def test_the_teacher_itself_is_perfect():
    made = curriculum()
    figures = learning_figures(made, made.targets.__getitem__)
    assert figures["neighbours"] == figures["query_neighbours"] == 1
    assert figures["held_back_cosine"] == pytest.approx(1)


def test_only_held_back_texts_are_judged():
    made = curriculum()
    spoilt = made.targets.copy()
    rows = np.arange(len(spoilt))
    spoilt[(rows >= made.num_items) & ~made.held_back] *= -1  # learnt queries and prose
    assert learning_figures(made, spoilt.__getitem__) == learning_figures(
        made, made.targets.__getitem__
    )
    spoilt[made.held_back] *= -1
    assert learning_figures(made, spoilt.__getitem__)["held_back_cosine"] == pytest.approx(-1)


def test_without_queries_and_prose_only_items_are_judged():
    made = curriculum(num_queries=0, num_prose=0)
    assert set(learning_figures(made, made.targets.__getitem__)) == {"neighbours"}


def test_a_large_catalogue_is_sampled_from_end_to_end(monkeypatch):
    monkeypatch.setattr(curricula, "MOST_JUDGED", 4)
    assert curriculum(num_items=31).judged.tolist() == [0, 10, 20, 30]
    assert curriculum(num_items=3).judged.tolist() == [0, 1, 2]


def test_without_a_catalogue_held_back_prose_is_judged():
    made = curriculum(num_items=0, num_queries=0, num_prose=9)
    assert made.judged.tolist() == [0, 4, 8]
    assert set(learning_figures(made, made.targets.__getitem__)) == {
        "neighbours",
        "held_back_cosine",
    }


def test_an_encoder_broken_by_quantisation_raises(monkeypatch):
    made = curriculum()

    vectors = {"fp32": iter(made.targets), "int8": iter(-made.targets)}
    monkeypatch.setattr(judgement, "open_session", lambda graph: vectors[graph])
    monkeypatch.setattr(judgement, "run_graph", lambda session, ids: next(session)[None])
    with pytest.raises(BudgetError, match=r"mean cosine of -1\.000"):
        judgement.compare_graphs("fp32", "int8", [[2, 3]] * 45, made, 0.0)
