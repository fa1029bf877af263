import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from models.recommender import initial_parameters
from models.scoring import score_users
from simulation.data.interactions import Columns
from simulation.data.splits import NOTHING_HELD_OUT, Split, split
from simulation.experiments.encoders.ranking_tasks import (
    RankingTask,
    cold_task,
    complete,
    phones_of,
    warm_task,
)
from simulation.experiments.evaluation import Referee
from simulation.world.build import pooled_histories
from tests.simulation.data.made_up import LEAVE_LAST, interactions
from tests.tiny_world import NUM_ITEMS, RECOMMENDER, SEED, TEXT_DIM, made_up_split


def small_split(rows: list[tuple[str, str, int]]) -> Split:
    return split(interactions(rows), LEAVE_LAST, 0)


def events_of(histories, row: int) -> list[int]:
    return histories.items[histories.offsets[row] : histories.offsets[row + 1]].tolist()


def cold_items(task: RankingTask) -> np.ndarray:
    return np.flatnonzero(task.fields["cold"])


def alice_and_bob() -> RankingTask:
    """Alice chose 0, 1, 2, then 3; Bob 4, 1, then 0. Items 1 and 3 are cold."""
    alice = [("alice", str(item), item) for item in range(4)]
    bob = [("bob", item, time) for time, item in enumerate("410")]
    parts = small_split([*alice, *bob])
    tasks = (cold_task(parts, 0.4, 5, seed) for seed in range(500))
    return next(task for task in tasks if cold_items(task).tolist() == [1, 3])


def test_the_warm_task_ranks_as_the_referee_does():
    parts = made_up_split()
    pool = pooled_histories(parts)
    referee = Referee.for_split(parts, pool, SEED)
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, (parts.interactions.num_users, NUM_ITEMS)).astype(np.float32)
    task = warm_task(parts)
    assert task.judged_users.tolist() == referee.users.tolist()
    found = task.values(lambda rows: scores[task.owners[rows]])
    expected = referee.ranks(scores[referee.users]).values("full")
    for metric in ("hr@10", "ndcg@10", "auc"):
        np.testing.assert_allclose(found[f"all {metric}"], expected[metric])


@pytest.mark.parametrize("seed", range(4))
def test_the_phones_of_a_task_hold_its_pool_and_no_cold_item(seed):
    parts = made_up_split()
    task = cold_task(parts, 0.3, 5, seed)
    held = phones_of(task, parts)
    pool = pooled_histories(held)
    np.testing.assert_array_equal(pool.items, task.pool.items)
    np.testing.assert_array_equal(pool.offsets, task.pool.offsets)
    titles = parts.interactions.items[Columns.TITLE].to_numpy()
    assert held.interactions.items[Columns.TITLE].tolist() == titles[task.known].tolist()
    for before, after in zip(parts.held_out, held.held_out, strict=True):
        if before in task.known:
            assert task.known[after] == before
        else:
            assert after == NOTHING_HELD_OUT
    private = Columns.PRIVATE_TEXT
    warm = np.isin(parts.train[Columns.ITEM], task.known)
    assert held.train[private].tolist() == parts.train.loc[warm, private].tolist()


def test_the_phones_of_the_warm_task_hold_the_split():
    parts = made_up_split()
    held = phones_of(warm_task(parts), parts)
    np.testing.assert_array_equal(held.held_out, parts.held_out)
    np.testing.assert_array_equal(pooled_histories(held).items, pooled_histories(parts).items)
    assert len(held.interactions.items) == len(parts.interactions.items)


def test_warm_requests_are_the_users_histories():
    task = warm_task(made_up_split())
    for row, owner in enumerate(task.owners):
        assert events_of(task.requests, row) == events_of(task.pool, int(owner))


@settings(max_examples=15)
@given(share=st.floats(0.05, 0.6), seed=st.integers(0, 50))
def test_no_training_event_has_a_cold_item(share: float, seed: int):
    parts = made_up_split()
    task = cold_task(parts, share, 6, seed)
    cold = cold_items(task)
    assert len(cold) == round(share * NUM_ITEMS)
    assert sorted([*task.known, *cold]) == list(range(NUM_ITEMS))
    # In the numbers of the whole catalogue, training is the split's training without cold items.
    train = pooled_histories(parts)
    for user in range(train.num_users):
        warm = [item for item in events_of(train, user) if item not in cold]
        assert task.known[events_of(task.pool, user)].tolist() == warm


@settings(max_examples=15)
@given(share=st.floats(0.05, 0.6), seed=st.integers(0, 50))
def test_a_request_sees_nothing_that_came_after_it_and_no_cold_item(share: float, seed: int):
    parts = made_up_split()
    task = cold_task(parts, share, 6, seed)
    train, cold = pooled_histories(parts), set(cold_items(task).tolist())
    for row, (owner, target) in enumerate(zip(task.owners, task.targets, strict=True)):
        whole = events_of(train, int(owner))
        end = len(whole) if parts.held_out[owner] == target else whole.index(target)
        assert target in cold
        assert events_of(task.requests, row) == [i for i in whole[:end] if i not in cold][-6:]


def test_every_cold_event_with_a_history_is_asked_for():
    """Bob's warm held-out item is in no history and no target."""
    task = alice_and_bob()
    asked = [(int(o), int(t)) for o, t in zip(task.owners, task.targets, strict=True)]
    assert asked == [(0, 1), (0, 3), (1, 1)]
    assert [events_of(task.requests, row) for row in range(3)] == [[0], [0, 2], [4]]
    assert events_of(task.chosen, 1) == [4, 1, 0]
    assert task.known[task.pool.items].tolist() == [0, 2, 4]


def test_a_users_value_is_the_mean_over_their_requests():
    """What a user chose never competes: of the cold ones none is left beside Alice's, for Bob 3."""
    task = alice_and_bob()
    scores = np.array([[0, 5, 0, 4, 9]], np.float32).repeat(3, axis=0)
    values = task.values(lambda rows: scores[rows])
    np.testing.assert_allclose(values["cold ndcg@10"], [1.0, 1.0])
    # Of all items only 4 competes with Alice's, and it is above both; Bob chose it himself.
    np.testing.assert_allclose(values["all ndcg@10"], [1 / np.log2(3), 1.0])
    np.testing.assert_allclose(values["all auc"], [0.0, 1.0])


def test_a_completed_recommender_scores_known_items_as_before():
    """Up to a constant; and a cold item by its text alone."""
    rng = torch.Generator().manual_seed(0)
    task = cold_task(made_up_split(), 0.3, 6, 1)
    start = initial_parameters(RECOMMENDER, len(task.known), TEXT_DIM, 0)
    parameters = {k: v + 0.3 * torch.randn(v.shape, generator=rng) for k, v in start.items()}
    text = torch.randn(NUM_ITEMS, TEXT_DIM, generator=rng).numpy()
    taste = torch.randn(task.pool.num_users, RECOMMENDER.dim, generator=rng).numpy()
    users = np.arange(task.pool.num_users)
    before = score_users(parameters, text[task.known], task.pool, users, taste, 6)
    whole = complete(parameters, task.known, NUM_ITEMS)
    items = task.known[task.pool.items].astype(np.int32)
    pool = type(task.pool)(task.pool.offsets, items)
    after = score_users(whole, text, pool, users, taste, 6)
    shift = before - after[:, task.known]
    np.testing.assert_allclose(shift, shift[0, 0], atol=1e-4)
    cold = cold_items(task)
    assert not whole["id_residual"][cold].any() and not whole["item_bias"][cold].any()
    assert abs(float(whole["item_bias"].sum())) < 1e-4


def test_too_many_cold_items_are_refused():
    parts = small_split([("a", "0", 1), ("a", "1", 2), ("b", "1", 1), ("b", "0", 2)])
    with pytest.raises(DataError, match="choose another cold_share"):
        cold_task(parts, 0.99, 5, 0)
