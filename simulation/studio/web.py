"""The studio as a web application: thin, loopback only (`guards`); a studio does the work.

    GET  /                 the page            POST /api/orders    advance, pause, roll back, ...
    GET  /static/...       script and style    POST /api/faults    something goes wrong
    GET  /api/state        everything          POST /api/play      start or stop the clock
    GET  /api/events       changes, as SSE     POST /api/step      one day
    GET  /api/log          the log, as lines   POST /api/rollouts  a new rollout
    GET  /api/phones...    a phone of a finished run (`phone_api`)

A mistake is {"error": "one sentence"} with a status from 400 on.
"""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models.errors import DataError, PocketfleetError
from simulation.experiments.rollout.rollout_plan import own_plans
from simulation.experiments.rollout.scenarios import CHANCES, FACTORS, load_scenario, own_scenarios
from simulation.studio.bodies import FaultBody, OrderBody, PlayBody, RolloutBody, StepBody
from simulation.studio.driver import Studio
from simulation.studio.events import events
from simulation.studio.guards import LoopbackOnly
from simulation.studio.palette import palette
from simulation.studio.phone_api import phone_router
from simulation.studio.rollout_setup import FEWEST_DEVICES, MOST_DEVICES, load_setup

if TYPE_CHECKING:  # it knows a whole run, and loads torch with it
    from simulation.studio.phone_preview import PhonePreview

_HOME = resources.files("simulation.studio")


def make_app(studio: Studio, port: int, phones: "PhonePreview | None" = None) -> FastAPI:
    """Make the application.

    Args:
        studio: what the page looks at and changes.
        port: that will be served; requests to any other are refused.
        phones: of a finished run, to look into; None: the page says how to get one.
    """
    app = FastAPI(title="Pocketfleet studio", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(LoopbackOnly, port=port)
    app.include_router(_pages())
    app.include_router(_reads(studio))
    app.include_router(_changes(studio))
    app.include_router(phone_router(phones))
    app.mount("/static", StaticFiles(directory=Path(str(_HOME / "static"))))
    app.add_exception_handler(PocketfleetError, _on_mistake)
    app.add_exception_handler(RequestValidationError, _on_wrong_body)
    app.add_exception_handler(HTTPException, _on_http)
    return app


def _pages() -> APIRouter:
    router, page, colours = APIRouter(), _page(), palette()

    @router.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(page)

    @router.get("/static/palette.css")
    def colour_sheet() -> Response:
        return Response(colours, media_type="text/css")

    return router


def _reads(studio: Studio) -> APIRouter:
    router = APIRouter(prefix="/api")

    @router.get("/state")
    def state() -> JSONResponse:
        return JSONResponse(studio.snapshot)

    @router.get("/events")
    async def stream() -> StreamingResponse:
        return StreamingResponse(events(studio), media_type="text/event-stream")

    @router.get("/log")
    def log() -> PlainTextResponse:
        named = {"Content-Disposition": 'attachment; filename="decisions.jsonl"'}
        return PlainTextResponse(studio.log(), headers=named, media_type="application/jsonl")

    return router


def _changes(studio: Studio) -> APIRouter:
    router = APIRouter(prefix="/api")

    @router.post("/orders")
    def order(body: OrderBody) -> JSONResponse:
        return _done(studio.order(body.action, body.reason, (body.status, body.stage)))

    @router.post("/faults")
    def fault(body: FaultBody) -> JSONResponse:
        if body.effect:
            return _done(studio.inject(f"{body.effect.what}, by hand", [body.effect]))
        scenario = load_scenario(body.scenario or "")
        return _done(studio.inject(scenario.title, scenario.effects))

    @router.post("/play")
    def play(body: PlayBody) -> JSONResponse:
        return _done(studio.play(body.playing, body.days_per_second))

    @router.post("/step")
    def step(body: StepBody) -> JSONResponse:
        return _done(studio.step())

    @router.post("/rollouts")
    def begin(body: RolloutBody) -> JSONResponse:
        studio.begin(load_setup(body.scenario, body.plan, body.devices, body.seed))
        return JSONResponse({"version": studio.snapshot["version"]}, status_code=202)

    return router


def _done(snapshot: dict[str, Any]) -> JSONResponse:
    """What was asked is done, and on the disk; the stream tells the rest."""
    return JSONResponse({"version": snapshot["version"]})


def _page() -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scenarios = [load_scenario(name) for name in own_scenarios()]
    return environment.from_string((_HOME / "page.html").read_text("utf-8")).render(
        scenarios=sorted(scenarios, key=lambda each: (bool(each.effects), each.name)),
        plans=own_plans(),
        factors=FACTORS,
        chances=CHANCES,
        fewest=FEWEST_DEVICES,
        most=MOST_DEVICES,
    )


async def _on_mistake(request: Request, error: Exception) -> JSONResponse:
    status = 500 if isinstance(error, DataError) else 409
    return JSONResponse({"error": str(error)}, status_code=status)


async def _on_wrong_body(request: Request, error: Exception) -> JSONResponse:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    where = ".".join(str(part) for part in first.get("loc", ()) if part != "body") or "the body"
    told = str(first.get("msg", "is wrong")).removeprefix("Value error, ")
    return JSONResponse({"error": f"{where}: {told}"}, status_code=422)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = error.detail if isinstance(error, HTTPException) else "something went wrong"
    return JSONResponse({"error": told}, status_code=status)
