"""Local differential privacy: every device noises its own update, and trusts nobody.

    update -> clipped to norm C -> + N(0, (z C)^2) on each number -> leaves the phone

Formal guarantee: what leaves a phone in one round is a Gaussian mechanism. Any two updates of norm
at most C are at most 2 C apart, so the noise is z / 2 of the sensitivity; rounds compose, and
nothing is gained by who else takes part (`server.privacy.accounting`). A device that has nothing to
say, or whose update is not finite, sends noise alone.

The noise of a device lives at the address ("local noise", round, device): it is the same whatever
the number of nodes, and a round that is played again sends the same message again. NumPy's
generator and floating point are a simulator's: a real phone needs a cryptographic source and a
discrete mechanism.

S. Kasiviswanathan et al., "What Can We Learn Privately?", SIAM J. Computing 40(3), 2011.
"""

import numpy as np
from numpy.typing import NDArray

from models.seeds import generator


def noise_of_devices(
    noise_seed: int, round_number: int, device_ids: NDArray[np.int64], size: int, std: float
) -> NDArray[np.float64]:
    """The noise of some devices, added up, (size,) float64.

    Args:
        noise_seed: the run's.
        round_number: counted from 1.
        device_ids: (D,) who adds noise.
        size: numbers in an update.
        std: of each number of each device.
    """
    total = np.zeros(size)
    for device in device_ids.tolist():
        total += generator(noise_seed, "local noise", round_number, device).standard_normal(size)
    return std * total
