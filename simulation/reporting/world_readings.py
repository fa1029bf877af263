"""One sentence per plot of a world, computed from the numbers."""

from simulation.reporting import formats
from simulation.reporting.world_figures import round_parts
from simulation.reporting.world_model import Aspect, Fidelity, Week, WorldReport

WITHIN_NOISE = 1.1
"""Times the noise up to which two samples count as equally far apart: the means of ten splits of
the same users stray by about a tenth."""


def population(report: WorldReport) -> str:
    """Say who the devices belong to, and what they take on disk."""
    kind = (
        f"synthetic devices, fitted on the users of {report.source}"
        if report.kind == "synthetic"
        else f"devices, one for each user of {report.source}"
    )
    return (
        f"{formats.count(report.num_devices)} {kind}, with a catalogue of "
        f"{formats.count(report.num_items)} items, in {formats.size(report.num_bytes)}: "
        f"{report.num_bytes / report.num_devices:,.1f} bytes a device."
    )


def serving(report: WorldReport) -> str:
    """Say which tiers hold the package in memory."""
    able = [tier for tier in report.tiers if tier.can_serve]
    devices = sum(tier.num_devices for tier in able)
    unable = [tier.tier for tier in report.tiers if not tier.can_serve]
    cannot = f" Not the tiers {', '.join(unable)}: their memory is too small." if unable else ""
    return (
        f"Loading the package and serving takes {report.serving_mb:.0f} MB of memory "
        f"({report.serving_note}), which {formats.percent(devices / report.num_devices)} % of the "
        f"devices have.{cannot}"
    )


def availability(week: Week) -> str:
    """Say how many are there at the best and at the worst hour."""
    best, worst = week.best_hour, week.worst_hour
    factor = f": a factor of {best / worst:.1f}" if worst > 0 else ""
    return (
        f"At the best hour of a day {formats.percent(best)} % of the devices are available, at the "
        f"worst {formats.percent(worst)} %{factor}. Asked of {formats.count(week.num_asked)} "
        "devices at every hour of a week; habits do not depend on the tier."
    )


def zones(week: Week) -> str:
    """Say why the zones are told apart."""
    if len(week.zones) < 2:
        return "All devices live in one time zone."
    low, high = (pick(zone.offset_h for zone in week.zones) for pick in (min, max))
    return (
        f"{high - low:g} hours lie between the first and the last of {len(week.zones)} time zones: "
        "the night of the fleet is longer than that of a phone, and not as dark."
    )


def network(report: WorldReport) -> str:
    """Say how long the slowest and the quickest tier wait for the package."""
    rows = [row for row in report.transfers if row.what.startswith("package")]
    slow, quick = max(rows, key=lambda r: r.median_s), min(rows, key=lambda r: r.median_s)
    return (
        f"The package of {formats.size(report.package_bytes)} ({report.package_note}) is on half "
        f"of the {slow.tier} phones after {formats.duration(slow.median_s)} and on 90 % of them "
        f"after {formats.duration(slow.slow_s)}; {quick.tier} phones have it in "
        f"{formats.duration(quick.median_s)}. Dots are medians, whiskers end at 90 %."
    )


def errands(report: WorldReport) -> str:
    """Say what a round and a request ask of the tier that they cost most."""
    rounds = [row for row in report.actions if row.action.startswith("a round")]
    requests = [row for row in report.actions if row.action.startswith("a request")]
    if not rounds or not requests:
        return ""
    dear, slow = max(rounds, key=lambda r: r.battery_share), max(requests, key=lambda r: r.seconds)
    _, training, _ = round_parts(report, dear.tier)
    return (
        f"A round takes a {dear.tier} phone {formats.duration(dear.seconds)} and "
        f"{formats.energy(dear.joules)}, {bought(dear.battery_share)} of its battery; training is "
        f"{formats.percent(training / dear.seconds)} % of that time, the rest is the network. A "
        f"request takes a {slow.tier} phone {formats.duration(slow.seconds)} and "
        f"{formats.energy(slow.joules)}."
    )


def bought(share: float) -> str:
    """Return a small share as one part of many.

    >>> bought(0.0000251), bought(0.02), bought(0.0)
    ('one 40,000th', '2 %', 'nothing')
    """
    if share <= 0:
        return "nothing"
    return f"one {round(1 / share, -3):,.0f}th" if share < 1e-4 else f"{100 * share:.2g} %"


def noise_ratio(aspect: Aspect) -> float | None:
    """How far the devices are from the users, in units of how far half of the users is from half.

    1 is as close as can be seen with so many users. None where the halves do not differ.
    """
    matched, halves = aspect.matched, aspect.halves
    if aspect.higher_is_closer:
        matched, halves = 1.0 - matched, 1.0 - halves
    return matched / halves if halves > 1e-9 else None


def verdict(aspect: Aspect) -> str:
    """Say whether the devices can be told from the users in this aspect."""
    ratio = noise_ratio(aspect)
    if ratio is None:
        return formats.MISSING
    return "within noise" if ratio <= WITHIN_NOISE else f"{ratio:.1f} times the noise"


def fidelity(found: Fidelity) -> str:
    """Say in how many aspects the devices are as close as the users are to themselves."""
    judged = [(aspect, noise_ratio(aspect)) for aspect in found.aspects]
    known = [(aspect, ratio) for aspect, ratio in judged if ratio is not None]
    if not known:
        return ""
    close = [aspect for aspect, ratio in known if ratio <= WITHIN_NOISE]
    text = (
        f"In {len(close)} of {len(known)} aspects {found.half_size} synthetic devices are as close "
        f"to half of the users as the other half is."
    )
    worst, ratio = max(known, key=lambda pair: pair[1])
    if ratio <= WITHIN_NOISE:
        return text
    return f"{text} Furthest off is {worst.name}, {ratio:.1f} times as far as noise."


def popularity(found: Fidelity) -> str:
    """Compare how unequal items are."""
    return (
        f"Gini coefficient of item popularity: {found.gini_real:.3f} among real users, "
        f"{found.gini_synthetic:.3f} among synthetic devices."
    )
