"""The routes of the phones: what they answer, and how they refuse."""

import subprocess
import sys

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from simulation.studio.phone_api import phone_router
from simulation.studio.phone_model import PhonePage, PhoneView
from simulation.studio.phone_preview import PhonePreview


def client_of(preview: PhonePreview | None) -> TestClient:
    app = FastAPI()
    app.include_router(phone_router(preview))
    return TestClient(app)


def test_a_phone_and_the_list_are_what_the_preview_says(preview: PhonePreview) -> None:
    client = client_of(preview)
    tier = preview.page().tiers[0].name
    answer = client.get("/api/phones", params={"tier": tier, "offset": 1, "limit": 2})
    assert PhonePage.model_validate_json(answer.content) == preview.page(tier, 1, 2)
    seen = PhoneView.model_validate_json(client.get("/api/phones/7").content)
    assert seen.id == 7 and seen.phone == preview.view(7).phone


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/phones/24", 404),
        ("/api/phones?tier=huge", 404),
        ("/api/phones/-1", 422),
        ("/api/phones/x", 422),
        ("/api/phones?limit=101", 422),
        ("/api/phones?offset=-1", 422),
        (f"/api/phones/{2**80}", 422),
    ],
)
def test_what_is_not_there_is_refused(preview: PhonePreview, path: str, status: int) -> None:
    answer = client_of(preview).get(path)
    assert answer.status_code == status
    assert status == 422 or set(answer.json()) == {"error"}


def test_a_page_without_a_run_loads_no_torch() -> None:
    told = "import sys, simulation.studio.phone_api; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_can_be_changed(preview: PhonePreview) -> None:
    assert client_of(preview).post("/api/phones/7", json={}).status_code == 405


def test_without_a_run_the_list_says_how_to_get_one() -> None:
    client = client_of(None)
    page = PhonePage.model_validate_json(client.get("/api/phones").content)
    assert page.run is None and "pocketfleet quickstart" in page.missing
    assert client.get("/api/phones/0").status_code == 404
