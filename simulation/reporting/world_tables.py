"""The numbers behind the plots of a world, as plain tables that its page lays out."""

from collections.abc import Callable

from simulation.reporting import formats
from simulation.reporting.tables import Cell, Row, Table
from simulation.reporting.world_figures import tone_of
from simulation.reporting.world_model import ActionRow, Fidelity, TierRow, WorldReport
from simulation.reporting.world_readings import verdict


def phones(report: WorldReport) -> Table:
    """Return what the phones of each tier are."""
    columns = ("tier", "devices", "speed", "memory", "serves", "battery", "while computing")
    return _by_tier(report, columns, lambda tier: _phone_cells(tier, report.num_devices))


def _phone_cells(tier: TierRow, num_devices: int) -> tuple[Cell, ...]:
    return (
        Cell(formats.count(tier.num_devices), f"{_percent(tier.num_devices / num_devices)} %"),
        Cell(f"{tier.speed:g}", f"1 of {tier.cores} cores"),
        Cell(f"{tier.memory_mb:g} MB"),
        Cell("yes" if tier.can_serve else "no"),
        Cell(f"{tier.battery_wh:g} Wh"),
        Cell(f"{tier.active_w:g} W"),
    )


def links(report: WorldReport) -> Table:
    """Return the networks of each tier: medians over its phones."""
    columns = ("tier", "down", "up", "round trip", "lost", "interrupted")
    return _by_tier(report, columns, _link_cells)


def _link_cells(tier: TierRow) -> tuple[Cell, ...]:
    most = tier.most_mbit_per_s
    return (
        Cell(f"{tier.down_mbit_per_s:g} Mbit/s", _bound(tier.down_mbit_per_s, most)),
        Cell(f"{tier.up_mbit_per_s:g} Mbit/s", _bound(tier.up_mbit_per_s, most)),
        Cell(f"{tier.round_trip_ms:g} ms"),
        Cell(f"{_percent(tier.loss)} %"),
        Cell(f"{_percent(tier.dropout)} %"),
    )


def _bound(mbit_per_s: float, most: float | None) -> str:
    """What the losses leave of a rate, where they take something from it."""
    return f"{most:.2g} with its losses" if most is not None and most < mbit_per_s else ""


def activity(report: WorldReport) -> Table:
    """Return how many training events the devices of each tier have."""
    columns = ("tier", "median", "90 % have at most", "most")
    return _by_tier(report, columns, _activity_cells)


def _activity_cells(tier: TierRow) -> tuple[Cell, ...]:
    numbers = (tier.events_median, tier.events_90, tier.events_most)
    return tuple(Cell(formats.count(number)) for number in numbers)


def _by_tier(
    report: WorldReport, columns: tuple[str, ...], cells: Callable[[TierRow], tuple[Cell, ...]]
) -> Table:
    rows = [
        Row(tier.tier, cells(tier), f"tone-{tone_of(index)}")
        for index, tier in enumerate(report.tiers)
    ]
    return Table(columns, tuple(rows))


def actions(report: WorldReport) -> Table:
    """Return seconds and joules of each action, a column for each tier."""
    return _by_action(
        report, lambda row: Cell(formats.duration(row.seconds), formats.energy(row.joules))
    )


def battery(report: WorldReport) -> Table:
    """Return how often one percent of a battery pays for each action."""

    def often(row: ActionRow) -> Cell:
        return Cell(formats.count(0.01 / row.battery_share) if row.battery_share else "∞")

    return _by_action(report, often)


def _by_action(report: WorldReport, cell: Callable[[ActionRow], Cell]) -> Table:
    found: dict[str, list[Cell]] = {}
    for row in report.actions:
        found.setdefault(row.action, []).append(cell(row))
    columns = ("action", *(tier.tier for tier in report.tiers))
    return Table(columns, tuple(Row(action, tuple(cells)) for action, cells in found.items()))


def fidelity(found: Fidelity) -> Table:
    """Return how far devices are from users, beside how far users are from one another."""
    columns = ("aspect", "verdict", "half and as many devices", "half and half", "all and all")
    rows = [
        Row(
            aspect.name,
            (
                Cell(verdict(aspect), aspect.measure),
                Cell(f"{aspect.matched:.3f}"),
                Cell(f"{aspect.halves:.3f}", "noise"),
                Cell(f"{aspect.whole:.3f}"),
            ),
        )
        for aspect in found.aspects
    ]
    return Table(columns, tuple(rows))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"
