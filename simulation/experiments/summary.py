"""From what a comparison found to what the report says: intervals, shares, costs.

Every sentence with a number in it is built from that number here; none is written beforehand.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models import intervals
from models.evaluation.slices import slice_means
from models.metrics import PROTOCOLS
from server.history import BYTES_PER_PARAMETER
from server.privacy.statement import PrivacyStatement
from server.settings import ServerJob
from simulation.experiments.arms import (
    CARDS,
    CENTRAL,
    FEDERATED,
    FEDERATED_BLIND,
    STATIC,
    TEACHER,
    ArmCard,
)
from simulation.experiments.examples import user_examples
from simulation.experiments.outcome import Outcome
from simulation.reporting import formats
from simulation.reporting import model as tree
from simulation.run_folder import RunFolder
from simulation.settings import Settings
from simulation.world.costs import can_hold, on_tier_s

F = TypeVar("F", int, float | int | str)
PRIMARY: tree.MetricName = "ndcg@10"
CONTRASTS = (
    (FEDERATED, STATIC),
    (FEDERATED, "popularity"),
    (FEDERATED, "ease"),
    (FEDERATED, TEACHER),
    (FEDERATED, FEDERATED_BLIND),
    (CENTRAL, TEACHER),
    (TEACHER, "ease"),
)
TIER_METRICS: tuple[tree.MetricName, ...] = ("ndcg@10", "hr@10")

PRIVATE_TEXT_RULE = (
    "Synthetic: short queries made of words of items the user had already chosen in training, "
    "with noise words from the whole catalogue; never from the held-out item."
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Puts one outcome into words.

    Attributes:
        run: the run folder.
        settings: of the run.
        outcome: what was found.
        created: when.
    """

    run: RunFolder
    settings: Settings
    outcome: Outcome
    created: datetime

    def report(self) -> tree.ReportData:
        """The whole report."""
        record, outcome = self.run.record(), self.outcome
        return tree.ReportData(
            title=f"Pocketfleet on {outcome.materials.split.interactions.name}",
            headline=self._headline(),
            created=self.created,
            command=record.command,
            seed=self.settings.seed,
            commit=record.commit,
            versions=record.versions,
            settings=self.settings.model_dump(mode="json"),
            data=self._data(),
            roles=tree.Roles(teacher=TEACHER, phone=FEDERATED, static=STATIC),
            arms=tuple(self._arm(card) for card in CARDS if card.key in outcome.ranks),
            contrasts=self._contrasts(),
            rounds=tuple(self._rounds()),
            compression=self._compression(),
            latency=self._latency(),
            tiers=tuple(self._tiers()),
            recommendations=user_examples(self.run, self.settings, outcome),
            leak_check=self._leak_check(),
            limits=self._limits(),
            privacy=self._privacy(),
        )

    def _values(self, arm: str, metric: str, protocol: str = "full") -> NDArray[np.float64]:
        """One metric of one arm for every user, (B,)."""
        return self.outcome.ranks[arm].values(protocol)[metric]

    def _headline(self) -> str:
        ratio = self.outcome.bootstrap.ratio(
            self._values(FEDERATED, PRIMARY), self._values(TEACHER, PRIMARY)
        )
        costs, opted_in = self.outcome.costs, self.settings.comparison.opted_in_share
        package_mb = costs.package.num_bytes / 1e6
        kept = (
            f"{ratio.mean:.1%} of the server teacher's nDCG@10 "
            f"(95 % interval {ratio.low:.1%} to {ratio.high:.1%})"
            if ratio
            else "a share of the server teacher's nDCG@10 that so few users cannot tell,"
        )
        return (
            f"The phone keeps {kept} with a package of "
            f"{package_mb:.2f} MB and {costs.whole.p50_ms:.1f} ms a request on this machine; "
            f"no history leaves it, but for the {opted_in:.0%} of users who opted in to train "
            "its start."
        )

    def _data(self) -> tree.DataSummary:
        parts = self.outcome.materials.split
        interactions, texts = parts.interactions, self.outcome.materials.world.private_texts
        synthetic = self.settings.private_text.share > 0
        return tree.DataSummary(
            name=interactions.name,
            num_users=interactions.num_users,
            num_items=interactions.num_items,
            num_events=interactions.num_events,
            split_rule=parts.rule[0].upper() + parts.rule[1:] + ".",
            tied_users=parts.tied_users,
            intake=_spoken(interactions.intake.as_dict()),
            licence=interactions.licence,
            citation=interactions.citation,
            private_text=tree.PrivateText(
                synthetic=synthetic,
                num_texts=len(texts),
                rule=PRIVATE_TEXT_RULE if synthetic else "Texts of the data set itself.",
                examples=tuple(texts[:: max(1, len(texts) // 5)][:5]) if synthetic else (),
            ),
        )

    def _arm(self, card: ArmCard) -> tree.Arm:
        bootstrap = self.outcome.bootstrap
        ranks = self.outcome.ranks[card.key]
        metrics = {
            protocol: {
                name: _interval(bootstrap.mean(values))
                for name, values in ranks.values(protocol).items()
            }
            for protocol in PROTOCOLS
        }
        share = {}
        for name in tree.METRICS:
            ratio = bootstrap.ratio(self._values(card.key, name), self._values(TEACHER, name))
            if ratio is not None:
                share[name] = _interval(ratio)
        return tree.Arm(
            key=card.key,
            name=card.name,
            place=card.place,
            description=card.description,
            metrics=metrics,  # type: ignore[arg-type]  # the names are checked by pydantic
            share_of_teacher=share if share and card.key != TEACHER else None,
            cost=self._cost(card),
            left_device=card.left_device,
            slices=self._slices(card.key),
        )

    def _slices(self, arm: str) -> tuple[tree.Slice, ...]:
        """The primary metric of every slice of users under one arm, full ranking."""
        outcome = self.outcome
        rows = slice_means(self._values(arm, PRIMARY), outcome.slicings, outcome.bootstrap)
        return tuple(
            tree.Slice(
                dimension=row.dimension,
                name=row.name,
                num_users=row.num_users,
                interval=None if row.interval is None else _interval(row.interval),
            )
            for row in rows
        )

    def _cost(self, card: ArmCard) -> tree.Cost:
        """What a phone pays; a server arm costs it nothing that was measured here."""
        if card.place != "phone":
            return tree.Cost(
                latency_p50_ms=None,
                latency_p95_ms=None,
                encoder_bundle_bytes=None,
                device_package_bytes=None,
                bytes_down_per_device_round=None,
                bytes_up_per_device_round=None,
                rounds=None,
            )
        costs = self.outcome.costs
        down, up = self._bytes_each_way() if card.key != STATIC else (0, 0)
        timed = costs.rank if card.key == FEDERATED_BLIND else costs.whole
        return tree.Cost(
            latency_p50_ms=timed.p50_ms,
            latency_p95_ms=timed.p95_ms,
            encoder_bundle_bytes=self.outcome.compression.bundle_bytes,
            device_package_bytes=costs.package.num_bytes,
            bytes_down_per_device_round=down,
            bytes_up_per_device_round=up,
            rounds=self.settings.federation.rounds if down else 0,
        )

    def _bytes_each_way(self) -> tuple[int, int]:
        """What one phone fetches and sends in a round."""
        job = ServerJob.read(self.outcome.federated[FEDERATED].folder)
        return job.num_parameters * BYTES_PER_PARAMETER, job.num_trained * BYTES_PER_PARAMETER

    def _contrasts(self) -> tuple[tree.Contrast, ...]:
        """All differences that are claimed, their p-values corrected for how many they are."""
        bootstrap = self.outcome.bootstrap
        pairs = [(self._values(a, PRIMARY), self._values(b, PRIMARY)) for a, b in CONTRASTS]
        corrected = intervals.holm([bootstrap.p_value(*pair) for pair in pairs])
        return tuple(
            self._contrast(keys, bootstrap.difference(*pair), float(p_value))
            for keys, pair, p_value in zip(CONTRASTS, pairs, corrected, strict=True)
        )

    def _contrast(
        self, keys: tuple[str, str], found: intervals.Interval, p_value: float
    ) -> tree.Contrast:
        a, b = keys
        names = {card.key: card.name for card in CARDS}
        if p_value >= tree.SIGNIFICANCE:
            reading = f"{names[a]} and {names[b]} cannot be told apart on these users."
        elif found.mean > 0:
            reading = f"{names[a]} is better than {names[b]}, beyond chance."
        else:
            reading = f"{names[a]} is worse than {names[b]}, beyond chance."
        return tree.Contrast(
            a=a,
            b=b,
            metric=PRIMARY,
            mean=found.mean,
            low=found.low,
            high=found.high,
            reading=reading,
            p_holm=p_value,
        )

    def _rounds(self) -> list[tree.Round]:
        return [
            tree.Round(
                arm=arm,
                round_number=row["round_number"],
                loss=row["loss"],
                metrics=(row["metrics"] or {}).get("full", {}),
                num_devices=row["num_reported"],
                bytes_up=row["bytes_up"],
                bytes_down=row["bytes_down"],
                seconds=row["seconds"],
            )
            for arm, played in self.outcome.federated.items()
            for row in played.history().rows()
        ]

    def _compression(self) -> tree.Compression:
        made = self.outcome.compression
        return tree.Compression(
            stages=tuple(
                tree.Stage(
                    stage=row.stage.replace("_", " "),
                    seconds=row.seconds,
                    figures=_spoken(row.figures),
                )
                for row in made.stages
            ),
            byte_table=tuple(
                tree.BytePart(part=row.part, num_bytes=row.num_bytes) for row in made.byte_table
            ),
            budget_bytes=made.budget_bytes,
            bundle_bytes=made.bundle_bytes,
            parity={
                **_spoken(dataclasses.asdict(made.parity)),
                "installed package and evaluation agree on": self.outcome.phone_agreement,
            },
        )

    def _latency(self) -> tuple[tree.LatencyRow, ...]:
        costs = self.outcome.costs
        tokens = round(costs.mean_tokens)
        rows = (
            ("whole request", tokens, costs.whole, "one private text encoded, catalogue ranked"),
            ("encode one text", tokens, costs.encode, "onnxruntime, int8, one thread"),
            ("rank the catalogue", None, costs.rank, "NumPy, item vectors cached"),
        )
        return tuple(
            tree.LatencyRow(
                what=what,
                tokens=length,
                p50_ms=timed.p50_ms,
                p95_ms=timed.p95_ms,
                note=f"{note}; {timed.num_requests} requests",
            )
            for what, length, timed, note in rows
        )

    def _tiers(self) -> list[tree.Tier]:
        materials, costs = self.outcome.materials, self.outcome.costs
        tier_of = materials.world.tier[materials.evaluated]
        rows = []
        for index, tier in enumerate(self.settings.world.tiers):
            inside = tier_of == index
            metrics: dict[tree.MetricName, tree.Interval] = {}
            if inside.sum() > 1:
                bootstrap = intervals.PairedBootstrap.draw(
                    int(inside.sum()), self.settings.seed, replicates=1000
                )
                metrics = {
                    name: _interval(bootstrap.mean(self._values(FEDERATED, name)[inside]))
                    for name in TIER_METRICS
                }
            whole_ms = on_tier_s(costs.whole.p50_ms, tier)
            rows.append(
                tree.Tier(
                    tier=tier.name,
                    num_devices=int((materials.world.tier == index).sum()),
                    metrics=metrics,
                    can_serve=can_hold(tier, costs.model_bytes),
                    note=(
                        f"assumed {on_tier_s(1.0, tier):.1f}x the time of this machine: "
                        f"{formats.milliseconds(whole_ms)} a request; serving adds "
                        f"{costs.model_bytes / 1e6:.0f} MB of the {tier.memory_mb:.0f} MB it has"
                    ),
                )
            )
        return rows

    def _leak_check(self) -> tree.LeakCheck:
        leaks = self.outcome.leaks
        return tree.LeakCheck(
            passed=leaks.passed,
            num_devices=leaks.num_devices,
            statement=(
                f"All {leaks.num_devices} held-out items were unseen in training and could have "
                "been pushed down as negatives."
            ),
        )

    def _privacy(self) -> tuple[str, ...]:
        """What is promised of the federated arm, epsilon first."""
        promised = PrivacyStatement.read(self.outcome.federated[FEDERATED].folder)
        if promised is None:
            return ()
        twice = "Each federated arm spends this by itself; to publish two of them costs twice."
        return (f"Privacy: {promised.headline}.", *promised.sentences(), twice)

    def _limits(self) -> tuple[str, ...]:
        users = len(self.outcome.materials.evaluated)
        limits: tuple[str, ...] = (
            f"{users} users with one held-out item each: differences inside the intervals are "
            "noise, and one data set is one data set.",
            "One seed. The README's table says which figures are means over several.",
            "Device tiers, their speeds, networks and dropouts are assumptions; times of a tier "
            "are this machine's, scaled.",
            "The comparison ranks for every user, as an experimenter may: its figures are not "
            "released under differential privacy."
            if self.settings.federation.privacy.is_private
            else "Updates are clipped but not noised, and sums are not masked: nothing here is "
            "differentially private.",
            "A phone's training is simulated in torch; only serving runs as it would on a phone.",
        )
        if self.settings.private_text.share > 0:
            limits += (
                "The private texts are synthetic and made from items the phone already knows: "
                "they show that the path works, not what real queries are worth.",
            )
        return limits


def _spoken(figures: Mapping[str, F]) -> dict[str, F]:
    """Names for people: "rows_read" reads as "rows read"."""
    return {name.replace("_", " "): value for name, value in figures.items()}


def _interval(bounds: intervals.Interval) -> tree.Interval:
    return tree.Interval(mean=bounds.mean, low=bounds.low, high=bounds.high)
