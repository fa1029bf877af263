"""Reading evidence: mismatch first, then the guardrails; `shipping` is what comes after them.

Family-wise: of m = guardrails x (tiers + 1) x windows, each alarms from evidence m / alpha on. Each
of them stays below alpha / m over *all* looks, so the chance of any false halt in the whole rollout
is at most alpha, however many days are looked at.
"""

from collections.abc import Sequence
from math import log

from models.statistics import always_valid, rare_events
from models.statistics.effects import Effect, Ratio, compare
from models.statistics.families import sample_ratio_p
from models.statistics.slow_requests import compare_quantiles
from server.rollout.decisions import ALL_TIERS, Finding
from server.rollout.evidence import RolloutEvidence
from server.rollout.membership import CONTROL, TREATED
from server.rollout.settings import WINDOWS, Guardrail, Metric, RolloutPlan


def mismatches(
    plan: RolloutPlan, evidence: RolloutEvidence, tiers: Sequence[str]
) -> tuple[tuple[str, float], ...]:
    """Tiers whose exposed devices are not the share of their arm, and the p-value of each.

    The threshold is that of all of them together: divided by the tiers and one.
    """
    exposed, admitted = evidence.exposed, evidence.admitted
    columns = [(ALL_TIERS, exposed.sum(axis=1), admitted.sum(axis=1))]
    columns += [(name, exposed[:, n], admitted[:, n]) for n, name in enumerate(tiers)]
    found = ((name, sample_ratio_p(used, could)) for name, used, could in columns)
    threshold = plan.evidence.mismatch_p / len(columns)
    return tuple((name, p) for name, p in found if p < threshold)


def findings(
    plan: RolloutPlan, evidence: RolloutEvidence, tiers: Sequence[str]
) -> tuple[Finding, ...]:
    """What every guardrail shows in every tier, the strongest evidence of harm first."""
    needed = log(len(plan.guardrails) * (len(tiers) + 1) * WINDOWS / plan.evidence.alpha)
    found = []
    for rail in plan.guardrails:
        for tier, name in enumerate((*tiers, ALL_TIERS)):
            place = None if name == ALL_TIERS else tier
            read = _read_event if rail.kind == "event" else _read_number
            seen = read(plan, rail, evidence, place)
            if seen is not None:
                control, treated, devices, strength = seen
                found.append(
                    Finding(
                        guardrail=rail.name,
                        tier=name,
                        control=control,
                        treated=treated,
                        devices=devices,
                        log_evidence=strength,
                        log_needed=needed,
                    )
                )
    return tuple(sorted(found, key=lambda each: -each.log_evidence))


def _read_number(
    plan: RolloutPlan, rail: Guardrail, evidence: RolloutEvidence, tier: int | None
) -> tuple[float, float, int, float] | None:
    """A ratio or a percentile: control, treated, devices, evidence of harm."""
    if rail.kind == "p95":
        times = evidence.times.pooled(1) if tier is None else evidence.times[:, tier]
        effect = compare_quantiles(times[CONTROL], times[TREATED], 0.95, rail.factor)
        spread = rail.spread
    else:
        effect = compared(rail, evidence, tier)
        spread = rail.spread * abs(effect.control) if effect else 0.0
    if effect is None or effect.devices < plan.evidence.min_devices or spread <= 0:
        return None
    harm = effect.estimate if rail.worse == "higher" else -effect.estimate
    strength = always_valid.log_evidence(harm, effect.standard_error, spread)
    return effect.control, effect.treated, effect.devices, strength


def _read_event(
    plan: RolloutPlan, rail: Guardrail, evidence: RolloutEvidence, tier: int | None
) -> tuple[float, float, int, float] | None:
    """A rare event: shares of devices so far, devices, evidence of harm."""
    events, kind = evidence.events, evidence.events.names.index(rail.value)
    if not len(events.counts):
        return None
    counts, at_risk = (
        (each.sum(axis=2) if tier is None else each[:, :, tier])[:, :, kind]
        for each in (events.counts, events.at_risk)
    )
    exposed = evidence.exposed.sum(axis=1) if tier is None else evidence.exposed[:, tier]
    if exposed.min() < 1:
        return None
    path = rare_events.log_evidence(
        counts[:, CONTROL],
        counts[:, TREATED],
        at_risk[:, CONTROL],
        at_risk[:, TREATED],
        rail.factor,
    )
    shares = counts.sum(axis=0) / exposed
    return float(shares[CONTROL]), float(shares[TREATED]), int(exposed.min()), float(path[-1])


def compared(metric: Metric, evidence: RolloutEvidence, tier: int | None) -> Effect | None:
    """Compare a metric of the two arms in one tier, or in all; None: there is nothing."""
    rows = evidence.rows.pooled(1) if tier is None else evidence.rows[:, tier]
    before = Ratio(metric.before, metric.before_per or None) if metric.before else None
    return compare(
        rows[CONTROL],
        rows[TREATED],
        Ratio(metric.value, metric.per or None),
        before=before,
        factor=metric.factor,
    )
