"""What a request costs a phone and what leaves it, in words; each figure says where it is from."""

from simulation.reporting import formats
from simulation.reporting.model import ReportData
from simulation.studio.phone_ledger import Ledger
from simulation.studio.phone_model import Figure, RoundMark, Sent
from simulation.studio.phone_package import Served
from simulation.world.costs import computing_cost, request_cost
from simulation.world.devices import Tier, WorldSettings


def serving_figures(
    served: Served, report: ReportData, world: WorldSettings, tier: Tier
) -> tuple[Figure, ...]:
    """What one recommendation takes: timed here, timed by the run, modelled for the tier.

    The model is the run's own median, slowed to the tier; without one, what the world assumes.
    """
    cost = report.phone.cost if report.phone else None
    median, slow = (cost.latency_p50_ms, cost.latency_p95_ms) if cost else (None, None)
    on_tier = request_cost(world, tier) if median is None else computing_cost(median / 1e3, tier)
    return (
        Figure(
            what="This request",
            amount=formats.duration(served.seconds),
            origin="measured",
            note=f"just now, on the machine of this page; private texts encoded: "
            f"{served.num_encoded}",
        ),
        Figure(
            what="A request, median",
            amount=formats.milliseconds(median),
            origin="measured",
            note=f"by the run, on its machine, one text encoded; p95 {formats.milliseconds(slow)}",
        ),
        Figure(
            what="A request on this tier",
            amount=f"{formats.duration(on_tier.seconds)}, {formats.energy(on_tier.joules)}",
            origin="modelled",
            note=f"the median at {tier.speed:g} of that machine’s speed, and {tier.active_w:g} W",
        ),
        Figure(
            what="Installed",
            amount=formats.size(cost.device_package_bytes if cost else None),
            origin="counted",
            note="encoder, recommender, cached item vectors",
        ),
    )


def sent_figures(
    ledger: Ledger,
    rounds: tuple[RoundMark, ...],
    *,
    num_events: int,
    num_texts: int,
    taste_size: int,
    opted_in: bool,
    is_judged: bool,
) -> tuple[Sent, ...]:
    """What could have left a phone for its recommendations, and what did.

    Args:
        ledger: of the run.
        rounds: that drew the phone.
        num_events: training events of its user.
        num_texts: private texts among them.
        taste_size: numbers of the personal vector.
        opted_in: whether its history trained the start of the federated model.
        is_judged: whether it has a held-out item.
    """
    taken = sum(mark.outcome == "reported" for mark in rounds)
    sent, each = ledger.updates_sent(rounds), ledger.bytes_up
    late = f"; {sent - taken} came too late and were not used" if sent > taken else ""
    return (
        Sent(
            what="Events",
            amount=f"{formats.count(num_events if opted_in else 0)} of {formats.count(num_events)}",
            left=opted_in,
            note="this user opted in: the history trained the start of the federated model"
            if opted_in
            else "the history stays on the phone",
        ),
        Sent(
            what="Private texts",
            amount=f"0 of {formats.count(num_texts)}",
            left=False,
            note="encoded and read on the phone alone",
        ),
        Sent(
            what="Personal vector",
            amount=f"0 of {formats.count(taste_size)} numbers",
            left=False,
            note="no message has a place for it",
        ),
        Sent(
            what="Requests",
            amount="0 B",
            left=False,
            note="the phone makes its list by itself",
        ),
        Sent(
            what="Updates",
            amount=formats.size(sent * each),
            left=sent > 0,
            note=f"{sent} × {formats.size(each)}; {taken} added up with others of the round{late}"
            if sent
            else "none was sent",
        ),
        Sent(
            what="Ranking metrics",
            amount="in sums" if is_judged else "none",
            left=is_judged,
            note="where the held-out item stands, added up over phones"
            if is_judged
            else "nothing is held out",
        ),
    )
