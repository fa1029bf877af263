import numpy as np

from models.scoring import score_users
from server.server_teacher import train_on_pooled_data
from server.settings import CentralTraining
from tests.tiny_world import RECOMMENDER, SEED, TinyWorld

TRAINING = CentralTraining(epochs=25, rate=0.02, users_per_step=8, num_negatives=0)


def test_training_learns_what_is_there_to_learn(tiny: TinyWorld):
    """On random histories it can only memorise, and it must: the loss falls well below guessing."""
    shard = tiny.shard()
    model = train_on_pooled_data(shard.events.histories, shard.text, RECOMMENDER, TRAINING, SEED)
    assert model.losses[-1] < 0.8 * model.losses[0]


def test_the_same_seed_gives_the_same_model_and_another_one_does_not(tiny: TinyWorld):
    shard = tiny.shard()
    short = TRAINING.model_copy(update={"epochs": 2})
    models = [
        train_on_pooled_data(shard.events.histories, shard.text, RECOMMENDER, short, seed)
        for seed in (SEED, SEED, SEED + 1)
    ]
    first, again, other = (tiny.layout.flatten(model.parameters) for model in models)
    assert (first == again).all()
    assert not (first == other).all()


def test_only_the_users_asked_for_are_trained_on(tiny: TinyWorld):
    """Change somebody who did not opt in: the static model may not notice."""
    shard = tiny.shard()
    opted_in = np.arange(1, 9)
    short = TRAINING.model_copy(update={"epochs": 2, "num_negatives": 3})

    def static() -> np.ndarray:
        model = train_on_pooled_data(
            tiny.shard().events.histories,
            shard.text,
            RECOMMENDER,
            short,
            SEED,
            users=opted_in,
            learn_taste=False,
        )
        assert not model.taste.any()
        return tiny.layout.flatten(model.parameters).numpy()

    before = static()
    items = np.load(tiny.world / "item.npy")
    outside = int(shard.events.histories.offsets[20])
    items[outside:] = items[outside:][::-1]
    np.save(tiny.world / "item.npy", items)
    np.testing.assert_array_equal(static(), before)


def test_scores_of_a_user_do_not_depend_on_the_others(tiny: TinyWorld):
    shard = tiny.shard()
    users = np.array([4, 17, 30])
    together = score_users(
        tiny.parameters(),
        shard.text,
        shard.events.histories,
        users,
        np.asarray(shard.taste[users]),
        6,
    )
    for row, user in enumerate(users):
        alone = score_users(
            tiny.parameters(),
            shard.text,
            shard.events.histories,
            users[row : row + 1],
            np.asarray(shard.taste[[user]]),
            6,
        )
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)
