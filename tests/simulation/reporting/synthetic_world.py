"""A made-up world as its page meets it; every number is invented."""

from datetime import UTC, datetime

from simulation.reporting.world_model import (
    ActionRow,
    Aspect,
    Curve,
    Fidelity,
    TierRow,
    TransferRow,
    Week,
    WorldReport,
    Zone,
)

TIERS = ("small", "large")
ACTIONS = (
    ("encode a text", 0.004, 0.008),
    ("a request: both", 0.005, 0.01),
    ("train one step", 0.05, 0.1),
    ("download parameters", 1.0, 0.3),
    ("upload an update", 2.0, 0.3),
    ("a round: all three", 3.05, 0.7),
)


def tier_row(tier: str, **changes: object) -> TierRow:
    row = TierRow(
        tier=tier,
        num_devices=600,
        speed=0.1,
        cores=4,
        memory_mb=40,
        can_serve=True,
        battery_wh=10,
        active_w=2,
        down_mbit_per_s=5,
        up_mbit_per_s=1,
        round_trip_ms=80,
        loss=0.01,
        most_mbit_per_s=1.8,
        dropout=0.1,
        events_median=12,
        events_90=40,
        events_most=300,
    )
    return row.model_copy(update=changes)


def aspect(name: str, matched: float, halves: float, higher_is_closer: bool = False) -> Aspect:
    return Aspect(
        name=name,
        measure="made up",
        whole=matched / 2,
        matched=matched,
        halves=halves,
        higher_is_closer=higher_is_closer,
    )


def curves(*labels: str) -> tuple[Curve, ...]:
    return tuple(
        Curve(label=label, points=((1.0, 0.0), (10.0, 0.4 + index / 10), (200.0, 1.0)))
        for index, label in enumerate(labels)
    )


def synthetic_fidelity() -> Fidelity:
    pair = curves("real users", "synthetic devices")
    return Fidelity(
        num_users=90,
        num_devices=800,
        half_size=45,
        num_splits=10,
        aspects=(
            aspect("history length", 0.05, 0.05),
            aspect("variety", 0.12, 0.06),
            aspect("co-occurrence", 0.85, 0.9, higher_is_closer=True),
        ),
        gini_real=0.63,
        gini_synthetic=0.61,
        lengths=pair,
        popularity=pair,
        entropies=pair,
        lifts=curves("as in the first half", "the other half", "as many synthetic devices"),
        hours=pair,
        not_captured=("The order of events.",),
    )


def synthetic_week() -> Week:
    night = tuple(0.4 if hour % 24 < 6 else 0.1 for hour in range(168))
    return Week(
        num_asked=1_000,
        charging=night,
        idle=night,
        unmetered=night,
        available=night,
        zones=(
            Zone(offset_h=-5, share=0.7, available=night),
            Zone(offset_h=5.5, share=0.3, available=night),
        ),
        best_hour=0.4,
        worst_hour=0.1,
    )


def synthetic_world(**changes: object) -> WorldReport:
    factors = {"small": 1.0, "large": 0.1}
    report = WorldReport(
        title="The world of made-up",
        created=datetime(2026, 3, 1, 9, 5, tzinfo=UTC),
        command="pocketfleet world build --devices 1200",
        seed=3,
        commit="0123456789ab",
        kind="synthetic",
        source="nowhere",
        num_devices=1_200,
        num_items=60,
        num_bytes=12_000,
        serving_mb=30,
        serving_note="invented",
        package_bytes=4_000_000,
        package_note="invented too",
        update_bytes=300_000,
        tiers=tuple(map(tier_row, TIERS)),
        activity=curves("devices"),
        week=synthetic_week(),
        transfers=tuple(
            TransferRow(
                what=what,
                tier=tier,
                num_bytes=num_bytes,
                median_s=2 * factors[tier],
                slow_s=5 * factors[tier],
            )
            for what, num_bytes in (("package, down", 4_000_000), ("update, up", 300_000))
            for tier in TIERS
        ),
        actions=tuple(
            ActionRow(
                action=action,
                tier=tier,
                seconds=seconds * factors[tier],
                joules=joules,
                battery_share=joules / 36_000,
            )
            for action, seconds, joules in ACTIONS
            for tier in TIERS
        ),
        fidelity=synthetic_fidelity(),
        fidelity_note="",
        sources=(("Speeds", "invented"),),
    )
    return report.model_copy(update=changes)
