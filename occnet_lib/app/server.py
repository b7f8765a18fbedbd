"""The server of the page: Gradio behind the guard, on one socket, until it is interrupted."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import DependencyError, OccnetError

from .checkpoints import Networks
from .guard import Guard
from .uploads import MOST_BYTES
from .workspace import Workspace

_GRACE = 1  # seconds that open connections have on exit


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Args:
        host: address or name.
        port: 0: any free one.

    Raises:
        OccnetError: the port is in use, or the address is not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "name another one: --port 0 takes any that is free"
        raise OccnetError(f"cannot listen at {host}:{port}: {reason.lower()}", hint=hint) from error


def check_gradio(workspace: Workspace) -> None:
    """Import Gradio with its folders in the workspace.

    Raises:
        DependencyError: the extra `app` is not installed.
    """
    set_environment(workspace)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            f"the page needs the package {error.name or 'gradio'}", hint="pip install 'occnet[app]'"
        ) from error


def serve(networks: Networks, config: Config, address: socket.socket, workspace: Workspace) -> None:
    """Serve the page until the process is interrupted or terminated."""
    import uvicorn

    application = Guard(create_application(networks, config, workspace), workspace, address.getsockname()[0])
    settings = uvicorn.Config(
        application, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE, ws="none"
    )
    with _terminated_by_exception():
        uvicorn.Server(settings).run(sockets=[address])


def create_application(networks: Networks, config: Config, workspace: Workspace) -> Any:
    """Gradio's application, without analytics, sharing, requests to other hosts or files of other folders."""
    import gradio
    from fastapi import FastAPI

    from .page import Page

    blocks = Page(networks, config, workspace).build()
    style = Path(__file__).parent / "static" / "app.css"
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    application = gradio.mount_gradio_app(
        FastAPI(openapi_url=None),
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        blocked_paths=[],
        show_error=True,
        max_file_size=MOST_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        root_path="",
        theme=theme,
        css=style.read_text("utf-8"),
    )
    blocks.has_launched = True  # else Gradio does not check the files that events name
    return application


def set_environment(workspace: Workspace) -> None:
    """Drop Gradio's environment variables, which could share the page or serve other folders, and set its folders."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(workspace.cache),
        "GRADIO_EXAMPLES_CACHE": str(workspace.cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


@contextmanager
def _terminated_by_exception() -> Iterator[None]:
    """A termination signal ends the block by an exception, so that the workspace is removed."""

    def end(number: int, _: Any) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
