"""What a data set is like, in a dozen numbers that people compare data sets by."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from simulation.data.interactions import Columns, Interactions

SECONDS_PER_DAY = 86_400
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers about checked interactions.

    Attributes:
        name: the data set.
        num_users: U.
        num_items: I, items without an event included.
        num_events: events.
        density: events / (U * I), in 0..1.
        events_per_user: quantiles 0, 0.25, 0.5, 0.75, 0.95 and 1 of events per user.
        first_time_s: the first event, UTC seconds; -1 without times.
        last_time_s: the last event, UTC seconds; -1 without times.
        top_decile_share: share of all events on the tenth of the items chosen most (rounded up).
        items_without_events: items that nobody chose.
        mean_text_words: words per item text.
        private_text_share: share of events with a private text.
    """

    name: str
    num_users: int
    num_items: int
    num_events: int
    density: float
    events_per_user: tuple[float, ...]
    first_time_s: int
    last_time_s: int
    top_decile_share: float
    items_without_events: int
    mean_text_words: float
    private_text_share: float

    def lines(self) -> list[str]:
        """Return the numbers as lines for people."""
        low, quarter, half, three_quarters, most, top = self.events_per_user
        return [
            f"{self.num_users:,} users, {self.num_items:,} items, {self.num_events:,} events",
            f"density {self.density:.2%}; {self.items_without_events:,} items without an event",
            f"events per user: least {low:.0f}, quarter {quarter:.0f}, median {half:.0f}, "
            f"three quarters {three_quarters:.0f}, 95 % {most:.0f}, most {top:.0f}",
            f"time: {self._time_span()}",
            f"the most popular tenth of the items has {self.top_decile_share:.1%} of the events",
            f"{self.mean_text_words:.1f} words per item text; "
            f"{self.private_text_share:.1%} of the events have a private text",
        ]

    def _time_span(self) -> str:
        if self.first_time_s < 0:
            return "none"
        first, last = (
            pd.Timestamp(time_s, unit="s").date()
            for time_s in (self.first_time_s, self.last_time_s)
        )
        days = (self.last_time_s - self.first_time_s) / SECONDS_PER_DAY
        return f"{first} to {last} ({days:,.0f} days)"


def describe(interactions: Interactions) -> Statistics:
    """Return the statistics of checked interactions."""
    events = interactions.events
    num_users, num_items = interactions.num_users, interactions.num_items
    per_user = np.bincount(events[Columns.USER], minlength=num_users)
    per_item = np.sort(np.bincount(events[Columns.ITEM], minlength=num_items))[::-1]
    top = -(-num_items // 10)
    return Statistics(
        name=interactions.name,
        num_users=num_users,
        num_items=num_items,
        num_events=len(events),
        density=len(events) / (num_users * num_items),
        events_per_user=tuple(float(count) for count in np.quantile(per_user, _QUANTILES)),
        first_time_s=int(events[Columns.TIME_S].min()),
        last_time_s=int(events[Columns.TIME_S].max()),
        top_decile_share=float(per_item[:top].sum() / len(events)),
        items_without_events=int((per_item == 0).sum()),
        mean_text_words=float((interactions.items[Columns.TEXT].str.count(" ") + 1).mean()),
        private_text_share=float((events[Columns.PRIVATE_TEXT] != "").mean()),
    )
