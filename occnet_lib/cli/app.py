"""`occnet app`: a local page that reconstructs photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from occnet_lib.config import Config
from occnet_lib.logs import echo

from .arguments import Graph


def app(
    models: Annotated[Path, "results folder with trained models, or a best.ckpt"],
    config: Config,
    *,
    host: Annotated[
        str, "address to listen at; the default is reachable from this machine alone"
    ] = "127.0.0.1",
    port: Annotated[int, "port to listen at; 0: any that is free"] = 7860,
    graph: Graph = None,
    open: Annotated[bool, "open the page in a browser"] = False,
) -> str:
    """Local page in the browser: photos to a mesh, with masks that a brush corrects."""
    from occnet_lib.app.checkpoints import Networks, find_checkpoints
    from occnet_lib.app.server import check_gradio, listen, serve
    from occnet_lib.app.workspace import Workspace

    networks = Networks(find_checkpoints(models), graph)
    with Workspace() as workspace, listen(host, port) as address:
        check_gradio(workspace)
        # Errors end here, not in the page.
        networks.load(next(iter(networks.checkpoints)), config.reconstruct)
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{address.getsockname()[1]}/"
        echo(f"{url} (Ctrl-C ends it)")
        if open:
            import webbrowser

            webbrowser.open(url)
        serve(networks, config, address, workspace)
    return ""
