"""The end of `make run`: the headline and one table that fits a terminal of 100 columns.

Names come from data, so they enter as `Text`, never as rich markup.
"""

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulation.reporting import formats
from simulation.reporting.model import (
    Arm,
    ColdArm,
    ColdProtocolName,
    Interval,
    MetricName,
    Place,
    ReportData,
    Slice,
)

_SHOWN: tuple[MetricName, ...] = ("hr@10", "ndcg@10")
_COLD: tuple[ColdProtocolName, ...] = ("cold-among-cold", "cold-among-all")
_STYLES: dict[Place, str] = {"server": "blue", "phone": "green", "none": "dim"}


def render_terminal(report: ReportData) -> Group:
    """Return what the terminal shows of a report: headline, table of arms, leak check.

    Args:
        report: what the run found.

    Returns:
        A rich renderable: `Console().print(render_terminal(report))`. Holds no item titles.
    """
    passed = report.leak_check.passed
    verdict = Text("leak check passed  " if passed else "LEAK CHECK FAILED  ")
    verdict.stylize("green" if passed else "bold red")
    verdict.append(report.leak_check.statement, style="dim")
    return Group(
        Padding(Text(report.headline, style="bold"), (1, 0)),
        _table(report),
        *(Text(line, style="dim") for line in _worst_slices(report)),
        *_new_items(report),
        Padding(verdict, (1, 0)),
        *(Text(sentence) for sentence in report.privacy),
    )


def _table(report: ReportData) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="full ranking, percent, bootstrap intervals over users; share: of the "
        "teacher's nDCG@10; worst: nDCG@10 of the worst slice",
        caption_justify="left",
        pad_edge=False,
    )
    table.add_column("arm", min_width=16)
    for name in _SHOWN:
        table.add_column(formats.metric_label(name), justify="right", no_wrap=True)
    table.add_column("worst", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("p50", justify="right", no_wrap=True)
    table.add_column("up/round", justify="right", no_wrap=True)
    for arm in report.arms:
        table.add_row(*_row(arm))
    return table


def _new_items(report: ReportData) -> list[Padding | Table | Text]:
    """The cold question: a table of its own, if it was asked."""
    if report.cold is None:
        return []
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="percent, bootstrap intervals over users; worst: nDCG@10 of the worst slice; "
        "AUC: a guess has 50",
        caption_justify="left",
        pad_edge=False,
    )
    table.add_column("asked for a new item", min_width=16)
    for among in ("new", "all"):
        for name in (f"nDCG@10, {among}", "worst", "AUC"):
            table.add_column(name, justify="right", no_wrap=True)
    for found in report.cold.arms:
        table.add_row(*_cold_row(report, found))
    asked = (
        f"{formats.count(report.cold.num_items)} items were launched after training; "
        f"{formats.count(report.cold.num_users)} users are asked for one, among the new items and "
        "among all"
    )
    return [Padding(Text(asked), (1, 0, 0, 0)), table]


def _cold_row(report: ReportData, found: ColdArm) -> list[Text]:
    arm = report.known_arm(found.key)
    cells = [Text(arm.name, style=_STYLES[arm.place])]
    for protocol in _COLD:
        cells += [
            _interval(found.metric("ndcg@10", protocol)),
            _worst(found.worst_slice(protocol)),
            _interval(found.metric("auc", protocol), bare=True),
        ]
    return cells


def _row(arm: Arm) -> list[Text]:
    share = (arm.share_of_teacher or {}).get("ndcg@10")
    return [
        Text(arm.name, style=_STYLES[arm.place]),
        _interval(arm.metric("hr@10"), bare=True),
        _interval(arm.metric("ndcg@10")),
        _worst(arm.worst_slice),
        Text(formats.MISSING if share is None else f"{formats.percent(share.mean, 0)} %"),
        Text(formats.milliseconds(arm.cost.latency_p50_ms)),
        Text(formats.size(arm.cost.bytes_up_per_device_round)),
    ]


def _worst_slices(report: ReportData) -> list[str]:
    """Which slice is the worst of which arms, a line each."""
    arms: dict[str, list[str]] = {}
    for arm in report.arms:
        if found := arm.worst_slice:
            arms.setdefault(f"{found.dimension}: {found.name}", []).append(arm.name)
    return [f"worst slice, {name}: {', '.join(of)}" for name, of in arms.items()]


def _worst(found: Slice | None) -> Text:
    if found is None or found.interval is None:
        return Text(formats.MISSING)
    return Text(formats.percent(found.interval.mean))


def _interval(interval: Interval | None, *, bare: bool = False) -> Text:
    if interval is None:
        return Text(formats.MISSING)
    text = Text(formats.percent(interval.mean), style="bold")
    if bare:  # a terminal of 80 columns has room for one interval; the report has them all
        return text
    return text.append(f" {formats.percent_range(interval):>9}", style="not bold dim")
