"""Server-sent events: a stream of what changed, for one page.

    id: 17                   version of the studio
    event: state
    data: {"version": 17, ..., "days_from": 12, "days": [...]}

The first event of a connection holds everything; later ones hold the days that this page has not
seen yet. A page that was cut off connects again and is told everything. Changes that come faster
than a page reads are told as one.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from simulation.studio.driver import Studio

HEARTBEAT_S = 15.0
RETRY_MS = 1_000


async def events(studio: Studio) -> AsyncIterator[str]:
    """Yield one event after the other until the studio closes."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def heard() -> None:
        loop.call_soon_threadsafe(changed.set)

    studio.listen(heard)
    try:
        yield f"retry: {RETRY_MS}\n\n"
        version, seen = -1, (0, 0)
        while not studio.closing.is_set():
            changed.clear()
            now = studio.snapshot
            if now["version"] != version:
                version = now["version"]
                told, seen = _unseen(now, seen)
                yield f"id: {version}\nevent: state\ndata: {json.dumps(told)}\n\n"
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT_S)
            except TimeoutError:
                yield ": still here\n\n"
    finally:
        studio.forget(heard)


def _unseen(now: dict[str, Any], seen: tuple[int, int]) -> tuple[dict[str, Any], tuple[int, int]]:
    """A snapshot with the days from the first that a page lacks, and what it has after it.

    Args:
        now: the snapshot.
        seen: number of the rollout and of its days that the page has.
    """
    days = now.get("days", [])
    number = now.get("rollout", 0)
    first = seen[1] if seen[0] == number and seen[1] <= len(days) else 0
    return {**now, "days_from": first, "days": days[first:]}, (number, len(days))
