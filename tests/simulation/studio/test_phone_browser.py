"""The look into phones in a real browser, as a new user meets it: mouse, keyboard, small screens.

Needs the `playwright` package and a chromium on the path; skipped with a reason without them.
Set POCKETFLEET_PICTURES to a folder to keep the screenshots.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulation.studio.phone_preview import PhonePreview
from tests.simulation.studio.phone_page import phone_page, serving

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
LONG = "Unbreakable" * 25


@dataclass
class Visit:
    """An open page, and what the browser complained of."""

    page: Any
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    contexts = []

    def open_page(address: str, width: int = 1280, scheme: str = "light") -> Visit:
        view = {"width": width, "height": 900}
        context = browser.new_context(viewport=view, color_scheme=scheme)
        contexts.append(context)
        seen = Visit(context.new_page())
        seen.page.set_default_timeout(60_000)
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
        seen.page.goto(address)
        return seen

    yield open_page
    for context in contexts:
        context.close()


def keep(page: Any, name: str) -> None:
    """Keep a picture where somebody wants to look at it."""
    folder = os.environ.get("POCKETFLEET_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def status(page: Any) -> Any:
    return page.locator(".phone-status")


def with_titles(run: Path, title: str, written: str) -> PhonePreview:
    """The run with one title for every item, and one private text."""
    path = run / "server-lists.npz"
    with np.load(path) as columns:
        changed = dict(columns) | {"titles": np.full(len(columns["titles"]), title)}
    np.savez(path, **changed)
    texts = [written.encode()] * (len(np.load(run / "world" / "private_text_offsets.npy")) - 1)
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    np.save(run / "world" / "private_text.npy", np.frombuffer(b"".join(texts), np.uint8))
    np.save(run / "world" / "private_text_offsets.npy", ends)
    return PhonePreview.open(run)


def test_a_new_user_looks_into_phones(visit: Any, preview: PhonePreview) -> None:
    with serving(phone_page(preview)) as address:
        seen = visit(address)
        page = seen.page
        page.locator(".phone-frame .phone-items li").first.wait_for()
        view = preview.view(0)
        for side, listing in ((".phone-server", view.server), (".phone-frame", view.phone)):
            titles = page.locator(f"{side} .phone-items li > span:first-child").all_inner_texts()
            assert titles == [item.title for item in listing.items]
        assert f"{view.num_shared} of {len(view.phone.items)}" in status(page).inner_text()
        assert page.locator(".phone-measured").count() == 2
        keep(page, "phone-light")

        page.get_by_role("button", name="later phones").click()
        page.get_by_role("button", name="Phone 17").click()
        page.get_by_text("Phone 17, tier").wait_for()
        assert page.locator("[aria-current]").inner_text().startswith("Phone 17")
        assert page.get_by_role("button", name="later phones").is_disabled()

        tier = preview.manifest.tiers[0]
        page.get_by_label("Tier").select_option(tier)
        first = preview.page(tier).phones[0].id
        page.get_by_text(f"Phone {first}, tier {tier}").wait_for()
        assert seen.complaints == []


def test_the_keyboard_is_enough(visit: Any, preview: PhonePreview) -> None:
    with serving(phone_page(preview)) as address:
        seen = visit(address)
        page = seen.page
        page.get_by_text("Phone 0, tier").wait_for()
        page.keyboard.press("Tab")  # the tier
        page.keyboard.press("Tab")  # the number
        page.keyboard.type("21")
        page.keyboard.press("Enter")
        page.get_by_text("Phone 21, tier").wait_for()
        page.locator("[aria-current]").get_by_text("Phone 21").wait_for()  # the list turned to it
        page.keyboard.press("Tab")  # the button beside it
        page.keyboard.press("Tab")  # the first of the list
        page.keyboard.press("ArrowDown")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        page.get_by_text("Phone 13, tier").wait_for()  # the second of the second page
        assert seen.complaints == []


def test_a_phone_that_is_not_there_is_told_and_forgiven(visit: Any, preview: PhonePreview) -> None:
    with serving(phone_page(preview)) as address:
        page = visit(address).page
        page.get_by_text("Phone 0, tier").wait_for()
        page.locator("#phone-number").evaluate("field => field.removeAttribute('max')")
        page.get_by_label("Number").fill("99")
        page.get_by_role("button", name="Look", exact=True).click()
        page.get_by_role("alert").get_by_text("There is no phone 99").wait_for()
        assert page.locator(".phone-frame .phone-items li").count() > 0  # the last one stays
        page.get_by_role("button", name="Phone 3").first.click()
        page.get_by_text("Phone 3, tier").wait_for()
        assert page.get_by_role("alert").inner_text() == ""


def test_a_studio_that_went_away_is_told_with_a_way_back(visit: Any, preview: PhonePreview) -> None:
    with serving(phone_page(preview)) as address:
        page = visit(address).page
        page.get_by_text("Phone 0, tier").wait_for()
        page.route("**/api/phones/*", lambda route: route.abort())
        page.get_by_role("button", name="Phone 2").first.click()
        page.get_by_role("button", name="Try again").wait_for()
        page.unroute("**/api/phones/*")
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("Phone 2, tier").wait_for()


def test_titles_and_texts_are_shown_and_never_run(visit: Any, copied_run: Path) -> None:
    with serving(phone_page(with_titles(copied_run, EVIL, EVIL))) as address:
        seen = visit(address)
        page = seen.page
        page.locator(".phone-frame .phone-items li").first.wait_for()
        assert page.locator(".phone-items li > span:first-child").first.inner_text() == EVIL
        assert EVIL in page.locator(".phone-history li").first.inner_text()
        assert page.locator("#phone img, #phone script").count() == 0
        assert seen.complaints == []


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(
    visit: Any, preview: PhonePreview, copied_run: Path, width: int, scheme: str
) -> None:
    for words, shown in (("usual", preview), ("long", with_titles(copied_run, LONG, LONG))):
        with serving(phone_page(shown)) as address:
            seen = visit(address, width, scheme)
            page = seen.page
            page.locator(".phone-frame .phone-items li").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") == width
            keep(page, f"phone-{words}-{scheme}-{width}")
            assert seen.complaints == []


def test_without_a_run_the_section_says_how_to_get_one(visit: Any) -> None:
    with serving(phone_page(None)) as address:
        seen = visit(address)
        seen.page.get_by_text("pocketfleet quickstart").wait_for()
        keep(seen.page, "phone-none")
        assert seen.complaints == []
