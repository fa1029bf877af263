"""Ways to combine single updates so that a few lying devices do not decide.

    rows (B, P), one update each, every device alike  ->  one update (P,)

    mean              what a sum gives: one device moves it as far as it likes
    trimmed mean      per coordinate, the highest and the lowest are left out             [1]
    median            per coordinate                                                      [1]
    Krum              the one update that is nearest to its neighbours                    [2]
    Multi-Krum        the mean of the nearest ones                                        [2]

Trimming and Krum's choice are Flower's own functions. Flower's strategies weigh a mean by the
number of examples that a client claims; here every device weighs the same, so a device gains
nothing by a claim.

All but the mean look at single updates. A secure sum hides them, so it excludes these on principle:
`server.settings.Federation` refuses the two together, and a node that holds more than one device.
What is left there is a bound on each update's norm.

[1] D. Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
    ICML 2018.
[2] P. Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
    NeurIPS 2017.
"""

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.serverapp.strategy.fedtrimmedavg import trim_mean
from flwr.serverapp.strategy.multikrum import select_multikrum
from numpy.typing import NDArray

from models.errors import SettingsError
from server.aggregation_settings import AggregationSettings

Rows = NDArray[np.floating]
"""(B, P), one update each; B >= 1."""

Vector = NDArray[np.float64]
Combine = Callable[[Rows], Vector]

FEWEST_COMPARED = 3
"""Of two updates that differ nobody can say which one lies."""

_UPDATE = "update"


def mean(rows: Rows) -> Vector:
    """The mean of all updates, (P,).

    >>> mean(np.array([[1.0], [2.0], [90.0]])).tolist()
    [31.0]
    """
    return np.asarray(rows.mean(axis=0, dtype=np.float64))


def trimmed_mean(rows: Rows, share: float) -> Vector:
    """Per coordinate, the mean without the highest and the lowest [1].

    Args:
        rows: (B, P).
        share: of the devices, left out at each end, in [0, 0.5).

    >>> trimmed_mean(np.array([[1.0], [2.0], [90.0]]), 0.34).tolist()
    [2.0]
    """
    return np.asarray(trim_mean(rows, share), dtype=np.float64)


def coordinate_median(rows: Rows) -> Vector:
    """Per coordinate, the median [1], (P,).

    >>> coordinate_median(np.array([[1.0, 0.0], [2.0, 5.0], [90.0, 6.0]])).tolist()
    [2.0, 5.0]
    """
    return np.asarray(np.median(rows, axis=0), dtype=np.float64)


def krum(rows: Rows, num_malicious: int) -> Vector:
    """The update whose B - f - 2 nearest neighbours are nearest, in squared distance [2].

    Args:
        rows: (B, P).
        num_malicious: f, how many devices are feared to lie.

    Raises:
        SettingsError: if there are too few devices to outvote so many.
    """
    return multi_krum(rows, num_malicious, 1)


def multi_krum(rows: Rows, num_malicious: int, num_kept: int) -> Vector:
    """The mean of the updates that Krum likes best [2].

    Args:
        rows: (B, P).
        num_malicious: f, how many devices are feared to lie.
        num_kept: how many updates are averaged, in 1 .. B.

    Raises:
        SettingsError: if there are too few devices to outvote so many.
    """
    if len(rows) < 2 * num_malicious + 3:
        raise SettingsError(
            f"Krum with {num_malicious} feared devices needs {2 * num_malicious + 3} updates or "
            f"more, this round has {len(rows)}: fear fewer, or ask for larger cohorts"
        )
    # float64: Flower takes a distance as a difference of squares, which float32 would round away.
    records = [
        RecordDict({_UPDATE: ArrayRecord({_UPDATE: Array(row)})}) for row in rows.astype(np.float64)
    ]
    kept = select_multikrum(records, num_malicious, num_kept)
    return mean(np.stack([record.array_records[_UPDATE][_UPDATE].numpy() for record in kept]))


def combined(rows: Rows, settings: AggregationSettings) -> Vector | None:
    """What a round with these updates moves the parameters by; None: too few to compare.

    Args:
        rows: (B, P), B may be 0.
        settings: the rule, and how many may lie.

    >>> rows = np.array([[1.0], [2.0], [3.0], [2.0], [90.0]])
    >>> combined(rows, AggregationSettings(rule="krum", feared_share=0.2)).tolist()
    [2.0]
    """
    if len(rows) < FEWEST_COMPARED:
        return None
    share = settings.feared_share
    liars = min(int(share * len(rows)), (len(rows) - FEWEST_COMPARED) // 2)
    rules: dict[str, Callable[[], Vector]] = {
        "mean": lambda: mean(rows),
        "trimmed-mean": lambda: trimmed_mean(rows, share),
        "median": lambda: coordinate_median(rows),
        "krum": lambda: krum(rows, liars),
        "multi-krum": lambda: multi_krum(rows, liars, len(rows) - liars),
    }
    return rules[settings.rule]()
