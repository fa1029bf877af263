"""Draw docs/studio.png: the studio in a headless Chromium, made-up devices, after a fault.

python -m benchmarks.studio_picture
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PICTURE = Path("docs/studio.png")
SIZE = (1240, 1330)
PATIENCE_MS = 120_000


def main() -> None:
    """Start a studio, play with it, take the picture."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        verb = ["studio", "--no-open", "--port", str(port), "--out", folder]
        studio = subprocess.Popen([sys.executable, "-m", "simulation", *verb])
        try:
            _wait(f"http://127.0.0.1:{port}/api/state")
            _picture(f"http://127.0.0.1:{port}/")
        finally:
            studio.terminate()
            studio.wait()


def _wait(address: str) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(address, timeout=1)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"{address} does not answer")


def _picture(home: str) -> None:
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        size = {"width": SIZE[0], "height": SIZE[1]}
        page = browser.new_page(viewport=size, reduced_motion="reduce")  # type: ignore[arg-type]
        page.goto(home)
        page.get_by_role("button", name="Start the rollout").click(timeout=PATIENCE_MS)
        _day(page, 8)
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Garbage vectors").click()
        page.get_by_role("button", name="Play", exact=True).click()
        page.locator("#pill[data-status=halted]").wait_for(timeout=PATIENCE_MS)
        page.mouse.move(0, 0)
        page.wait_for_timeout(300)
        page.screenshot(path=PICTURE)
        browser.close()


def _day(page: Page, day: int) -> None:
    page.locator("#day", has_text=re.compile(rf"^day ({day}|{day + 1})$")).wait_for(
        timeout=PATIENCE_MS
    )


if __name__ == "__main__":
    main()
