"""The page's server: its own origin only, its own host only, no wrong body, nothing executed."""

import asyncio
import json

import pytest
from fastapi.testclient import TestClient

from server.rollout.log_lines import play_back
from simulation.studio.events import events
from simulation.studio.guards import HEADERS
from simulation.studio.palette import palette
from simulation.studio.web import make_app
from tests.simulation.studio.small_studio import opened, start

PORT = 8321
HOME = f"http://127.0.0.1:{PORT}"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    studio = opened(tmp_path_factory.mktemp("studio"))
    start(studio)
    yield studio
    studio.close()


@pytest.fixture
def client(studio):
    return TestClient(make_app(studio, PORT), base_url=HOME, headers={"Origin": HOME})


def test_everything_carries_the_policy(client):
    for path in ("/", "/api/state", "/static/studio.js", "/static/palette.css", "/nowhere"):
        answer = client.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
    assert client.get("/api/state").headers["cache-control"] == "no-store"
    assert client.get("/static/studio.js").headers["content-type"].startswith("text/javascript")
    page = client.get("/").text
    assert "<style" not in page and "style=" not in page and " on" + "click" not in page


@pytest.mark.parametrize(
    ("change", "status", "what"),
    [
        ({"Host": "rebound.example:8321"}, 421, "loopback"),
        ({"Host": "127.0.0.1:80"}, 421, "loopback"),
        ({"Host": "127.0.0.1"}, 421, "loopback"),
        ({"Origin": "http://evil.example"}, 403, "another origin"),
        ({"Origin": "null"}, 403, "another origin"),
        ({"Origin": f"https://127.0.0.1:{PORT}"}, 403, "another origin"),
        ({"Origin": None}, 403, "without an Origin"),
        ({"Content-Type": "text/plain"}, 415, "application/json"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    ],
)
def test_what_is_not_our_own_page_is_refused(studio, client, change, status, what):
    before = studio.snapshot["version"]
    headers = {"Origin": HOME, **JSON, **change}
    client.headers.pop("Origin")
    sent = {name: value for name, value in headers.items() if value is not None}
    answer = client.post("/api/step", content=b"{}", headers=sent)
    assert answer.status_code == status and what in answer.json()["error"]
    assert studio.snapshot["version"] == before


def test_other_origins_cannot_read_either(client):
    for path in ("/", "/api/state", "/api/events"):
        assert client.get(path, headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 421
    assert (
        client.get(
            "/", headers={"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}
        ).status_code
        == 200
    )


NEW = {"scenario": "healthy", "plan": "standard", "devices": 5000, "seed": 0}


@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        ("step", {"days": 3}, "days: Extra inputs"),
        ("step", [], "the body: "),
        ("orders", {"action": "explode", "reason": "x", "status": "running", "stage": 0}, "action"),
        ("orders", {"action": "pause", "reason": "", "status": "running", "stage": 0}, "reason"),
        ("faults", {}, "a fault is either"),
        ("faults", {"scenario": "../../etc/passwd"}, "scenario"),
        ("faults", {"effect": {"what": "crash", "factor": 2}}, "has a plus or a share"),
        ("play", {"playing": True, "days_per_second": 1e9}, "days_per_second"),
        ("rollouts", {**NEW, "scenario": "/tmp/mine.toml"}, "scenario"),
        ("rollouts", {**NEW, "devices": 10**9}, "devices"),
    ],
)
def test_a_wrong_body_is_one_sentence(studio, client, path, body, what):
    before = studio.snapshot["version"]
    answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == 422 and what in answer.json()["error"]
    assert studio.snapshot["version"] == before


def test_a_body_that_is_too_large_or_of_no_length_is_refused(client):
    assert client.post("/api/step", content=b" " * 70_000, headers=JSON).status_code == 413
    assert client.post("/api/step", content=iter([b"{}"]), headers=JSON).status_code == 411


def test_what_is_ordered_is_done_and_what_is_not_possible_says_why(studio, client):
    assert client.post("/api/step", json={}).status_code == 200
    assert client.post("/api/faults", json={"scenario": "quality-2"}).status_code == 200
    crash = {"what": "crash", "plus": 0.1, "tiers": ["low"], "last_day": 1}
    assert client.post("/api/faults", json={"effect": crash}).status_code == 200
    now = studio.snapshot["now"]
    seen = {"status": now["status"], "stage": now["stage"]}
    reason = "<img src=x onerror=alert(1)>"
    assert client.post("/api/orders", json={"action": "pause", "reason": reason, **seen}).is_success
    told = client.get("/api/state").json()
    assert told["now"]["status"] == "paused" and len(told["faults"]) == 2
    assert told["faults"][1]["what"] == ["crash +10 %, low, days 1 to 2"]
    refused = client.post("/api/orders", json={"action": "resume", "reason": "x", **seen})
    assert refused.status_code == 409 and "has moved on to paused" in refused.json()["error"]
    seen["status"] = "paused"
    refused = client.post("/api/orders", json={"action": "advance", "reason": "x", **seen})
    assert refused.status_code == 409 and "it is possible when it is running" in refused.text
    assert reason not in client.get("/").text
    log = client.get("/api/log")
    read = play_back(log.content.splitlines(), "that was fetched")
    assert (
        read.decisions[-1].reason == reason and "attachment" in log.headers["content-disposition"]
    )


def test_a_page_that_listens_is_told_everything_once_and_then_what_is_new(studio):
    async def heard() -> list[dict]:
        stream = events(studio)
        found = [await anext(stream)]
        assert found == ["retry: 1000\n\n"]
        first = await anext(stream)
        await asyncio.to_thread(studio.step)
        second = await anext(stream)
        await stream.aclose()
        return [_data(first), _data(second)]

    first, second = asyncio.run(heard())
    assert first["days_from"] == 0 and len(first["days"]) == first["now"]["day"]
    assert second["version"] > first["version"]
    assert second["days_from"] == len(first["days"]) and len(second["days"]) == 1


def _data(event: str) -> dict:
    lines = dict(line.split(": ", 1) for line in event.strip().splitlines())
    assert lines["event"] == "state"
    data = json.loads(lines["data"])
    assert int(lines["id"]) == data["version"]
    return data


def test_the_palette_is_that_of_the_reports_for_both_schemes():
    sheet = palette()
    assert sheet.count("--paper: #fbfaf7") == 1 and sheet.count("--paper: #14171b") == 2
    light, _, dark = sheet.partition("@media")
    names = {part.split(":")[0].strip() for part in light.split(";") if "--" in part}
    colours = {name.split("{")[-1].strip() for name in names} - {"--serif", "--sans", "--mono"}
    assert all(name in dark for name in colours if name.startswith("--"))
