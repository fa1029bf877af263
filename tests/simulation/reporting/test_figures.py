from simulation.reporting import figures
from simulation.reporting.model import METRICS, Compression, ReportData


def test_every_arm_has_a_dot_under_both_protocols(report: ReportData) -> None:
    for metric in METRICS:
        for protocol in ("full", "sampled-99"):
            drawn = str(figures.quality_plot(report, metric, protocol))
            assert drawn.count("<circle") == len(report.arms)
            assert all(arm.name in drawn for arm in report.arms)


def test_the_arm_of_the_phone_is_the_only_one_in_focus(report: ReportData) -> None:
    drawn = str(figures.quality_plot(report, "hr@10", "full"))
    assert drawn.count("dot-row focus") == 1
    assert 'dot-row focus"><div class="dot-label">On-device federated <' in drawn


def test_unclear_contrasts_are_rings(report: ReportData) -> None:
    assert str(figures.contrast_plot(report)).count(" hollow") == 1


def test_the_learning_curve_leaves_out_rounds_without_evaluation(report: ReportData) -> None:
    points = figures.points_by_arm(report, figures.primary_metric)
    assert [*points] == ["federated", "federated-no-text"]
    assert [number for number, _ in points["federated"]] == [*range(0, 31, 2)]


def test_the_learning_curve_shows_teacher_band_and_static_level(report: ReportData) -> None:
    drawn = str(figures.learning_curve(report))
    assert 'class="band"' in drawn
    assert "On-device static, frozen" in drawn
    assert drawn.count("<polyline") == 3


def test_more_arms_than_colours_are_all_drawn(report: ReportData) -> None:
    first = report.rounds[0]
    rounds = tuple(first.model_copy(update={"arm": arm.key}) for arm in report.arms)
    drawn = str(figures.learning_curve(report.model_copy(update={"rounds": rounds})))
    assert drawn.count("<polyline") == len(report.arms) + 1


def test_a_tier_that_cannot_serve_is_a_ring(report: ReportData) -> None:
    assert str(figures.tier_plot(report.tiers)).count(" hollow") == 1


def test_bytes_that_no_part_claims_are_shown(report: ReportData) -> None:
    assert report.compression is not None
    larger = report.compression.model_copy(update={"bundle_bytes": 1_873_000})
    last = figures.byte_parts(larger)[-1]
    assert (last.part, last.num_bytes) == ("not itemised", 1000)
    assert "not itemised" not in [part.part for part in figures.byte_parts(report.compression)]


def test_parts_add_up_to_the_bundle_and_run_from_large_to_small(report: ReportData) -> None:
    assert report.compression is not None
    sizes = [part.num_bytes for part in figures.byte_parts(report.compression)]
    assert sum(sizes) == report.compression.bundle_bytes
    assert sizes == sorted(sizes, reverse=True)


def test_a_bundle_over_budget_fills_the_bar_and_no_more() -> None:
    over = Compression(stages=(), byte_table=(), budget_bytes=1000, bundle_bytes=1500, parity={})
    assert 'style="width:100.0%"' in str(figures.byte_bar(over))


def test_a_run_without_optional_parts_has_no_plots_for_them(bare: ReportData) -> None:
    assert figures.learning_curve(bare) is None
    assert figures.loss_curve(bare) is None
    assert figures.contrast_plot(bare) is None
    assert figures.latency_plot(bare.latency) is None
    assert figures.tier_plot(bare.tiers) is None
