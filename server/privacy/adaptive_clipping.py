"""A clip norm that follows a quantile of the norms, privately [1].

    each update   b = 1 if its norm is at most C, else 0
    cloud         s = sum of (b - gamma) over the cohort + N(0, sigma_b^2)
                  C <- C * exp(-clip_rate * s / (q N))

When gamma of the updates are short enough, s is 0 and C stays. The paper centres its bit at 1/2; it
is centred at the target quantile gamma here, so that a phone that was drawn and is not there (it
contributes 0) moves no fixed point, only slows the way to it. For gamma = 1/2 both are the same.

One device moves s by at most h = max(gamma, 1 - gamma). The bits and the updates are released
together: for a noise multiplier z of both, the updates get [1, theorem 1]

    z_update = (z^-2 - (h / sigma_b)^2)^-1/2       at gamma = 1/2:  (z^-2 - (2 sigma_b)^-2)^-1/2

[1] G. Andrew et al., "Differentially Private Learning with Adaptive Clipping", NeurIPS 2021.
"""

import math

from models.errors import SettingsError
from server.privacy.settings import PrivacySettings


def noise_of_updates(settings: PrivacySettings, noise_multiplier: float) -> float:
    """The noise multiplier of the sum of updates when sum and count together have this one.

    Raises:
        SettingsError: if the count alone has spent more than that.

    >>> from server.privacy.settings import PrivacySettings
    >>> off = dict(mechanism="central", noise_multiplier=1, target_epsilon=0, budget_epsilon=0,
    ...     delta=0, clip_rate=0.2, evaluation_noise_multiplier=0, scaled_population=0)
    >>> fixed = PrivacySettings(**off, target_quantile=0, clip_noise_multiplier=0)
    >>> follows = PrivacySettings(**off, target_quantile=0.5, clip_noise_multiplier=5)
    >>> noise_of_updates(fixed, 1.0), round(noise_of_updates(follows, 1.0), 4)
    (1.0, 1.005)
    """
    if not settings.is_adaptive:
        return noise_multiplier
    quantile = settings.target_quantile
    of_count = settings.clip_noise_multiplier / max(quantile, 1 - quantile)
    if of_count <= noise_multiplier:
        raise SettingsError(
            f"federation.privacy.clip_noise_multiplier is {settings.clip_noise_multiplier:g}, so "
            f"the count of short updates alone has a noise multiplier of {of_count:g}, and it and "
            f"the updates together want {noise_multiplier:g}: raise clip_noise_multiplier (a "
            "twentieth of the cohort is usual)"
        )
    return float((noise_multiplier**-2 - of_count**-2) ** -0.5)


def next_clip_norm(clip_norm: float, noisy_sum: float, clip_rate: float, expected: float) -> float:
    """The clip norm of the next round.

    Args:
        clip_norm: of this round.
        noisy_sum: s above, of (b - quantile) over the cohort, noised.
        clip_rate: how fast it follows.
        expected: q N, devices that a round draws on average.

    >>> next_clip_norm(1.0, 0.0, 0.2, 100), round(next_clip_norm(1.0, -50.0, 0.2, 100), 4)
    (1.0, 1.1052)
    """
    return clip_norm * math.exp(-clip_rate * noisy_sum / expected)
