"""Noise of its own for every run: what it is drawn from follows from all that the run releases.

    seed, arm, settings, start, data  ->  SHA-256  ->  noise seed  ->  ("privacy noise", round) ...

If two runs drew the same noise, whoever saw both could take one from the other and would have what
the noise was to hide. So runs share it only if they are the same run: then they release the same
numbers, and there is nothing to compare. What changes no number (nodes, patience with a node, the
size of a block) is left out, so that a run may be played again in another manner.

The seed must be secret wherever the promise is meant: everything else here may be known.
"""

from collections.abc import Sequence
from hashlib import sha256

from pydantic.main import IncEx

from server.settings import Federation

NO_NUMBER_HANGS_ON: dict[str, IncEx | bool] = {
    "num_nodes": True,
    "reply_timeout_s": True,
    "training": {"processor", "block_bytes"},
}
"""Settings of how a run is played; a test holds that each name is one of the settings."""

_BITS = 63


def noise_seed_of(seed: int, arm: str, federation: Federation, digests: Sequence[str]) -> int:
    """What the noise of a run is drawn from, 0 .. 2^63 - 1.

    Args:
        seed: the run's.
        arm: of the run.
        federation: its settings, the noise solved.
        digests: hexadecimal, of the start and of the data.
    """
    told = federation.model_dump_json(exclude=NO_NUMBER_HANGS_ON)
    digest = sha256("\n".join([str(seed), arm, told, *digests]).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> (64 - _BITS)
