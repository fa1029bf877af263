from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from simulation.reporting.html import key_figures, load_report, render_page, write_report
from simulation.reporting.model import METRICS, ReportData
from tests.simulation.reporting.synthetic import synthetic_report

VOID = {"meta", "input", "br"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;</style>"
FIXED = {"key", "arm", "a", "b", "metric", "place", "created", "teacher", "phone", "static"}


class Page(HTMLParser):
    """The tags, attributes and visible text of a page, with a check that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _with_title(title: str) -> ReportData:
    report = synthetic_report()
    user = report.recommendations[0].model_copy(
        update={"held_out": title, "server": (title,), "history": (title,), "private_text": title}
    )
    return report.model_copy(update={"recommendations": (user,)})


def test_the_page_loads_nothing_from_anywhere(report: ReportData) -> None:
    text = render_page(report)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {*page.tags}
    names = {name for name, _ in page.attributes}
    assert not {"src", "srcset", "xlink:href", "data", "action"} & names
    assert not [name for name in names if name.startswith("on")]
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_every_anchor_leads_somewhere(report: ReportData, bare: ReportData) -> None:
    for each in (report, bare):
        page = Page(render_page(each))
        ids = {value for name, value in page.attributes if name == "id"}
        assert {value[1:] for name, value in page.attributes if name == "href"} <= ids


def test_hostile_titles_are_shown_and_never_run() -> None:
    page = Page(render_page(_with_title(HOSTILE)))
    assert "script" not in page.tags and "img" not in page.tags
    assert "".join(page.text).count(HOSTILE) >= 4


PLAIN_TAGS = Page(render_page(_with_title("a plain title"))).tags


def _poisoned(node: object, name: str = "") -> object:
    """Return the tree with hostile text before every string that is not one of a fixed set."""
    if isinstance(node, dict):
        return {key: _poisoned(value, key) for key, value in node.items()}
    if isinstance(node, list):
        return [_poisoned(value) for value in node]
    return HOSTILE + node if isinstance(node, str) and name not in FIXED else node


def test_hostile_text_is_harmless_in_every_field(report: ReportData) -> None:
    tree = _poisoned(report.model_dump(mode="json"))
    assert isinstance(tree, dict)
    named = {HOSTILE: HOSTILE}
    poisoned = ReportData.model_validate(tree | {"settings": {HOSTILE: named}, "versions": named})
    page = Page(render_page(poisoned))
    assert "".join(page.text).count(HOSTILE) > 300
    assert not {"script", "img"} & {*page.tags}


@settings(max_examples=25)
@given(title=st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_no_title_changes_the_structure_of_the_page(title: str) -> None:
    assert Page(render_page(_with_title(title))).tags == PLAIN_TAGS


def test_every_arm_stands_with_its_interval_under_both_protocols(report: ReportData) -> None:
    text = "".join(Page(render_page(report)).text)
    for arm in report.arms:
        assert arm.name in text
        for protocol in ("full", "sampled-99"):
            for metric in METRICS:
                interval = arm.metrics[protocol][metric]
                assert f"{100 * interval.low:.1f}–{100 * interval.high:.1f}" in text


def test_the_sampled_protocol_is_labelled_as_biased(report: ReportData) -> None:
    assert "biased protocol" in render_page(report)


def test_a_run_without_optional_parts_makes_a_page(bare: ReportData) -> None:
    text = "".join(Page(render_page(bare)).text)
    assert "Random" in text
    assert "round by round" not in text
    assert "server beside phone" not in text
    assert key_figures(bare) == []


def test_the_four_key_figures(report: ReportData) -> None:
    figures = key_figures(report)
    assert [figure.value for figure in figures] == ["85 %", "1.87 MB", "3.1 ms", "21.4 kB"]


def test_a_failed_leak_check_stands_at_the_top(report: ReportData) -> None:
    failed = report.leak_check.model_copy(update={"passed": False})
    page = render_page(report.model_copy(update={"leak_check": failed}))
    assert page.index("The leak check failed") < page.index("<main>")
    assert "The leak check failed" not in render_page(report)


def test_write_then_load_gives_the_same_report(report: ReportData, tmp_path: Path) -> None:
    page = write_report(report, tmp_path / "run" / "report")
    assert page.read_text("utf-8") == render_page(report)
    assert load_report(page.parent) == load_report(page.parent / "report.json") == report
    assert sorted(file.name for file in page.parent.iterdir()) == ["index.html", "report.json"]


def test_a_write_that_breaks_leaves_the_older_page_whole(
    report: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = write_report(report, tmp_path).read_text("utf-8")

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    changed = report.model_copy(update={"title": "another"})
    with pytest.raises(DataError, match=r"the disk is full while writing .*free some space"):
        write_report(changed, tmp_path)
    assert (tmp_path / "index.html").read_text("utf-8") == older
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.html", "report.json"]


def test_a_folder_that_is_a_file_is_one_clear_line(report: ReportData, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(DataError, match=r"cannot write .*taken"):
        write_report(report, tmp_path / "taken")


def test_loading_what_is_no_report_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the report .*give the folder"):
        load_report(tmp_path / "nowhere")
    (tmp_path / "report.json").write_text('{"title": 3}')
    with pytest.raises(DataError, match=r"is not a report: title: .*; run") as caught:
        load_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_promise_to_each_user_has_a_section_of_its_own(report: ReportData) -> None:
    promised = ("Privacy: epsilon 4 at delta 1e-05.", "Not covered: evaluation <here>.")
    text = render_page(report.model_copy(update={"privacy": promised}))
    assert "Not covered: evaluation &lt;here&gt;." in text and 'id="privacy"' in text
    assert 'id="privacy"' not in render_page(report)


def test_new_items_have_a_section_when_they_were_asked_for(report: ReportData) -> None:
    assert report.cold is not None
    page = render_page(report)
    text = "".join(Page(page).text)
    assert 'id="new-items"' in page and "252 of 1,682 items were in nobody’s training" in text
    for arm in report.cold.arms:
        for protocol in ("cold-among-cold", "cold-among-all"):
            for metric in METRICS:
                interval = arm.metrics[protocol][metric]
                assert f"{100 * interval.low:.1f}–{100 * interval.high:.1f}" in text
    assert "new-items" not in render_page(report.model_copy(update={"cold": None}))
