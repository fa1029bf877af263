from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.compression.pretraining.batches import encode_ids
from models.compression.recommendation import recommender_distillation
from models.compression.recommendation.recommender_distillation import (
    TaughtRecommender,
    cross_distil_recommender,
)
from models.compression.recommendation.recommender_pair import Pair, RecommendationLessons
from models.compression.tasks.interplay import divergence
from models.errors import DataError
from models.metrics import held_out_ranks, metrics_of_ranks
from models.scoring import score_users
from models.text_space import TextSpace
from tests.models.compression import tiny_recommendation as tiny


def teach(checkpoints: Path | None = None, **changes: object) -> TaughtRecommender:
    return cross_distil_recommender(
        tiny.student(),
        tiny.teacher(),
        tiny.lessons(),
        tiny.settings(**changes),
        seed=0,
        checkpoints=checkpoints,
    )


def make_pair(told: RecommendationLessons) -> Pair:
    return Pair(
        tiny.student(),
        tiny.teacher(),
        told,
        integration=True,
        head="free",
        texts_per_batch=5,
        seed=0,
    )


def weights(taught: TaughtRecommender) -> torch.Tensor:
    return torch.cat([p.detach().ravel() for p in taught.student.parameters()])


def test_the_student_comes_nearer_to_the_teacher():
    looks = teach(align_steps=40, joint_steps=0, polish_steps=0, evaluate_every=40).looks
    assert [look.step for look in looks] == [0, 40]
    assert looks[-1].feature_error < 0.8 * looks[0].feature_error


def test_the_item_chosen_next_is_learnt():
    """With nothing but the ranking loss, training events become more likely, step by step."""
    settings = tiny.settings(
        feature_weight=0.0, score_weight=0.0, ranking_weight=1.0, mutual=False, align_steps=0
    )
    pair = make_pair(tiny.lessons())
    users = np.flatnonzero(tiny.lessons().histories.lengths() >= 2)

    def loss() -> float:
        with torch.no_grad():
            features = pair.features(np.arange(0))
            whole = recommender_distillation._block_loss(
                pair, features, users, settings, both=False
            )
        return float(whole)

    before = loss()
    optimizer = recommender_distillation._optimizer(pair, settings)
    for step in range(12):
        recommender_distillation._one_step(pair, optimizer, settings, step, seed=0)
    assert loss() < 0.95 * before


def test_one_pass_gives_the_gradient_of_the_whole_loss():
    """Gathering on the vectors and going through once is the chain rule, not an approximation."""
    settings = tiny.settings(mutual=False, users_per_step=9, users_per_block=2, head="free")
    told = tiny.lessons(companions=0)

    stepped, whole = make_pair(told), make_pair(told)
    optimizer = recommender_distillation._optimizer(stepped, settings)
    recommender_distillation._one_step(stepped, optimizer, settings, 5, seed=0)
    ours, theirs = whole.features(np.arange(0))
    users = np.flatnonzero(told.histories.lengths() >= 2)
    history = told.histories.training_block(users, 5)
    z_S = whole.side.head.scores(ours, history, users, learns=True)
    z_T = whole.teacher_head.scores(theirs, history, users, learns=False).detach()
    loss = (
        (ours - theirs.detach()).square().sum(dim=1).mean()
        + divergence(z_T, z_S, 2.0)
        + 0.5 * F.cross_entropy(z_S, history.targets[history.target_mask])
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(whole.side.parameters(), 1.0)
    for (name, one), two in zip(
        stepped.side.named_parameters(), whole.side.parameters(), strict=True
    ):
        if two.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("head", ["frozen", "tied", "free"])
def test_the_teacher_learns_in_the_joint_stage_only(head: str):
    def teacher_scores(**changes: object) -> list[float]:
        looks = teach(
            head=head,
            evaluate_every=1,
            teacher_learning_rate=1e-2,
            **{"learning_rate": 0.02, **changes},
        ).looks
        return [look.teacher_score for look in looks]

    still = teacher_scores(mutual=False)
    assert len(set(still)) == 1
    live = teacher_scores(joint_steps=8)
    assert len(set(live[:3])) == 1  # before the first step, and after two of aligning
    assert len(set(live[2:])) > 1
    assert live[-1] == live[-2] == live[-3]  # polish


@pytest.mark.parametrize("head", ["frozen", "tied"])
def test_the_guard_gives_back_the_best_teacher(head: str):
    changes = {"joint_steps": 12, "evaluate_every": 1, "learning_rate": 0.2, "head": head}
    changes["teacher_learning_rate"] = 0.1
    looks = teach(guard_drop=0.0, **changes).looks
    scores = [look.teacher_score for look in looks]
    stopped = [look.teacher_learns for look in looks].index(0)
    assert scores[stopped] < max(scores[:stopped])
    assert len(scores) > stopped + 1
    assert set(scores[stopped + 1 :]) == {max(scores[:stopped])}
    assert all(look.teacher_learns for look in teach(guard_drop=1.0, **changes).looks)


def test_the_guard_measures_from_the_best_look_not_from_the_first():
    pair = make_pair(tiny.lessons())
    for score in (0.10, 0.15, 0.147):
        pair.guard(score, drop=0.005)
        assert pair.teacher_learns
    pair.guard(0.144, drop=0.005)
    assert not pair.teacher_learns


def test_the_teachers_items_are_those_of_the_best_look():
    pair = make_pair(tiny.lessons())
    pair.remember(0.5)
    before = pair.teachers_items()
    with torch.no_grad():
        pair.adapter += 1.0
    pair.remember(0.4)
    np.testing.assert_array_equal(pair.teachers_items(), before)
    pair.remember(0.6)
    assert not np.allclose(pair.teachers_items(), before)


def test_the_best_student_is_returned_with_its_recommender_folded():
    """A phone that places the student's vectors itself gets the best score of all looks."""
    taught = teach(evaluate_every=1)
    told, head = tiny.lessons(), taught.recommender
    raw = encode_ids(taught.student, told.item_ids, 8)
    text = TextSpace.of_catalogue(raw).place(raw)
    users = np.arange(tiny.NUM_USERS)
    scores = score_users(head.parameters, text, told.histories, users, head.taste, 5)
    unseen = ~told.histories.seen(users, tiny.NUM_ITEMS)
    found = metrics_of_ranks(*held_out_ranks(scores, told.validation, unseen))["ndcg@10"].mean()
    assert found == pytest.approx(max(look.student_score for look in taught.looks), abs=1e-9)


def test_known_items_can_keep_the_teachers_vectors():
    """With a teacher that stands still, the student then ranks known items as the teacher does."""
    taught = teach(mutual=False)
    made, told = tiny.teacher(), tiny.lessons()
    users = np.arange(tiny.NUM_USERS)
    raw = encode_ids(taught.student, told.item_ids, 8)
    ours = TextSpace.of_catalogue(raw).place(raw)
    theirs = TextSpace.of_catalogue(told.item_vectors).place(told.item_vectors)
    head = taught.on(ours)
    scores, expected = (
        score_users(which.parameters, text, told.histories, users, made.taste, 5)
        for which, text in ((head, ours), (made, theirs))
    )
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_killed_course_goes_on_to_the_same_weights(tmp_path: Path):
    class KilledError(Exception):
        pass

    def kill(what: str, done: int, total: int) -> None:
        if done == 5:
            raise KilledError

    whole = teach(tmp_path / "whole")
    with pytest.raises(KilledError):
        cross_distil_recommender(
            tiny.student(),
            tiny.teacher(),
            tiny.lessons(),
            tiny.SETTINGS,
            seed=0,
            progress=kill,
            checkpoints=tmp_path / "killed",
        )
    resumed = teach(tmp_path / "killed")
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.looks == whole.looks
    for name, value in whole.recommender.parameters.items():
        assert torch.equal(resumed.recommender.parameters[name], value)


def test_a_course_needs_no_companions():
    cross_distil_recommender(
        tiny.student(), tiny.teacher(), tiny.lessons(companions=0), tiny.SETTINGS, seed=0
    )


def test_a_rate_that_is_too_high_is_one_clear_line():
    with pytest.raises(DataError, match=r"went astray .* lower learning_rate than 1"):
        teach(learning_rate=1.0, align_steps=300, weight_decay=1e30, mutual=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"integration": False}, "set head = 'free'"),
        ({"align_steps": 0, "joint_steps": 0, "polish_steps": 0}, "are all 0"),
        ({"teacher_learning_rate": 0.5}, "is not below the student's"),
    ],
)
def test_settings_that_do_not_agree_are_refused(changes: dict[str, object], says: str):
    with pytest.raises(ValueError, match=says):
        tiny.settings(**changes)
