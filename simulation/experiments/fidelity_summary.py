"""From two portraits of people to the rows and curves that a page shows.

Curves hold some tens of points each: sums over people, from which nobody's history can be read.
"""

import numpy as np
from numpy.typing import NDArray

from simulation.reporting.world_model import Aspect, Curve
from simulation.reporting.world_model import Fidelity as Shown
from simulation.world import distances
from simulation.world.fidelity import NOT_CAPTURED, Closeness, Fidelity, Portrait

PLACES, LIFT_BINS = 48, 12
REAL, SYNTHETIC = "real users", "synthetic devices"

_ASPECTS = (
    ("lengths", "history length", "KS distance"),
    ("popularity", "item popularity", "total variation"),
    ("entropies", "variety", "KS distance of entropies"),
    ("lifts", "co-occurrence", "correlation of log-lifts"),
    ("hours", "hour of the week", "total variation"),
)


def summarize(found: Fidelity) -> Shown:
    """Put a comparison into the form of the page."""
    real, synthetic = found.real, found.synthetic
    aspects = [_aspect(found, *names) for names in _ASPECTS]
    return Shown(
        num_users=found.num_users,
        num_devices=found.num_devices,
        half_size=found.half_size,
        num_splits=found.num_splits,
        aspects=tuple(aspect for aspect in aspects if aspect is not None),
        gini_real=distances.gini(real.popularity),
        gini_synthetic=distances.gini(synthetic.popularity),
        lengths=_cumulative(real.lengths, synthetic.lengths, _growing(real.lengths)),
        popularity=_concentration(real, synthetic),
        entropies=_cumulative(real.entropies, synthetic.entropies, _even(real, synthetic)),
        lifts=_lifts(*found.half),
        hours=_hours(real, synthetic),
        not_captured=NOT_CAPTURED,
    )


def _aspect(found: Fidelity, field: str, name: str, measure: str) -> Aspect | None:
    def value(closeness: Closeness) -> float | None:
        picked: float | None = getattr(closeness, field)
        return picked

    whole, matched, halves = map(value, (found.whole, found.matched, found.halves))
    if whole is None or matched is None or halves is None:
        return None
    return Aspect(
        name=name,
        measure=measure,
        whole=whole,
        matched=matched,
        halves=halves,
        higher_is_closer=field == "lifts",
    )


def growing_places(most: int) -> NDArray[np.int64]:
    """Some tens of whole numbers from 1 to `most`, equally far apart in ratio.

    >>> growing_places(4).tolist()
    [1, 2, 3, 4]
    """
    return np.unique(np.rint(np.geomspace(1, max(most, 2), PLACES)).astype(np.int64))


def _growing(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return growing_places(int(lengths.max()))


def _even(real: Portrait, synthetic: Portrait) -> NDArray[np.float64]:
    most = max(real.entropies.max(), synthetic.entropies.max(), 1e-9)
    return np.linspace(0, most, PLACES)


def _cumulative(
    real: distances.Numbers, synthetic: distances.Numbers, places: distances.Numbers
) -> tuple[Curve, ...]:
    """The share of the people at or below each place."""
    return (
        curve_of(REAL, places, distances.at_most(real, places)),
        curve_of(SYNTHETIC, places, distances.at_most(synthetic, places)),
    )


def _concentration(real: Portrait, synthetic: Portrait) -> tuple[Curve, ...]:
    """The share of all events on the first 1, 2, 3 ... items, in the real users' order."""
    order = np.argsort(-real.popularity, kind="stable")
    ranks = growing_places(len(order))
    return tuple(
        curve_of(label, ranks, np.cumsum(portrait.popularity[order])[ranks - 1])
        for label, portrait in ((REAL, real), (SYNTHETIC, synthetic))
    )


def _lifts(half: Portrait, other: Portrait, devices: Portrait) -> tuple[Curve, ...]:
    """Pairs that go together in one half of the users: do they elsewhere?

    Pairs are put into bins by their log-lift in the first half; the other half shows how much of
    that is chance.
    """
    order = np.argsort(half.lifts, kind="stable")
    bins = [part for part in np.array_split(order, LIFT_BINS) if len(part)]
    if not bins:
        return ()
    middles = np.array([half.lifts[part].mean() for part in bins])

    def means(portrait: Portrait) -> NDArray[np.float64]:
        return np.array([portrait.lifts[part].mean() for part in bins])

    return (
        curve_of("as in the first half", middles, middles),
        curve_of("the other half of the users", middles, means(other)),
        curve_of("as many synthetic devices", middles, means(devices)),
    )


def _hours(real: Portrait, synthetic: Portrait) -> tuple[Curve, ...]:
    if real.hours is None or synthetic.hours is None:
        return ()
    places = np.arange(len(real.hours))
    return curve_of(REAL, places, real.hours), curve_of(SYNTHETIC, places, synthetic.hours)


def curve_of(label: str, x: distances.Numbers, y: distances.Numbers) -> Curve:
    """A curve of plain numbers, rounded to six digits."""
    points = tuple(
        (float(f"{across:.6g}"), float(f"{up:.6g}")) for across, up in zip(x, y, strict=True)
    )
    return Curve(label=label, points=points)
