"""What the terminal shows of a world: a table of its tiers, and one of its fidelity."""

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulation.reporting import formats
from simulation.reporting.world_model import Fidelity, TierRow, WorldReport
from simulation.reporting.world_readings import availability, population, verdict
from simulation.reporting.world_readings import fidelity as read_fidelity


def render_terminal(report: WorldReport) -> Group:
    """Return a rich renderable that fits a terminal of 100 columns."""
    parts: list[RenderableType] = [
        Padding(Text(population(report), style="bold"), (1, 0)),
        _tiers(report),
        Text(availability(report.week), style="dim"),
    ]
    if report.fidelity:
        parts += [_fidelity(report.fidelity), Text(read_fidelity(report.fidelity), style="dim")]
    return Group(*parts)


def _tiers(report: WorldReport) -> Table:
    columns = ("tier", "devices", "events", "serves", "request", "round", "energy")
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption="events: median; request, round and its energy: of the tier's median phone",
        caption_justify="left",
    )
    for name in columns:
        table.add_column(name, justify="left" if name == "tier" else "right", no_wrap=True)
    for tier in report.tiers:
        table.add_row(*_tier_row(report, tier))
    return table


def _tier_row(report: WorldReport, tier: TierRow) -> list[Text]:
    found = {row.action.split(":")[0]: row for row in report.actions if row.tier == tier.tier}
    request, whole_round = found["a request"], found["a round"]
    share = formats.percent(tier.num_devices / report.num_devices)
    texts = (
        tier.tier,
        f"{formats.count(tier.num_devices)} ({share} %)",
        formats.count(tier.events_median),
        "yes" if tier.can_serve else "no",
        formats.duration(request.seconds),
        formats.duration(whole_round.seconds),
        formats.energy(whole_round.joules),
    )
    return [Text(text) for text in texts]


def _fidelity(found: Fidelity) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=f"{found.half_size} devices beside {found.half_size} users",
        title_justify="left",
    )
    for name in ("aspect", "measure", "devices", "noise", ""):
        numeric = name in ("devices", "noise")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for aspect in found.aspects:
        numbers = (f"{aspect.matched:.3f}", f"{aspect.halves:.3f}", verdict(aspect))
        table.add_row(*map(Text, (aspect.name, aspect.measure, *numbers)))
    return table
