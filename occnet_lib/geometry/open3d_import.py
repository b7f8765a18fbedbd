"""Open3D without dash and plotly, which are more than half of its import and draw in notebooks only."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from occnet_lib.deferred import deferring

_PLOTLY = "open3d.visualization.draw_plotly"


@cache
def import_open3d() -> Any:
    """The module open3d."""
    with deferring(_PLOTLY, "draw_plotly", "draw_plotly_server", "get_plotly_fig"):
        import open3d

    return open3d


def float32_tensor(values: ArrayLike) -> Any:
    """An open3d tensor of float32."""
    return import_open3d().core.Tensor.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
