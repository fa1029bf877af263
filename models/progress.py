"""How long work reports on itself without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`; `total` is 0 when it is not known."""


def silent(what: str, done: int, total: int) -> None:
    """Report to nobody."""
