"""Who exchanges keys with whom: everybody with everybody, or each party with a few [1].

    degree 4:   .. 7  2  9  5  1  8  3 ..      the parties in an order that the session gives
                   ^  ^     ^  ^                 5 is bound to 2, 9, 1 and 8

A party's secrets are shared within its neighbourhood, itself included; everybody's has the same
size. With few neighbours the parties that are left may fall apart into groups that no mask binds,
and each group's sum would lie open: `is_one_piece` is asked before anything is unmasked.

[1] J. Bell et al., "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", CCS 2020.
"""

import hashlib
import math
from collections.abc import Collection, Mapping

Neighbourhoods = Mapping[int, tuple[int, ...]]
"""Party -> it and its neighbours, ascending."""


def neighbourhoods(parties: Collection[int], degree: int, session: bytes) -> Neighbourhoods:
    """Bind each party to `degree` others.

    Args:
        parties: who has a key, all different.
        degree: even; 0, or as many as there are others: everybody.
        session: gives the order.

    >>> neighbourhoods([3, 1, 2], 0, b"")[1]
    (1, 2, 3)
    """
    count = len(parties)
    if degree == 0 or degree >= count - 1:
        everybody = tuple(sorted(parties))
        return dict.fromkeys(everybody, everybody)
    order = sorted(parties, key=lambda party: _place(session, party))
    reach = range(-degree // 2, degree // 2 + 1)
    return {
        party: tuple(sorted(order[(place + step) % count] for step in reach))
        for place, party in enumerate(order)
    }


def _place(session: bytes, party: int) -> bytes:
    return hashlib.sha256(b"order" + session + party.to_bytes(4, "little")).digest()


def threshold_of(size: int, share: float) -> int:
    """How many of `size` parties must be left: the share, and always more than half.

    More than half, because then no two groups that are large enough can be disjoint: the cloud
    cannot have one group open a party's self mask and another its key.

    >>> [threshold_of(size, 0.6) for size in (1, 2, 8, 10)]
    [1, 2, 5, 6]
    """
    return max(size // 2 + 1, math.ceil(round(share * size, 9)))


def is_one_piece(survivors: Collection[int], bound: Neighbourhoods) -> bool:
    """Whether masks bind all of these parties to one another, directly or through others."""
    left = set(survivors)
    waiting = [left.pop()] if left else []
    while waiting:
        reached = left.intersection(bound[waiting.pop()])
        left -= reached
        waiting += reached
    return not left
