"""What a browser may request of the server: the routes that the page needs, and no file outside the workspace.

Gradio has many more routes (fetching URLs, proxies, editing its own code); requests to them get 404. Written as plain
ASGI, so that it stands before Gradio's own code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .workspace import Workspace

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

_FILE = "/gradio_api/file="
_UPLOAD = "/gradio_api/upload"
_BLOB = "/gradio_api/component_server"
_GET = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/assets/[\w.-]+|/static/[\w./-]+"
    r"|/gradio_api/(info|startup-events|queue/data|upload_progress|heartbeat/\w+)"
)
_POST = re.compile(r"/gradio_api/(upload|component_server|queue/join|reset|cancel)/?")
_LARGEST = {_UPLOAD: 500_000_000, _BLOB: 16_000_000}  # bytes of a request's body
_LARGEST_JSON = 1_000_000
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; font-src 'self' data:; object-src 'none'; frame-ancestors 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_FILE_POLICY = "default-src 'none'; sandbox"


class RefusedError(Exception):
    """A request that the page never makes: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """ASGI middleware before Gradio.

    Args:
        app: Gradio's application.
        workspace: files outside its folder for downloads are refused.
        host: the address that the server is bound to.
    """

    def __init__(self, app: Asgi, workspace: Workspace, host: str) -> None:
        self._app, self._workspace, self._host = app, workspace, host

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        method, path = scope["method"], scope["path"]
        try:
            check_origin(headers, self._host)
            check_route(method, path, self._workspace.cache)
            check_length(method, path, headers)
            if path.startswith(_UPLOAD) and self._workspace.is_full:
                raise RefusedError(
                    507, "the server's folder for uploads is full; close other tabs of this page"
                )
            if path.startswith("/gradio_api/queue/join"):
                receive = await _checked(receive, self._workspace.cache)
        except RefusedError as error:
            await _answer(send, error)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = _HEADERS | (
                    {"content-security-policy": _FILE_POLICY} if path.startswith(_FILE) else {}
                )
                encoded = [(name.encode(), value.encode()) for name, value in extra.items()]
                message = {**message, "headers": [*message.get("headers", []), *encoded]}
            await send(message)

        body = _Body(receive)
        try:
            await self._app(scope, body.receive, answer)
        except Exception:
            if not body.is_interrupted:
                raise


def check_origin(headers: dict[str, str], host: str) -> None:
    """Refuse requests that a page of another site makes, also under a name that points to this machine.

    Args:
        headers: of the request, names in lower case.
        host: the address that the server is bound to; a name in the request is checked if it is a loopback address.

    Raises:
        RefusedError: the request comes from elsewhere.
    """
    requested = headers.get("host", "")
    if host in _LOOPBACK and urlsplit(f"//{requested}").hostname not in _LOOPBACK:
        raise RefusedError(421, "unknown host")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != requested:
        raise RefusedError(403, "request of another site")
    is_link = headers.get("sec-fetch-mode") == "navigate"
    if not is_link and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise RefusedError(403, "request of another site")


def check_route(method: str, path: str, folder: Path) -> None:
    """Refuse routes that the page does not use, and files outside a folder.

    Args:
        method: HTTP method.
        path: decoded path of the URL.
        folder: of the files to download.

    Raises:
        RefusedError: with status 404, or 403 for a file.
    """
    if method in ("GET", "HEAD") and path.startswith(_FILE):
        if not is_inside(path[len(_FILE) :], folder):
            raise RefusedError(403, "file not allowed")
        return
    pattern = {"GET": _GET, "HEAD": _GET, "POST": _POST}.get(method)
    if pattern is None or not pattern.fullmatch(path) or ".." in path:
        raise RefusedError(404, "not found")


def check_length(method: str, path: str, headers: dict[str, str]) -> None:
    """Refuse bodies without a length or with more bytes than the page sends.

    Raises:
        RefusedError: with status 411 or 413.
    """
    if method != "POST":
        return
    length = headers.get("content-length", "")
    if not length.isdecimal():
        raise RefusedError(411, "length required")
    if int(length) > _LARGEST.get(path.rstrip("/"), _LARGEST_JSON):
        raise RefusedError(413, "too large")


def is_inside(path: str, folder: Path) -> bool:
    """Whether a path, also through links and when decoded once more, is that of a file in a folder."""
    for text in {path, unquote(path)}:
        if "\0" in text or not text.startswith("/"):
            return False
        try:
            if not Path(text).resolve().is_relative_to(folder.resolve()):
                return False
        except (OSError, RuntimeError):
            return False
    return True


def check_files(value: Any, folder: Path) -> None:
    """Refuse the data of an event that names a file outside a folder, or a URL, which Gradio would fetch.

    Raises:
        RefusedError: with status 403.
    """
    if isinstance(value, list):
        for item in value:
            check_files(item, folder)
    elif isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and not is_inside(path, folder):
            raise RefusedError(403, "file not allowed")
        for item in value.values():
            check_files(item, folder)


class _Body:
    """A request's body, of which a part is missing if the browser closes the connection, as when its tab is closed."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._is_whole, self.is_interrupted = receive, False, False

    async def receive(self) -> Message:
        """The next message; a missing part is the error after which Gradio removes the files that it has begun."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._is_whole = not message.get("more_body", False)
        elif not self._is_whole:
            from starlette.formparsers import MultiPartException

            self.is_interrupted = True
            raise MultiPartException("the connection was closed before the whole body had arrived")
        return message


async def _checked(receive: Receive, folder: Path) -> Receive:
    """Read and check the body of an event, and return it again."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST_JSON:
            raise RefusedError(413, "too large")
        if not message.get("more_body"):
            break
    try:
        check_files(json.loads(body), folder)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "not JSON") from error
    done = False

    async def again() -> Message:
        nonlocal done
        if done:
            return await receive()
        done = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, error: RefusedError) -> None:
    head = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": error.status, "headers": head})
    await send({"type": "http.response.body", "body": error.reason.encode()})
