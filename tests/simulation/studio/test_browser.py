"""The studio as somebody new would use it: a real server process, a real headless Chromium.

Needs the `playwright` package and a chromium on the path; skipped with a reason without them.
Screenshots are left in the test's folder.
"""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

DEVICES = 20_000
PATIENCE_MS = 60_000


class Server:
    """A `pocketfleet studio` of its own, started again in the same folder and on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self.process = self._started(("--devices", str(DEVICES)))

    def _started(self, options: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        verb = ["studio", "--no-open", "--port", str(self.port), "--out", str(self._folder)]
        process = subprocess.Popen(
            [sys.executable, "-m", "simulation", *verb, *options], stderr=subprocess.PIPE
        )
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"{self.home}/api/state", timeout=1)
                return process
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                time.sleep(0.1)
        raise AssertionError("the studio does not answer")

    def kill_and_start_again(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self._started()

    def stop(self) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said.decode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "studio")
    yield running
    running.stop()


def _page(browser: Any, home: str, width: int = 1280, scheme: str = "light") -> tuple[Any, list]:
    view = {"width": width, "height": 844}
    page = browser.new_page(viewport=view, color_scheme=scheme, reduced_motion="reduce")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(home)
    page.locator("#pill:not([data-status=busy])").wait_for(timeout=PATIENCE_MS)
    return page, complaints


def _day(page: Any, least: int) -> None:
    days = "|".join(str(day) for day in range(least, 40))
    page.locator("#day", has_text=re.compile(rf"^day ({days})$")).wait_for(timeout=PATIENCE_MS)


def _status(page: Any, status: str) -> None:
    page.locator(f"#pill[data-status='{status}']").wait_for(timeout=PATIENCE_MS)


def _looks(page: Any) -> dict[str, str]:
    """What somebody sees of the rollout, as text."""
    parts = ("#pill", "#day", "#headline", "#stages", "#map", "#map-note", "#cards", "#log-list")
    return {part: page.locator(part).inner_text() for part in parts}


def test_ramp_break_halt_roll_back_killed_and_found_again(browser, server, tmp_path):
    page, complaints = _page(browser, server.home)
    assert page.locator("#headline").inner_text() == "Ready to start"
    assert page.locator("[data-action=advance]").get_attribute("aria-disabled") == "true"
    page.get_by_role("button", name="Start the rollout").click()
    _day(page, 4)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Garbage vectors").click()
    page.get_by_text("Broken by you: vocabulary mismatch").wait_for()
    page.locator("#speed").select_option("20")
    page.get_by_role("button", name="Play", exact=True).click()
    _status(page, "halted")
    page.locator(".card[data-level=breach]", has_text="click rate").wait_for()
    assert "Breached" in page.locator(".card[data-level=breach]").first.inner_text()
    assert page.locator("#play").get_attribute("aria-pressed") == "false"  # the clock stopped
    page.screenshot(path=tmp_path / "halted.png", full_page=True)

    page.locator("#reason").fill("<img src=x onerror=alert(1)> the lists are random")
    page.locator("#next").click()
    assert page.get_by_role("dialog").get_by_text("There is no way back").is_visible()
    page.locator("#confirm-yes").click()
    _status(page, "rolled back")
    assert page.locator("#log-list").get_by_text("<img src=x onerror=alert(1)>").is_visible()
    assert page.locator("#log-list img").count() == 0
    page.get_by_role("button", name="Let days pass").click()
    page.locator("#next", has_text="New rollout").wait_for(timeout=PATIENCE_MS)  # all went back
    assert page.locator("circle[data-mark=u], circle[data-mark=g]").count() <= 7  # the legend's
    seen = _looks(page)
    assert complaints == []

    server.kill_and_start_again()
    again, complaints = _page(browser, server.home)
    _status(again, "rolled back")
    assert _looks(again) == seen and complaints == []
    page.locator("#notice").wait_for(state="hidden", timeout=PATIENCE_MS)  # it found back by itself
    assert _looks(page) == seen
    code, said = server.stop()
    assert code == 0 and "the same command goes on" in said


def test_by_keyboard_alone(browser, server):
    page, complaints = _page(browser, server.home)

    def tab_to(selector: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none" or selector == "#speed"
                return
        raise AssertionError(f"{selector} cannot be reached with the Tab key")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("#next")
    page.keyboard.press("Enter")
    _day(page, 1)
    tab_to("[data-action=pause]")
    page.keyboard.press("Space")
    _status(page, "paused")
    tab_to("[data-action=advance]")  # cannot be used now, and says why
    page.keyboard.press("Enter")
    assert "paused" in page.locator("#notice").inner_text()
    tab_to("[data-action=kill]")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # the focus is on the dialog's own button
    _status(page, "killed")
    tab_to("#new")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    assert complaints == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_the_switch_changes_colours(
    browser, module_server, tmp_path, width, scheme
):
    page, complaints = _page(browser, module_server.home, width, scheme)
    if page.locator("#pill").inner_text() == "draft":
        page.locator("#next").click()
    _day(page, 3)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    page.locator("#new").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.keyboard.press("Escape")
    paper = "getComputedStyle(document.body).backgroundColor"
    shades = []
    for _ in range(3):
        page.locator("#theme").click()
        shades.append(page.evaluate(paper))
    light, dark = "rgb(251, 250, 247)", "rgb(20, 23, 27)"
    assert shades == [light, dark, light if scheme == "light" else dark]
    assert complaints == []


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("browser") / "studio")
    yield running
    running.stop()


def test_a_new_rollout_and_a_fault_of_ones_own(browser, module_server):
    page, complaints = _page(browser, module_server.home)
    before = page.locator("#overline").inner_text()
    page.locator("#new").click()
    page.get_by_role("dialog").get_by_text("Slow old tiers").click()
    page.get_by_role("spinbutton", name="Phones").fill("5000")
    page.get_by_role("spinbutton", name="Seed").fill("7")
    page.get_by_role("button", name="Draw the fleet").click()
    page.locator("#title", has_text="60 % longer").wait_for(timeout=PATIENCE_MS)
    assert "5,000 virtual phones" in page.locator("#overline").inner_text() != before
    page.get_by_text("A fault of your own").click()
    page.locator("[name=what]").select_option("crash")
    page.locator("[name=amount]").fill("12")
    page.locator("[name=days]").fill("2")
    page.get_by_label("low", exact=True).check()
    page.get_by_role("button", name="Inject it").click()
    page.get_by_text("crash +12 %, low, days 0 to 1").wait_for()
    page.locator("[name=amount]").fill("90")  # more than a chance may be added
    page.get_by_role("button", name="Inject it").click()
    page.locator("#notice", has_text="less than or equal to 0.5").wait_for()
    assert [each for each in complaints if "422" not in each] == []
