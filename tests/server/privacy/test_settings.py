"""What cannot keep its promise is refused, and the message says why."""

import pytest
from pydantic import ValidationError

from models.errors import SettingsError
from server.settings import Federation
from tests.tiny_world import NUM_DEVICES, TinyWorld, federation, private

REFUSED = {
    "noise without a mechanism": (
        {"privacy": {"mechanism": "none"}},
        'mechanism is "none" and noise_multiplier is 1',
    ),
    "no noise": ({"privacy": {"noise_multiplier": 0}}, "exactly one of them"),
    "noise and a target": ({"privacy": {"target_epsilon": 4}}, "exactly one of them"),
    "adaptive without noise on the count": (
        {"privacy": {"target_quantile": 0.5}},
        "wants clip_rate and clip_noise_multiplier above 0",
    ),
    "local and adaptive": (
        {"privacy": {"mechanism": "local", "target_quantile": 0.5, "clip_noise_multiplier": 5}},
        "the bit that says whether an update was short enough would leave the phone",
    ),
    "local and scaled": (
        {"privacy": {"mechanism": "local", "scaled_population": 10_000}},
        "a phone adds the noise that it needs itself",
    ),
    "local and noise of the cloud on metrics": (
        {"privacy": {"mechanism": "local", "evaluation_noise_multiplier": 5}},
        "noise of a trusted cloud",
    ),
    "Poisson and buffered": (
        {"schedule": {"mode": "buffered", "concurrency": 5}},
        "no phone is drawn by itself",
    ),
    "Poisson and over-selection": (
        {"schedule": {"over_selection": 1.3}},
        "must not depend on who else was faster",
    ),
    "FedDyn": (
        {
            "optimizer": {"name": "feddyn"},
            "training": {"dynamic": True, "proximal": 0.1},
        },
        "noise drives them apart",
    ),
    "adaptive and buffered": (
        {
            "schedule": {"sampling": "available", "mode": "buffered", "concurrency": 5},
            "privacy": {"target_quantile": 0.5, "clip_noise_multiplier": 5},
        },
        "clipped with an older norm",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_keep_its_promise_is_refused(name: str):
    changes, words = REFUSED[name]
    whole = private().model_dump()
    for section, values in changes.items():
        whole[section] |= values
    with pytest.raises(ValidationError, match=words):
        Federation.model_validate(whole)


def test_a_buffered_run_may_be_private_without_amplification():
    whole = private().model_dump()
    whole["schedule"] |= {"sampling": "available", "mode": "buffered", "concurrency": 5}
    assert Federation.model_validate(whole).privacy.is_private


@pytest.mark.parametrize("population", [1, NUM_DEVICES])
def test_scaling_to_fewer_phones_than_there_are_is_refused(population: int):
    with pytest.raises(SettingsError, match=f"scaled_population is {population}, the population"):
        private(scaled_population=population).check_population(NUM_DEVICES)
    private(scaled_population=NUM_DEVICES + 1).check_population(NUM_DEVICES)


def test_a_delta_that_lets_one_device_go_is_refused():
    with pytest.raises(SettingsError, match=r"delta is 0\.025, one in 40 devices is 0\.025"):
        private(delta=0.025).check_population(NUM_DEVICES)
    private(delta=0.024).check_population(NUM_DEVICES)


def test_a_count_with_less_noise_than_is_asked_for_stops_before_training(tiny: TinyWorld):
    """sigma_b = 0.4 at the median is a noise multiplier of 0.8, and 1 is wanted in all."""
    weak = private(target_quantile=0.5, clip_noise_multiplier=0.4)
    with pytest.raises(SettingsError, match=r"a noise multiplier of 0\.8.*together want 1"):
        tiny.prepare_run("run", weak)


def test_without_privacy_nothing_else_is_asked_for():
    assert not federation().privacy.is_private
