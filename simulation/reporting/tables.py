"""The numbers behind the plots, as plain tables that the page lays out.

A `Table` is text only: every number is already rounded by `formats`, every cell says whether it is
a number, so that one macro of the template can draw all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from simulation.reporting import formats
from simulation.reporting.figures import byte_parts, part_colour
from simulation.reporting.model import (
    METRICS,
    PRIMARY_METRIC,
    Arm,
    ColdProtocolName,
    Compression,
    Interval,
    MetricName,
    ProtocolName,
    ReportData,
    Round,
    Slice,
    UserExample,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: text, and smaller text below it ("" for none)."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its head, its other cells, and a CSS class for the mark before the head."""

    head: str
    cells: tuple[Cell, ...]
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column is the head of each row.

    Args:
        columns: names of all columns, the head column first.
        rows: each has `len(columns) - 1` cells.
        numeric: whether cells are numbers, set to the right in digits of equal width.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    numeric: bool = True


def metric_names(report: ReportData, protocol: ProtocolName) -> list[MetricName]:
    """Return the metrics that at least one arm has under a protocol, in the order of `METRICS`."""
    return [name for name in METRICS if any(arm.metric(name, protocol) for arm in report.arms)]


def quality(report: ReportData, protocol: ProtocolName) -> Table:
    """Return every metric of every arm, in percent, with its interval."""
    names = metric_names(report, protocol)
    primary = formats.metric_label(PRIMARY_METRIC)
    has_slices = any(arm.slices for arm in report.arms)
    worst = (f"worst slice, {primary}",) if has_slices else ()
    own = (f"share of teacher, {primary}", *worst) if protocol == "full" else ()
    columns = ("arm", *own, *map(formats.metric_label, names))
    rows = []
    for arm in report.arms:
        cells = [_interval(arm.metric(name, protocol)) for name in names]
        if protocol == "full":
            cells.insert(0, _interval((arm.share_of_teacher or {}).get(PRIMARY_METRIC)))
            if has_slices:
                cells.insert(1, _worst(arm.worst_slice))
        rows.append(Row(arm.name, tuple(cells), _place_mark(arm)))
    return Table(columns, tuple(rows))


def _interval(interval: Interval | None) -> Cell:
    if interval is None:
        return Cell(formats.MISSING)
    return Cell(formats.percent(interval.mean), formats.percent_range(interval))


def _worst(found: Slice | None) -> Cell:
    if found is None or found.interval is None:
        return Cell(formats.MISSING)
    return Cell(formats.percent(found.interval.mean), f"{found.dimension}: {found.name}")


def cold(report: ReportData, protocol: ColdProtocolName) -> Table:
    """Return every metric of every arm on new items, with its interval and the worst slice."""
    columns = (
        *("arm", f"worst slice, {formats.metric_label(PRIMARY_METRIC)}"),
        *map(formats.metric_label, METRICS),
    )
    rows = []
    for found in report.cold.arms if report.cold else ():
        arm = report.known_arm(found.key)
        cells = [_interval(found.metric(name, protocol)) for name in METRICS]
        rows.append(Row(arm.name, (_worst(found.worst_slice(protocol)), *cells), _place_mark(arm)))
    return Table(columns, tuple(rows))


def slices(report: ReportData) -> Table:
    """Return the primary metric of every slice, for the arms that the headline speaks about."""
    roles = (report.teacher, report.phone, report.static)
    arms = [arm for arm in roles if arm and arm.slices] or [a for a in report.arms if a.slices]
    if not arms:
        return Table(("slice", "users"), ())
    rows = tuple(
        Row(
            f"{first.dimension}: {first.name}",
            (
                Cell(formats.count(first.num_users)),
                *(_interval(arm.slices[place].interval) for arm in arms),
            ),
        )
        for place, first in enumerate(arms[0].slices)
    )
    return Table(("slice", "users", *(arm.name for arm in arms)), rows)


def _place_mark(arm: Arm) -> str:
    return f"tone-{arm.place}"


def cost(report: ReportData) -> Table:
    """Return what every arm asks of one device."""
    bytes_columns = ("encoder bundle", "device package", "down / round", "up / round")
    columns = ("arm", "latency p50", "p95", *bytes_columns, "rounds")
    return Table(columns, tuple(_cost_row(arm) for arm in report.arms if _has_cost(arm)))


def _has_cost(arm: Arm) -> bool:
    return any(value is not None for value in arm.cost.model_dump().values())


def _cost_row(arm: Arm) -> Row:
    cost = arm.cost
    texts = (
        formats.milliseconds(cost.latency_p50_ms),
        formats.milliseconds(cost.latency_p95_ms),
        formats.size(cost.encoder_bundle_bytes),
        formats.size(cost.device_package_bytes),
        formats.size(cost.bytes_down_per_device_round),
        formats.size(cost.bytes_up_per_device_round),
        formats.figure(cost.rounds),
    )
    return Row(arm.name, tuple(map(Cell, texts)), _place_mark(arm))


def left_device(report: ReportData) -> list[tuple[str, tuple[str, ...]]]:
    """Return (names of arms, what left the device), arms that send the same things together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for arm in report.arms:
        groups.setdefault(arm.left_device, []).append(arm.name)
    return [(", ".join(names), sent) for sent, names in groups.items()]


def shared_titles(user: UserExample) -> str:
    """Return how many titles of the server's list the phone shows too, as "6 of 10"."""
    return f"{len(set(user.server) & set(user.phone))} of {len(user.server)}"


def bundle_parts(compression: Compression) -> Table:
    """Return the parts of the bundle, largest first, in the colours of the stripe."""
    rows = [
        Row(
            part.part,
            (
                Cell(formats.count(part.num_bytes)),
                Cell(f"{formats.percent(part.num_bytes / compression.bundle_bytes)} %"),
            ),
            f"part-{part_colour(index)}",
        )
        for index, part in enumerate(byte_parts(compression))
    ]
    total = (Cell(formats.count(compression.bundle_bytes)), Cell("100 %"))
    return Table(("part", "bytes", "share"), (*rows, Row("encoder bundle", total)))


def rounds(found: Sequence[Round], report: ReportData) -> Table:
    """Return one row per federated round, as it happened."""
    metric = formats.metric_label(PRIMARY_METRIC)
    columns = ("arm", "round", "devices", "loss", metric, "up", "down", "time")
    return Table(columns, tuple(_round_row(round_, report) for round_ in found))


def _round_row(round_: Round, report: ReportData) -> Row:
    metric = round_.metrics.get(PRIMARY_METRIC)
    texts = (
        formats.count(round_.round_number),
        formats.count(round_.num_devices),
        formats.figure(round_.loss),
        formats.MISSING if metric is None else formats.percent(metric, 2),
        formats.size(round_.bytes_up),
        formats.size(round_.bytes_down),
        formats.seconds(round_.seconds),
    )
    return Row(report.known_arm(round_.arm).name, tuple(map(Cell, texts)))


def counts(label: str, found: dict[str, int]) -> Table:
    """Return counts by label, as given."""
    rows = tuple(Row(name, (Cell(formats.count(number)),)) for name, number in found.items())
    return Table((label, "count"), rows)


def settings(report: ReportData) -> Table:
    """Return every setting under its dotted name."""
    flat = _flatten(report.settings)
    rows = tuple(Row(name, (Cell(formats.figure(value)),)) for name, value in flat.items())
    return Table(("setting", "value"), rows, numeric=False)


def versions(report: ReportData) -> Table:
    """Return the version of every library that took part."""
    rows = tuple(Row(name, (Cell(version),)) for name, version in report.versions.items())
    return Table(("library", "version"), rows, numeric=False)


def _flatten(node: dict[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Return the leaves of a nested dict by dotted name.

    >>> _flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": {}})
    {'a.b': 1, 'a.c.d': [2], 'e': {}}
    """
    flat: dict[str, JsonValue] = {}
    for name, value in node.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
