"""Numbers as people read them: the one place that rounds.

fraction 0.10912 -> "10.9"      percent, one decimal: intervals are wider than that
bytes    1872133 -> "1.87 MB"   decimal units, as the budget of 1,910,000 bytes is meant
time     3.1415  -> "3.1 ms"    two significant digits below 100 ms
None             -> "–"         not measured is not zero
"""

from datetime import UTC, datetime

from simulation.reporting.model import Interval, MetricName

MISSING = "–"
"""Shown where nothing was measured."""

_METRIC_LABELS: dict[MetricName, str] = {
    "hr@5": "HR@5",
    "hr@10": "HR@10",
    "ndcg@5": "nDCG@5",
    "ndcg@10": "nDCG@10",
    "mrr": "MRR",
    "auc": "AUC",
}


def metric_label(name: MetricName) -> str:
    """Return the name of a metric as papers print it.

    >>> metric_label("ndcg@10")
    'nDCG@10'
    """
    return _METRIC_LABELS[name]


def percent(fraction: float, decimals: int = 1) -> str:
    """Return a fraction in percent, without the sign.

    >>> percent(0.10912)
    '10.9'
    """
    return f"{100 * fraction:.{decimals}f}"


def percent_range(interval: Interval) -> str:
    """Return the two ends of an interval of fractions in percent.

    >>> percent_range(Interval(mean=0.11, low=0.0904, high=0.129))
    '9.0–12.9'
    """
    return f"{percent(interval.low)}–{percent(interval.high)}"


def points(difference: float) -> str:
    """Return a difference of fractions in percentage points, always with its sign.

    >>> points(-0.0042), points(0.0)
    ('−0.42', '+0.00')
    """
    return f"{100 * difference:+.2f}".replace("-", "−")


def points_range(interval: Interval) -> str:
    """Return the two ends of an interval of differences in percentage points."""
    return f"{points(interval.low)} to {points(interval.high)}"


def count(number: float) -> str:
    """Return a whole number with thousands marked.

    >>> count(100000)
    '100,000'
    """
    return f"{number:,.0f}"


def size(num_bytes: float | None) -> str:
    """Return a number of bytes in decimal units with three significant digits.

    >>> size(1_872_133), size(999_999), size(512), size(None)
    ('1.87 MB', '1.00 MB', '512 B', '–')
    """
    if num_bytes is None:
        return MISSING
    if num_bytes < 999.5:
        return f"{num_bytes:.0f} B"
    value, unit = num_bytes / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if value >= 999.5:
            value, unit = value / 1e3, larger
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {unit}"


def milliseconds(value_ms: float | None) -> str:
    """Return a time in milliseconds with two significant digits, or more when it is whole.

    >>> milliseconds(0.0312), milliseconds(3.1415), milliseconds(31.4), milliseconds(1204.2)
    ('0.031 ms', '3.1 ms', '31 ms', '1,204 ms')
    """
    if value_ms is None:
        return MISSING
    decimals = 0 if value_ms >= 10 else 1 if value_ms >= 1 else 2 if value_ms >= 0.1 else 3
    return f"{value_ms:,.{decimals}f} ms"


def seconds(value_s: float) -> str:
    """Return a duration in seconds.

    >>> seconds(0.42), seconds(93.6)
    ('0.4 s', '94 s')
    """
    return f"{value_s:,.1f} s" if value_s < 10 else f"{value_s:,.0f} s"


def duration(value_s: float) -> str:
    """Return a duration of any size: milliseconds below a second.

    >>> duration(0.00034), duration(2.5), duration(0.0)
    ('0.34 ms', '2.5 s', '0 ms')
    """
    if value_s == 0:
        return "0 ms"
    return milliseconds(1e3 * value_s) if value_s < 0.9995 else seconds(value_s)


def energy(value_j: float) -> str:
    """Return an energy with two significant digits or more.

    >>> energy(0.00051), energy(0.0202), energy(1.84), energy(212.3)
    ('0.51 mJ', '20 mJ', '1.8 J', '212 J')
    """
    value, unit = (1e3 * value_j, "mJ") if value_j < 0.9995 else (value_j, "J")
    decimals = 0 if value >= 9.95 else 1 if value >= 0.995 else 2 if value >= 0.0995 else 3
    return f"{value:,.{decimals}f} {unit}"


def moment(when: datetime) -> str:
    """Return a moment in UTC for people.

    >>> moment(datetime(2026, 3, 1, 9, 5, tzinfo=UTC))
    '1 March 2026, 09:05 UTC'
    """
    utc = when.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def figure(value: object) -> str:
    """Return a setting, or a figure that a stage reports, as short text.

    >>> figure(0.98765432), figure(30522), figure(True), figure([1, "a"]), figure(None)
    ('0.98765', '30,522', 'true', '1, a', '–')
    """
    match value:
        case None:
            return MISSING
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.5g}"
        case list() | tuple():
            return ", ".join(figure(part) for part in value) or MISSING
        case _:
            return str(value)
