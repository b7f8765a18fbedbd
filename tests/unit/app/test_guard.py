"""What a browser may request."""

from __future__ import annotations

import asyncio
import json

import pytest

from occnet_lib.app import guard
from occnet_lib.app.guard import Guard, RefusedError, check_files, check_origin, check_route
from occnet_lib.app.workspace import Workspace

SAME = {"host": "127.0.0.1:7860"}


@pytest.fixture
def space(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Workspace() as workspace:
        (workspace.cache / "mesh.glb").write_bytes(b"glTF")
        (workspace.cache / "link.png").symlink_to("/etc/passwd")
        yield workspace


@pytest.mark.parametrize(
    "path", ["/", "/config", "/assets/index-a1.js", "/static/fonts/x.woff2", "/gradio_api/queue/data"]
)
def test_routes_of_the_page(space, path):
    check_route("GET", path, space.cache)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=http://example.org/"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/monitoring"),
        ("GET", "/static/../../../etc/passwd"),
        ("GET", "/assets/%2e%2e/x"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/svelte/../../x"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/run/reconstruct"),
        ("POST", "/gradio_api/call/reconstruct"),
        ("POST", "/gradio_api/run-history/connect"),
        ("POST", "/gradio_api/process_recording"),
        ("PUT", "/"),
        ("OPTIONS", "/gradio_api/upload"),
        ("DELETE", "/gradio_api/upload"),
    ],
)
def test_other_routes_do_not_exist(space, method, path):
    with pytest.raises(RefusedError) as refused:
        check_route(method, path, space.cache)
    assert refused.value.status == 404


def test_files_are_those_of_the_workspace(space):
    route = "/gradio_api/file="
    check_route("GET", f"{route}{space.cache}/mesh.glb", space.cache)
    for path in (
        "/etc/passwd",
        f"{space.cache}/../.lock",
        f"{space.cache}/%2e%2e/.lock",
        f"{space.cache}/link.png",
        f"{space.cache}/x\0.png",
        "http://example.org/x.png",
        "cache/mesh.glb",
        "",
    ):
        with pytest.raises(RefusedError):
            check_route("GET", f"{route}{path}", space.cache)


def test_events_name_files_of_the_workspace_alone(space):
    inside = {"path": f"{space.cache}/mesh.glb", "meta": {"_type": "gradio.FileData"}}
    check_files({"data": [[inside], None, 1, {"background": inside, "layers": []}]}, space.cache)
    for path in ("/etc/passwd", "http://127.0.0.1:22/", "../x", f"{space.cache}/link.png"):
        with pytest.raises(RefusedError):
            check_files({"data": [{"layers": [{"path": path}]}]}, space.cache)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7860"},
        {},
        SAME | {"origin": "http://evil.example"},
        SAME | {"origin": "null"},
        SAME | {"origin": "http://127.0.0.1:8888"},
        SAME | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_requests_of_other_sites_are_refused(headers):
    with pytest.raises(RefusedError):
        check_origin(headers, "127.0.0.1")


def test_requests_of_the_page_and_links_to_it_are_not():
    check_origin(SAME, "127.0.0.1")
    check_origin({"host": "localhost:7860", "origin": "http://localhost:7860"}, "127.0.0.1")
    check_origin({"host": "[::1]:7860", "origin": "http://[::1]:7860"}, "::1")
    check_origin(SAME | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "127.0.0.1")
    check_origin({"host": "server.local:7860"}, "0.0.0.0")


def call(space, method, path, body=b"", **headers) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of a request, and what the application behind the guard read is its body."""
    sent = []

    async def application(scope, receive, send):
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    named = {"host": "127.0.0.1:1", "content-length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    asyncio.run(Guard(application, space, "127.0.0.1")(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_bodies_have_limits_and_reach_the_application_whole(space, monkeypatch):
    join = "/gradio_api/queue/join"
    event = json.dumps({"data": [1, None], "fn_index": 3}).encode()
    assert call(space, "POST", join, event)[::2] == (200, event)
    assert call(space, "POST", join, json.dumps({"data": [{"path": "/etc/passwd"}]}).encode())[0] == 403
    assert call(space, "POST", join, b"{")[0] == 400
    assert call(space, "POST", join, b"[" * 100_000)[0] == 400
    assert call(space, "POST", join, event, content_length="2000000")[0] == 413
    assert call(space, "POST", join, b"x" * 1_000_001, content_length="5")[0] == 413
    assert call(space, "POST", "/gradio_api/upload", b"x", content_length="")[0] == 411
    assert call(space, "POST", "/gradio_api/upload", b"x", content_length="500000001")[0] == 413
    assert call(space, "POST", "/gradio_api/upload", b"x")[0] == 200
    monkeypatch.setattr("occnet_lib.app.workspace.MOST_BYTES", 1)
    assert call(space, "POST", "/gradio_api/upload", b"x")[0] == 507


def test_answers_have_a_content_security_policy(space):
    status, headers, _ = call(space, "GET", "/")
    assert status == 200
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "http" not in policy
    _, headers, _ = call(space, "GET", f"/gradio_api/file={space.cache}/mesh.glb")
    assert headers[b"content-security-policy"] == guard._FILE_POLICY.encode()
    assert headers[b"x-content-type-options"] == b"nosniff"
