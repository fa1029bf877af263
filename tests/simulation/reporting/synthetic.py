"""A made-up report: every number and title here is invented, none was measured.

It has the shape of a whole quickstart, so that plots, tables and sentences meet realistic sizes.
"""

from datetime import UTC, datetime

import numpy as np

from simulation.reporting.model import (
    METRICS,
    Arm,
    BytePart,
    ColdArm,
    ColdProtocolName,
    ColdQuestion,
    Compression,
    Contrast,
    Cost,
    DataSummary,
    Interval,
    LatencyRow,
    LeakCheck,
    MetricName,
    Place,
    PrivateText,
    ProtocolName,
    ReportData,
    Roles,
    Round,
    Slice,
    Stage,
    Tier,
    UserExample,
)

PARTS = {
    "word embeddings (int8)": 1_113_600,
    "transformer layers (int8)": 398_700,
    "vocabulary": 214_300,
    "graph structure": 92_800,
    "projection": 49_300,
    "tokenizer settings": 1_900,
    "manifest": 1_400,
}
BUDGET = 1_910_000
WORDS = (
    "Paper Lighthouse, The|Quiet Orchard|Midnight in Tartu|Seven Left Gloves|Glass Harbour|"
    "Return of the Accountant|Long Way to Pärnu, A|Copper Sky|Letters from the Attic (Kirjad)|"
    "Umbrella Thieves|Winter Arithmetic|Last Tram to Kadriorg, The|Salt and Thunder|"
    "My Neighbour the Comet|Incomprehensibilities of a Small-Town Photographer|Blue Ledger"
)
TITLES = [f"{name} ({1971 + index})" for index, name in enumerate(WORDS.split("|"))]

ARMS: tuple[tuple[str, str, Place, float, bool], ...] = (
    ("random", "Random", "none", 0.006, False),
    ("popularity", "Popularity", "none", 0.0795, False),
    ("item-knn", "Item-kNN", "server", 0.109, False),
    ("ease", "EASE", "server", 0.146, False),
    ("server-teacher", "Server teacher", "server", 0.149, False),
    ("central-ei-bert", "Central on EI-BERT vectors", "server", 0.141, False),
    ("static", "On-device static", "phone", 0.092, False),
    ("federated", "On-device federated", "phone", 0.127, True),
    ("federated-no-text", "On-device federated, no private text", "phone", 0.121, True),
)
SHARE_OF_HR10: dict[MetricName, float] = {
    "ndcg@10": 0.5,
    "hr@10": 1.0,
    "ndcg@5": 0.38,
    "hr@5": 0.55,
    "mrr": 0.46,
    "auc": 1.0,
}


def synthetic_report() -> ReportData:
    """Return a whole report with invented numbers."""
    arms = tuple(_arm(*arm) for arm in ARMS)
    return ReportData(
        title="Recommending on the phone, measured against the server",
        headline="Invented numbers, for tests: the phone keeps 85 % of the server teacher's "
        "nDCG@10 with a text encoder of 1.87 MB, and sends 21 kB a round instead of its history.",
        created=datetime(2026, 3, 1, 9, 5, tzinfo=UTC),
        command="pocketfleet quickstart --seed 7",
        seed=7,
        commit="0123abc",
        versions={"torch": "2.13.0", "onnxruntime": "1.24.0", "python": "3.12.1"},
        settings={
            "student": {"hidden_size": 128, "num_layers": 4, "learning_rate": 0.0005},
            "federation": {"rounds": 30, "server": "fedadam", "tau": 0.001, "tiers": ["a", "b"]},
            "threads": None,
        },
        data=_data(),
        roles=Roles(teacher="server-teacher", phone="federated", static="static"),
        arms=arms,
        cold=_cold(),
        contrasts=_contrasts(),
        rounds=_rounds(),
        compression=_compression(),
        latency=_latency(),
        tiers=_tiers(),
        recommendations=tuple(_user(index) for index in range(12)),
        leak_check=LeakCheck(
            passed=True,
            num_devices=943,
            statement="Every held-out item could have been drawn as a negative on its device.",
        ),
        limits=(
            "The private texts are synthetic: made from words of items the user chose before.",
            "Latency was taken on a computer, not on a phone.",
            "One data set, one seed: the intervals are over users, not over training runs.",
        ),
    )


def bare_report() -> ReportData:
    """Return the smallest report: one arm, and nothing optional."""
    empty = {"contrasts": (), "rounds": (), "latency": (), "tiers": (), "recommendations": ()}
    random = synthetic_report().arms[0]
    roles = Roles(teacher=None, phone=None, static=None)
    changes = {"arms": (random,), "cold": None, "roles": roles, "compression": None, "limits": ()}
    return synthetic_report().model_copy(update=changes | empty)


def _interval(mean: float, half: float) -> Interval:
    return Interval(mean=mean, low=max(mean - half, 0.0), high=min(mean + half, 1.0))


def _metrics(hr10: float, protocol: ProtocolName) -> dict[MetricName, Interval]:
    lift = 1.0 if protocol == "full" else 4.1 - 6 * hr10
    means = {name: hr10 * share * lift for name, share in SHARE_OF_HR10.items()}
    means["auc"] = 0.5 + 2.6 * hr10
    return {name: _interval(means[name], 0.02 * means[name] ** 0.5 + 0.001) for name in METRICS}


def _arm(key: str, name: str, place: Place, hr10: float, learns: bool) -> Arm:
    on_phone = place == "phone"
    share = hr10 / 0.149
    return Arm(
        key=key,
        name=name,
        place=place,
        description=f"{name}: an invented arm that stands where a real one would.",
        metrics={"full": _metrics(hr10, "full"), "sampled-99": _metrics(hr10, "sampled-99")},
        share_of_teacher={m: _interval(share, 0.12) for m in METRICS} if key != "random" else None,
        cost=Cost(
            latency_p50_ms=3.14 if on_phone else None,
            latency_p95_ms=5.02 if on_phone else None,
            encoder_bundle_bytes=sum(PARTS.values()) if on_phone else None,
            device_package_bytes=2_941_377 if on_phone else None,
            bytes_down_per_device_round=88_212.0 if learns else None,
            bytes_up_per_device_round=21_408.0 if learns else None,
            rounds=30 if learns else None,
        ),
        left_device=_left_device(place, learns),
        slices=_slices(share * 0.0745),
    )


def _slices(ndcg: float) -> tuple[Slice, ...]:
    rows = (("tier", "low", 283, 0.9), ("activity", "10-20 events", 236, 0.6),
            ("held-out item", "cold", 9, None), ("held-out item", "warm", 934, 1.0))  # fmt: skip
    return tuple(
        Slice(
            dimension=dimension,
            name=name,
            num_users=num_users,
            interval=None if part is None else _interval(part * ndcg, 0.5 / num_users**0.5),
        )
        for dimension, name, num_users, part in rows
    )


def _cold() -> ColdQuestion:
    """Arms that read text find new items; the others guess. Hardly any comes through among all."""

    def arm(key: str, hr10: float) -> ColdArm:
        reads = key not in ("random", "popularity", "item-knn", "ease")
        cold = 0.2 * hr10 / 0.149 if reads else 0.04
        means: dict[ColdProtocolName, float] = {
            "cold-among-cold": cold,
            "cold-among-all": 0.004 if reads else 0.0,
        }
        metrics = {protocol: _metrics(mean, "full") for protocol, mean in means.items()}
        for protocol in means:
            metrics[protocol]["auc"] = _interval(0.76 if reads else 0.5, 0.01)
        slices = {protocol: _slices(mean)[:2] for protocol, mean in means.items()}
        return ColdArm(key=key, metrics=metrics, slices=slices)

    arms = tuple(arm(key, hr10) for key, _, _, hr10, _ in ARMS)
    return ColdQuestion(num_users=937, num_items=252, arms=arms)


def _left_device(place: Place, learns: bool) -> tuple[str, ...]:
    if learns:
        return ("a clipped update of the shared recommender", "sums of metrics")
    return ("the whole history", "private texts") if place == "server" else ()


def _data() -> DataSummary:
    return DataSummary(
        name="Synthetic-100K",
        num_users=943,
        num_items=1682,
        num_events=100_000,
        split_rule="Leave-last-out per user, ordered by time, then by file row.",
        tied_users=415,
        intake={"rows read": 100_000, "duplicate rows": 0, "unknown items": 3, "empty texts": 12},
        licence="made up for tests, free to use",
        citation="Nobody. A data set that does not exist. https://example.org/none",
        private_text=PrivateText(
            synthetic=True,
            num_texts=88_431,
            rule="Words of items the user chose before, with noise, never of the held-out item.",
            examples=("something like copper sky but funny", "winter trains, no war"),
        ),
    )


def _contrasts() -> tuple[Contrast, ...]:
    return (
        Contrast(
            a="federated",
            b="static",
            metric="ndcg@10",
            mean=0.0175,
            low=0.0102,
            high=0.0251,
            reading="Learning on devices helps.",
        ),
        Contrast(
            a="federated",
            b="server-teacher",
            metric="ndcg@10",
            mean=-0.011,
            low=-0.0192,
            high=-0.0031,
            reading="The server is still better.",
        ),
        Contrast(
            a="federated",
            b="federated-no-text",
            metric="ndcg@10",
            mean=0.003,
            low=-0.0024,
            high=0.0081,
            reading="Private text makes no difference that this run can show.",
        ),
    )


def _rounds() -> tuple[Round, ...]:
    wobble = np.random.default_rng(0).normal(0, 0.0009, size=(2, 31))
    return tuple(
        Round(
            arm=arm,
            round_number=number,
            loss=None if number == 0 else 0.69 - 0.16 * (1 - 0.9**number),
            metrics={"ndcg@10": 0.046 + top * (1 - 0.88**number) + wobble[row, number]}
            if number % 2 == 0
            else {},
            num_devices=64 if number else 0,
            bytes_up=64 * 21_408 if number else 0,
            bytes_down=64 * 88_212 if number else 0,
            seconds=1.27,
        )
        for row, (arm, top) in enumerate((("federated", 0.018), ("federated-no-text", 0.0147)))
        for number in range(31)
    )


def _compression() -> Compression:
    return Compression(
        stages=(
            Stage(stage="text teacher", seconds=21.4, figures={"texts": 5682, "vector size": 384}),
            Stage(stage="pruning", seconds=9.8, figures={"tokens kept": 8700, "of": 30522}),
            Stage(stage="distillation", seconds=141.0, figures={"steps": 1200, "cosine": 0.9134}),
            Stage(stage="quantization", seconds=3.2, figures={"bits": 8}),
            Stage(stage="export", seconds=6.6, figures={"opset": 18}),
        ),
        byte_table=tuple(BytePart(part=name, num_bytes=num) for name, num in PARTS.items()),
        budget_bytes=BUDGET,
        bundle_bytes=sum(PARTS.values()),
        parity={"largest difference": 0.0031, "same top 10": 0.987},
    )


def _latency() -> tuple[LatencyRow, ...]:
    rows = (
        ("encode a short query", 8, 1.21, 1.9, ""),
        ("encode a long item text", 64, 6.4, 9.8, ""),
        ("rank all items", None, 0.21, 0.33, "vectors are cached"),
        ("text teacher, short query", 8, 14.2, 19.5, "float32 in torch, for comparison"),
    )
    return tuple(
        LatencyRow(what=what, tokens=tokens, p50_ms=p50, p95_ms=p95, note=note)
        for what, tokens, p50, p95, note in rows
    )


def _tiers() -> tuple[Tier, ...]:
    rows = (
        ("low", 283, 0.059, True, ""),
        ("mid", 424, 0.064, True, ""),
        ("high", 189, 0.066, True, ""),
        ("too old", 47, 0.061, False, "falls back on popularity"),
    )
    return tuple(
        Tier(
            tier=tier,
            num_devices=num,
            metrics={
                "ndcg@10": _interval(mean, 0.25 / num**0.5),
                "hr@10": _interval(2 * mean, 0.5 / num**0.5),
            },
            can_serve=can_serve,
            note=note,
        )
        for tier, num, mean, can_serve, note in rows
    )


def _user(index: int) -> UserExample:
    order = np.random.default_rng(index).permutation(len(TITLES))
    titles = [TITLES[i] for i in order]
    return UserExample(
        user=str(101 + 7 * index),
        tier=("low", "mid", "high")[index % 3],
        history=tuple(titles[10:15]),
        private_text="" if index % 4 == 3 else f"like {titles[11].lower()} but shorter",
        held_out=titles[index % 13],
        server=tuple(titles[:10]),
        phone=tuple(titles[i] for i in (1, 0, 3, 12, 2, 13, 5, 14, 8, 15)),
    )
