"""One sentence per plot, computed from the numbers, so that no conclusion outlives its data.

Each function takes what the plot shows and returns plain text, or "" when there is nothing to
read. A sentence says "above" or "below" only where two intervals do not touch; otherwise it says
that the run cannot tell.
"""

from collections.abc import Sequence
from itertools import combinations

from simulation.reporting import formats
from simulation.reporting.figures import byte_parts, points_by_arm, primary_metric
from simulation.reporting.model import (
    PRIMARY_METRIC,
    ColdProtocolName,
    Compression,
    Contrast,
    Interval,
    LatencyRow,
    MetricName,
    ReportData,
    Tier,
    UserExample,
)

GUESS_AUC = 0.5


def quality(report: ReportData, metric: MetricName) -> str:
    """Say which arm leads under full ranking and where the phone stands against the teacher."""
    found = [(arm, arm.metric(metric)) for arm in report.arms]
    ranked = [(arm, interval) for arm, interval in found if interval is not None]
    if not ranked:
        return ""
    best, top = max(ranked, key=lambda pair: pair[1].mean)
    text = f"{best.name} has the highest {formats.metric_label(metric)}, {_with_range(top)} %."
    phone, teacher = report.phone, report.teacher
    if phone is None or teacher is None:
        return text
    ours, theirs = phone.metric(metric), teacher.metric(metric)
    if ours is None or theirs is None:
        return text
    standing = _paired(report, metric) or f"{_relation(ours, theirs)} {teacher.name}"
    return f"{text} {phone.name} reaches {_with_range(ours)} %, {standing}."


def _with_range(interval: Interval) -> str:
    return f"{formats.percent(interval.mean)} ({formats.percent_range(interval)})"


def _paired(report: ReportData, metric: MetricName) -> str:
    """Compare phone and teacher by the paired bootstrap; "" when the run has none for them."""
    for contrast in report.contrasts:
        if (contrast.a, contrast.b, contrast.metric) == (
            report.roles.phone,
            report.roles.teacher,
            metric,
        ):
            difference = f"{formats.points(contrast.mean)} points"
            span = formats.points_range(contrast.interval)
            verdict = "a clear difference" if contrast.is_clear else "which could be chance"
            return f"{difference} beside the server teacher, user by user ({span}), {verdict}"
    return ""


def _relation(ours: Interval, theirs: Interval) -> str:
    """Compare two intervals of the same users: weaker than the paired test, used without one."""
    if ours.overlaps(theirs):
        return "with an interval that overlaps that of"
    return "above the interval of" if ours.low > theirs.high else "below the interval of"


def sampled(report: ReportData, metric: MetricName) -> str:
    """Say how much higher 99 sampled negatives make every arm look, and whether order changes."""
    both = [
        (full.mean, easy.mean)
        for arm in report.arms
        if (full := arm.metric(metric)) and (easy := arm.metric(metric, "sampled-99"))
    ]
    ratios = [easy / full for full, easy in both if full > 0]
    if len(ratios) < 2:
        return ""
    pairs = [*combinations(both, 2)]
    swapped = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in pairs)
    return (
        f"The same recommendations score {min(ratios):.1f} to {max(ratios):.1f} times as high "
        f"against 99 sampled items, and {swapped} of {len(pairs)} pairs of arms change order: "
        "use these numbers only beside papers that sample."
    )


def contrasts(found: Sequence[Contrast]) -> str:
    """Say how many differences are beyond chance, all of them looked at together."""
    if not found:
        return ""
    clear = sum(contrast.is_clear for contrast in found)
    if all(contrast.p_holm is None for contrast in found):  # a report of an older version
        return (
            f"{clear} of {len(found)} differences have an interval without zero (filled dots); "
            "the others (rings) could be chance."
        )
    return (
        f"{clear} of {len(found)} differences are clear (filled dots), corrected for how many "
        "there are by Holm's method; the others (rings) could be chance, even where one interval "
        "by itself leaves zero out."
    )


def learning(report: ReportData) -> str:
    """Say from where to where the phone's arm learned, and how it ends beside the teacher."""
    curves = points_by_arm(report, primary_metric)
    if not curves:
        return ""
    key, points = next(iter(curves.items()))
    (first_round, first), (last_round, last) = points[0], points[-1]
    best_round, _ = max(points, key=lambda point: point[1])
    text = (
        f"{report.known_arm(key).name} goes from {formats.percent(first)} in round {first_round} "
        f"to {formats.percent(last)} in round {last_round}; its best round is {best_round}."
    )
    teacher = report.teacher.metric(PRIMARY_METRIC) if report.teacher else None
    return f"{text} It ends {_beside(last, teacher)} (shaded)." if teacher else text


def _beside(value: float, band: Interval) -> str:
    if value > band.high:
        return "above the server teacher's interval"
    return (
        "within the server teacher's interval"
        if value >= band.low
        else (f"{formats.percent(band.low - value)} points below the server teacher's interval")
    )


def loss(report: ReportData) -> str:
    """Say from where to where the training loss of the phone's arm went."""
    curves = points_by_arm(report, lambda round_: round_.loss)
    if not curves:
        return ""
    key, points = next(iter(curves.items()))
    (first_round, first), (last_round, last) = points[0], points[-1]
    verb = "falls" if last < first else "does not fall"
    return (
        f"The loss of {report.known_arm(key).name} {verb}: {first:.3g} in round {first_round}, "
        f"{last:.3g} in round {last_round}."
    )


def bundle_bytes(compression: Compression) -> str:
    """Say how full the budget is and which part takes most of the bundle."""
    used, budget = compression.bundle_bytes, compression.budget_bytes
    free = budget - used
    room = f"{formats.size(free)} free" if free >= 0 else f"{formats.size(-free)} too many"
    text = (
        f"The bundle takes {formats.count(used)} of {formats.count(budget)} bytes "
        f"({formats.percent(used / budget)} %, {room})."
    )
    if not compression.byte_table:
        return text
    largest = byte_parts(compression)[0]
    share = formats.percent(largest.num_bytes / used, 0)
    return f"{text} Its largest part, {largest.part}, is {share} % of it."


def latency(rows: Sequence[LatencyRow]) -> str:
    """Say what is quickest, what is slowest, and by how much."""
    if len(rows) < 2:
        return ""
    quick = min(rows, key=lambda row: row.p50_ms)
    slow = max(rows, key=lambda row: row.p50_ms)
    return (
        f"At the median, “{slow.what}” is the slowest with {formats.milliseconds(slow.p50_ms)}, "
        f"{slow.p50_ms / quick.p50_ms:,.1f} times “{quick.what}” "
        f"({formats.milliseconds(quick.p50_ms)}). Each step of the axis is ten times the last."
    )


def cost(report: ReportData) -> str:
    """Say what the phone's arm sends and receives in all rounds together."""
    phone = report.phone
    if phone is None:
        return ""
    up, down = phone.cost.bytes_up_per_device_round, phone.cost.bytes_down_per_device_round
    rounds = phone.cost.rounds
    if up is None or down is None or rounds is None:
        return ""
    return (
        f"A device that takes part in all {rounds} rounds of {phone.name} sends "
        f"{formats.size(up * rounds)} and receives {formats.size(down * rounds)}."
    )


def tiers(found: Sequence[Tier]) -> str:
    """Say how many devices can serve, and whether tiers differ in quality."""
    if not found:
        return ""
    able = [tier for tier in found if tier.can_serve]
    devices = sum(tier.num_devices for tier in able)
    total = sum(tier.num_devices for tier in found)
    text = (
        f"{formats.count(devices)} of {formats.count(total)} devices, in {len(able)} of "
        f"{len(found)} tiers, can serve on the device."
    )
    measured = [tier for tier in found if PRIMARY_METRIC in tier.metrics]
    if len(measured) < 2:
        return text
    return f"{text} {_tier_spread(measured)}"


def _tier_spread(measured: Sequence[Tier]) -> str:
    low = min(measured, key=lambda tier: tier.metrics[PRIMARY_METRIC].mean)
    high = max(measured, key=lambda tier: tier.metrics[PRIMARY_METRIC].mean)
    bottom, top = low.metrics[PRIMARY_METRIC], high.metrics[PRIMARY_METRIC]
    verdict = (
        "their intervals overlap, so this run shows no difference between tiers"
        if bottom.overlaps(top)
        else "their intervals do not overlap"
    )
    return (
        f"{formats.metric_label(PRIMARY_METRIC)} runs from {formats.percent(bottom.mean)} "
        f"({low.tier}) to {formats.percent(top.mean)} ({high.tier}); {verdict}."
    )


def slices(report: ReportData) -> str:
    """Say which users the phone's arm serves worst, and whether they are worse off than most."""
    phone = report.phone
    mean = phone.metric(PRIMARY_METRIC) if phone else None
    worst = phone.worst_slice if phone else None
    if phone is None or mean is None or worst is None or worst.interval is None:
        return ""
    verdict = (
        "its interval, which holds for all slices together, lies below the mean of all users"
        if worst.interval.high < mean.mean
        else "its interval, which holds for all slices together, reaches the mean of all users, so "
        "this run cannot tell that they are worse off"
    )
    return (
        f"{phone.name} serves “{worst.dimension}: {worst.name}” worst: "
        f"{formats.metric_label(PRIMARY_METRIC)} {_with_range(worst.interval)} for "
        f"{formats.count(worst.num_users)} users, beside {formats.percent(mean.mean)} for all; "
        f"{verdict}."
    )


def cold(report: ReportData, protocol: ColdProtocolName) -> str:
    """Say which arm finds new items best, and whether the phone's arm does better than a guess."""
    if report.cold is None:
        return ""
    arms = {arm.key: arm for arm in report.cold.arms}
    found = {key: arm.metric(PRIMARY_METRIC, protocol) for key, arm in arms.items()}
    ranked = {key: interval for key, interval in found.items() if interval is not None}
    if not ranked:
        return ""
    best = max(ranked, key=lambda key: ranked[key].mean)
    label = formats.metric_label(PRIMARY_METRIC)
    said = [
        f"{report.known_arm(best).name} has the highest {label}, {_with_range(ranked[best])} %."
    ]
    phone, teacher = report.phone, report.teacher
    if phone is None or phone.key not in ranked:
        return said[0]
    if phone.key != best:
        told = f"{phone.name} reaches {_with_range(ranked[phone.key])} %"
        if teacher and teacher.key in ranked:
            told += f", {_relation(ranked[phone.key], ranked[teacher.key])} {teacher.name}"
        said.append(f"{told}.")
    auc = arms[phone.key].metric("auc", protocol)
    if auc is not None:
        said.append(f"The AUC of {phone.name} is {_with_range(auc)} %, {_beside_a_guess(auc)}.")
    return " ".join(said)


def _beside_a_guess(auc: Interval) -> str:
    """Compare an AUC with that of a guess among all competitors, 1/2."""
    if auc.low <= GUESS_AUC <= auc.high:
        return "which cannot be told from the 50 % of a guess"
    return f"{'above' if auc.low > GUESS_AUC else 'below'} the 50 % of a guess"


def examples(users: Sequence[UserExample]) -> str:
    """Say how alike the two lists are and how often each holds the held-out item."""
    if not users:
        return ""
    shared = sum(len(set(user.server) & set(user.phone)) for user in users) / len(users)
    server = sum(user.held_out in user.server for user in users)
    phone = sum(user.held_out in user.phone for user in users)
    return (
        f"The two lists share {shared:.1f} titles on average. The held-out title is in the server "
        f"teacher's list for {server} of {len(users)} users and in the phone's for {phone}; so few "
        "users show what the lists look like, not which is better."
    )
