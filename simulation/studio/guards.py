"""What stands between the studio and everything else in a browser.

A page of another origin can make a browser send requests to a port of this machine; a name of
somebody else's can be made to mean 127.0.0.1 (DNS rebinding). So:

* `Host` must be a loopback name and the port that is served;
* `Origin`, where there is one, must be the same, and everything but GET and HEAD must have one;
* what is posted is JSON by its content type (a form cannot say that), and small;
* the page may load, send to and be framed by nothing but itself: no inline script, no style.
"""

import json
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 64_000
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_READS = ("GET", "HEAD")


class LoopbackOnly:
    """The middleware around the whole studio.

    Args:
        app: what is guarded.
        port: that is served.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in LOOPBACK_NAMES}
        if port == 80:
            self._hosts |= set(LOOPBACK_NAMES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = _with_headers(send, scope["path"])
        refused = self._refusal(scope["method"], Headers(scope=scope))
        if refused:
            await _refuse(guarded, *refused)
            return
        await self._app(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) != 1 or host not in self._hosts:
            return 421, "this studio answers only on its loopback address and port"
        if origin is None and method not in _READS:
            return 403, f"{method} without an Origin: use the studio's own page"
        if origin is not None and origin != f"http://{host}":
            return 403, "requests of another origin are refused"
        if method in _READS:
            return None
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415, "the body must be application/json"
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411, "the body must have a Content-Length"
        if int(length) > LARGEST_BODY_BYTES:
            return 413, f"the body has {length} bytes, {LARGEST_BODY_BYTES:,} are the most"
        return None


def _with_headers(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if path.startswith("/api/") or path == "/":
                headers["Cache-Control"] = "no-store"
            else:
                headers["Cache-Control"] = "no-cache"
        await send(message)

    return sending


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
