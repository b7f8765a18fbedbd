"""occnet: single-view 3D reconstruction with occupancy networks, from raw meshes to a report.

`import occnet_lib as occnet` gives the functions of `occnet_lib.api` and the records that they take and return. They are
imported at first use, so that the import itself loads no library.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Config",
    "Mesh",
    "OccnetError",
    "PointSamples",
    "Reconstruction",
    "Samples",
    "ShapeKey",
    "Shard",
    "Views",
    "Watertight",
    "evaluate",
    "list_shapes",
    "load_config",
    "load_mesh",
    "open_pack",
    "reconstruct",
    "render_views",
    "sample_points",
    "sample_sets",
    "save_mesh",
    "train",
    "train_refinement",
    "watertight",
    "write_pack",
]

_MODULES = {
    "api.files": ("list_shapes", "load_config", "load_mesh", "open_pack", "save_mesh", "write_pack"),
    "api.evaluation": ("evaluate",),
    "api.models": ("reconstruct", "train", "train_refinement"),
    "api.shapes": ("render_views", "sample_points", "sample_sets", "watertight"),
    "config": ("Config",),
    "errors": ("OccnetError",),
    "evaluation.metrics": ("Comparison",),
    "reconstruction.reconstruct": ("Reconstruction",),
    "types": ("Mesh", "PointSamples", "Samples", "ShapeKey", "Views", "Watertight"),
    "storage.packs": ("Shard",),
}

if TYPE_CHECKING:
    from .api.evaluation import evaluate
    from .api.files import list_shapes, load_config, load_mesh, open_pack, save_mesh, write_pack
    from .api.models import reconstruct, train
    from .api.shapes import render_views, sample_points, sample_sets, watertight
    from .config import Config
    from .errors import OccnetError
    from .evaluation.metrics import Comparison
    from .reconstruction.reconstruct import Reconstruction
    from .storage.packs import Shard
    from .types import Mesh, PointSamples, Samples, ShapeKey, Views, Watertight

else:  # hidden from type checkers, to which it would make every name valid

    def __getattr__(name: str) -> object:
        """Import a public name at its first use."""
        for module, names in _MODULES.items():
            if name in names:
                from importlib import import_module

                globals()[name] = value = getattr(import_module(f".{module}", __name__), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
