"""A page that holds the look into phones and nothing else, served as the studio serves it."""

import contextlib
import threading
from collections.abc import Iterator
from importlib import resources

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request
from starlette.responses import Response

from simulation.studio.phone_api import phone_router
from simulation.studio.phone_preview import PhonePreview

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>phones</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/look.css">
<link rel="stylesheet" href="/static/phone.css"><script type="module" src="/start.js"></script>
</head><body><main><section id="phone"></section></main></body></html>"""
START = """import { mountPhone } from "/static/phone.js";
mountPhone(document.querySelector("#phone"));"""


def phone_page(preview: PhonePreview | None) -> FastAPI:
    """An app with the page, the routes and the studio's content security policy."""
    app = FastAPI()
    app.include_router(phone_router(preview))
    home = resources.files("simulation")
    app.mount("/static", StaticFiles(directory=str(home / "studio" / "static")))

    @app.middleware("http")
    async def guard(request: Request, answer) -> Response:
        response = await answer(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.get("/start.js")
    def start() -> Response:
        return Response(START, media_type="text/javascript")

    @app.get("/look.css")
    def look() -> Response:
        style = (home / "reporting" / "report.css").read_text("utf-8")
        return Response(style, media_type="text/css")

    return app


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve on a free port of the loopback; give the address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()
