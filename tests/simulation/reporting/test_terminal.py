from rich.console import Console

from simulation.reporting.model import ReportData
from simulation.reporting.terminal import render_terminal


def _print(report: ReportData, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(render_terminal(report))
    return capture.get()


def test_every_arm_stands_with_its_interval(report: ReportData) -> None:
    lines = _print(report, width=150).splitlines()
    for arm in report.arms:
        hr = arm.metrics["full"]["hr@10"]
        line = next(line for line in lines if line.strip().startswith(f"{arm.name}  "))
        assert f"{100 * hr.mean:.1f}" in line
        assert f" {100 * hr.mean:.1f} " in line
        ndcg = arm.metric("ndcg@10")
        assert ndcg is not None
        assert f"{100 * ndcg.low:.1f}–{100 * ndcg.high:.1f}" in line


def test_no_line_is_wider_than_the_terminal(report: ReportData) -> None:
    assert max(len(line) for line in _print(report, width=100).splitlines()) <= 100


def test_names_are_text_and_never_markup(report: ReportData) -> None:
    arm = report.arms[0].model_copy(update={"name": "[red]Random[/nonsense]"})
    assert "[red]Random[/nonsense]" in _print(
        report.model_copy(update={"arms": (arm,), "cold": None}), 140
    )


def test_no_title_of_the_data_is_printed(report: ReportData) -> None:
    printed = _print(report)
    titles = {title for user in report.recommendations for title in (*user.server, *user.history)}
    assert not [title for title in titles if title in printed]


def test_a_failed_leak_check_is_loud(report: ReportData) -> None:
    failed = report.leak_check.model_copy(update={"passed": False})
    assert "LEAK CHECK FAILED" in _print(report.model_copy(update={"leak_check": failed}))
    assert "leak check passed" in _print(report)


def test_a_promise_to_each_user_is_printed(report: ReportData) -> None:
    promised = ("Privacy: epsilon 4 at delta 1e-05.", "Not covered: evaluation.")
    printed = _print(report.model_copy(update={"privacy": promised}))
    assert all(sentence in printed for sentence in promised)
    assert "Privacy" not in _print(report)


def test_the_worst_slice_stands_beside_every_mean(report: ReportData) -> None:
    printed = _print(report, width=170)
    for arm in report.arms:
        worst = arm.worst_slice
        assert worst is not None and worst.interval is not None
        assert (worst.dimension, worst.name) == ("activity", "10-20 events")
        line = next(line for line in printed.splitlines() if line.strip().startswith(arm.name))
        assert f" {100 * worst.interval.mean:.1f} " in line
    told = " ".join(printed[printed.index("worst slice, ") :].split())
    assert told.startswith("worst slice, activity: 10-20 events: ")
    assert all(" ".join(arm.name.split()) in told for arm in report.arms)


def test_an_arm_without_slices_has_a_blank(report: ReportData) -> None:
    arms = tuple(arm.model_copy(update={"slices": ()}) for arm in report.arms)
    assert "activity" not in _print(report.model_copy(update={"arms": arms}))


def test_new_items_have_a_table_of_their_own(report: ReportData) -> None:
    assert report.cold is not None
    printed = _print(report, width=150)
    below = printed[printed.index("252 items were launched after training; 937 users") :]
    for found in report.cold.arms:
        name = report.known_arm(found.key).name
        line = next(line for line in below.splitlines() if line.strip().startswith(f"{name}  "))
        for protocol in ("cold-among-cold", "cold-among-all"):
            mean, worst = found.metric("ndcg@10", protocol), found.worst_slice(protocol)
            assert mean is not None and worst is not None and worst.interval is not None
            span = f"{100 * mean.low:.1f}–{100 * mean.high:.1f}"
            assert f" {100 * mean.mean:.1f} {span:>9} " in line
            assert f" {100 * worst.interval.mean:.1f} " in line
    assert "launched" not in _print(report.model_copy(update={"cold": None}))
