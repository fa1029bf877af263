import pytest

from simulation.reporting import readings
from simulation.reporting.model import (
    Arm,
    Compression,
    Interval,
    MetricName,
    ProtocolName,
    ReportData,
)


def _with_metric(
    report: ReportData, key: str, mean: float, protocol: ProtocolName = "full"
) -> ReportData:
    """Return the report with another nDCG@10 (interval +- 0.001) for one arm."""
    interval = Interval(mean=mean, low=mean - 0.001, high=mean + 0.001)

    def changed(arm: Arm) -> Arm:
        metrics: dict[ProtocolName, dict[MetricName, Interval]] = {
            **arm.metrics,
            protocol: {**arm.metrics[protocol], "ndcg@10": interval},
        }
        return arm.model_copy(update={"metrics": metrics}) if arm.key == key else arm

    return report.model_copy(update={"arms": tuple(changed(arm) for arm in report.arms)})


def test_quality_uses_the_paired_difference_where_there_is_one(report: ReportData) -> None:
    text = readings.quality(report, "ndcg@10")
    assert "−1.10 points" in text and "a clear difference" in text
    assert "below the interval of Server teacher" in readings.quality(report, "hr@10")


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (0.02, "below the interval of Server teacher"),
        (0.074, "overlaps that of Server teacher"),
        (0.2, "above the interval of Server teacher"),
    ],
)
def test_quality_follows_the_intervals(report: ReportData, mean: float, words: str) -> None:
    unpaired = report.model_copy(update={"contrasts": ()})
    assert words in readings.quality(_with_metric(unpaired, "federated", mean), "ndcg@10")


def test_quality_names_whichever_arm_leads(report: ReportData) -> None:
    assert readings.quality(report, "ndcg@10").startswith("Server teacher has the highest")
    lucky = _with_metric(report, "random", 0.5)
    assert readings.quality(lucky, "ndcg@10").startswith("Random has the highest nDCG@10, 50.0")


def test_sampled_counts_the_pairs_that_change_order(report: ReportData) -> None:
    assert "0 of 36 pairs" in readings.sampled(report, "ndcg@10")
    turned = _with_metric(report, "random", 0.9, protocol="sampled-99")
    assert "8 of 36 pairs" in readings.sampled(turned, "ndcg@10")


def test_contrasts_count_the_clear_ones(report: ReportData) -> None:
    assert readings.contrasts(report.contrasts).startswith("2 of 3")
    assert readings.contrasts(()) == ""


def test_contrasts_are_judged_together_where_p_values_are_corrected(report: ReportData) -> None:
    corrected = [each.model_copy(update={"p_holm": p}) for each, p in
                 zip(report.contrasts, (0.01, 0.06, 0.9), strict=True)]  # fmt: skip
    text = readings.contrasts(corrected)
    assert text.startswith("1 of 3") and "Holm" in text
    assert "Holm" not in readings.contrasts(report.contrasts)


def test_slices_name_the_worst_and_claim_it_only_beyond_its_interval(report: ReportData) -> None:
    text = readings.slices(report)
    assert "serves “activity: 10-20 events” worst" in text and "cannot tell" in text
    phone = report.phone
    assert phone is not None
    tight = Interval(mean=0.01, low=0.005, high=0.015)
    parts = tuple(
        part.model_copy(update={"interval": tight}) if part.name == "low" else part
        for part in phone.slices
    )
    arms = tuple(
        arm.model_copy(update={"slices": parts}) if arm.key == phone.key else arm
        for arm in report.arms
    )
    worse = readings.slices(report.model_copy(update={"arms": arms}))
    assert "serves “tier: low” worst" in worse and "lies below the mean" in worse


@pytest.mark.parametrize(
    ("end", "words"),
    [(0.05, "1.8 points below the"), (0.074, "within the"), (0.2, "above the")],
)
def test_learning_places_the_last_round_beside_the_teacher(
    report: ReportData, end: float, words: str
) -> None:
    last = report.rounds[30].model_copy(update={"metrics": {"ndcg@10": end}})
    changed = report.model_copy(update={"rounds": (*report.rounds[:30], last)})
    assert f"ends {words}" in readings.learning(changed)
    assert f"to {100 * end:.1f} in round 30" in readings.learning(changed)


def test_loss_says_falls_only_when_it_does(report: ReportData) -> None:
    assert "falls: 0.674 in round 1, 0.537 in round 30" in readings.loss(report)
    turned = tuple(
        round_.model_copy(update={"loss": 0.1 * round_.round_number}) for round_ in report.rounds
    )
    assert "does not fall" in readings.loss(report.model_copy(update={"rounds": turned}))


def test_bundle_bytes_tell_room_and_excess(report: ReportData) -> None:
    assert report.compression is not None
    text = readings.bundle_bytes(report.compression)
    assert "1,872,000 of 1,910,000 bytes (98.0 %, 38.0 kB free)" in text
    assert "word embeddings (int8), is 59 %" in text
    over = Compression(stages=(), byte_table=(), budget_bytes=1000, bundle_bytes=1500, parity={})
    assert "(150.0 %, 500 B too many)" in readings.bundle_bytes(over)


def test_latency_compares_the_extremes(report: ReportData) -> None:
    text = readings.latency(report.latency)
    assert "“text teacher, short query” is the slowest with 14 ms, 67.6 times “rank all" in text
    assert readings.latency(report.latency[:1]) == ""


def test_cost_multiplies_by_the_rounds(report: ReportData) -> None:
    assert "all 30 rounds" in readings.cost(report)
    assert "sends 642 kB and receives 2.65 MB" in readings.cost(report)


def test_tiers_claim_no_difference_where_intervals_overlap(report: ReportData) -> None:
    text = readings.tiers(report.tiers)
    assert "896 of 943 devices, in 3 of 4 tiers" in text
    assert "shows no difference between tiers" in text
    strong = Interval(mean=0.5, low=0.49, high=0.51)
    best = report.tiers[0].model_copy(update={"metrics": {"ndcg@10": strong}})
    assert "do not overlap" in readings.tiers((best, *report.tiers[1:]))


def test_examples_count_overlap_and_hits(report: ReportData) -> None:
    user = report.recommendations[0].model_copy(
        update={"server": ("a", "b"), "phone": ("b", "c"), "held_out": "c"}
    )
    text = readings.examples([user])
    assert "share 1.0 titles" in text
    assert "list for 0 of 1 users and in the phone's for 1" in text


def test_a_run_without_optional_parts_reads_no_sentences(bare: ReportData) -> None:
    assert readings.learning(bare) == readings.loss(bare) == readings.cost(bare) == ""
    assert readings.slices(bare) == ""
    assert readings.tiers(()) == readings.latency(()) == readings.examples(()) == ""
    assert readings.quality(bare, "ndcg@10") == "Random has the highest nDCG@10, 0.3 (0.1–0.5) %."


def test_new_items_are_held_against_a_guess(report: ReportData) -> None:
    said = readings.cold(report, "cold-among-cold")
    assert said.startswith("Server teacher has the highest nDCG@10, 10.0 (9.3–10.7) %.")
    assert "with an interval that overlaps" not in said and "below the interval of" in said
    assert "75.0–77.0) %, above the 50 % of a guess" in said
    assert report.cold is not None
    auc = Interval(mean=0.51, low=0.49, high=0.53)
    arms = tuple(
        arm.model_copy(update={"metrics": {p: m | {"auc": auc} for p, m in arm.metrics.items()}})
        for arm in report.cold.arms
    )
    guess = report.model_copy(update={"cold": report.cold.model_copy(update={"arms": arms})})
    assert "cannot be told from the 50 % of a guess" in readings.cold(guess, "cold-among-all")


def test_nothing_is_said_of_new_items_that_nobody_asked_for(bare: ReportData) -> None:
    assert readings.cold(bare, "cold-among-all") == ""
