"""Noise of its own for every run."""

from typing import get_args

import pytest

from server.privacy.noise_seed import NO_NUMBER_HANGS_ON, noise_seed_of
from server.settings import Federation
from tests.tiny_world import SEED, private

DIGESTS = ("00", "11")


def seed_of(federation: Federation, arm: str = "federated", seed: int = SEED) -> int:
    return noise_seed_of(seed, arm, federation, DIGESTS)


def changed(**fields: object) -> Federation:
    return private().model_copy(update=fields)


def test_runs_that_release_other_numbers_have_other_noise():
    """Whoever takes one from the other would else have what the noise was to hide."""
    usual = private()
    stronger = usual.privacy.model_copy(update={"noise_multiplier": 7.5})
    clipped = usual.training.model_copy(update={"clip_norm": 0.123})
    seeds = {
        seed_of(usual),
        seed_of(usual, arm="federated-no-private"),
        seed_of(usual, seed=SEED + 1),
        seed_of(changed(privacy=stronger)),
        seed_of(changed(training=clipped)),
        seed_of(changed(rounds=usual.rounds + 1)),
        noise_seed_of(SEED, "federated", usual, ("00", "12")),
        noise_seed_of(SEED, "federated", usual, ("00",)),
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_how_a_run_is_played_changes_no_noise():
    training = private().training
    elsewhere = training.model_copy(update={"processor": "cuda", "block_bytes": 12345})
    for same in (
        changed(num_nodes=7),
        changed(reply_timeout_s=1.5),
        changed(training=elsewhere),
    ):
        assert seed_of(same) == seed_of(private())


@pytest.mark.parametrize("name", NO_NUMBER_HANGS_ON)
def test_what_is_left_out_is_a_setting(name: str):
    """A renamed setting would else be in the address again."""
    assert name in Federation.model_fields
    inner = NO_NUMBER_HANGS_ON[name]
    if isinstance(inner, set):
        model = Federation.model_fields[name].annotation
        assert not get_args(model)
        assert inner <= set(model.model_fields)
