"""How long work reports on itself without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`; `total` is 0 when it is not known.

The first line of `what` names the work; a second one, if there is one, says how it goes."""


def silent(what: str, done: int, total: int) -> None:
    """Report to nobody."""


def name_and_state(what: str) -> tuple[str, str]:
    r"""Return the name of the work, and how it goes ("" if nothing is said).

    >>> name_and_state("rounds\n812 devices/s")
    ('rounds', '812 devices/s')
    """
    name, _, state = what.partition("\n")
    return name, state
