"""The methods that `benchmarks/watertight.py --against` compares, and the process that measures one of them.

Methods other than this project's and the double shell need packages:
pip install point-cloud-utils pymeshlab mesh2sdf manifold3d pymeshfix.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, process_time, sleep
from typing import Any, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.memory import peak_memory
from occnet_lib import seeds
from occnet_lib.config import WatertightConfig
from occnet_lib.geometry import occupancy
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.types import Mesh
from tests.support import geometry_solids as solids

IDLE = 600.0, 20.0  # wall-clock time after which a fork hangs: seconds, and time limits beside these


def occnet_auto(mesh: Mesh) -> Mesh:
    """This project's stage with its defaults, by which the faces of solids are kept."""
    return _occnet(mesh, "auto")


def occnet_fused(mesh: Mesh) -> Mesh:
    """This project's stage, keeping no input as it is."""
    return _occnet(mesh, "flood_fill")


def _occnet(mesh: Mesh, method: Literal["auto", "flood_fill"]) -> Mesh:
    from occnet_lib.stages import watertight

    return watertight.run(mesh, WatertightConfig(method=method), seeds.rng(0, "watertight")).mesh


def manifold_plus(mesh: Mesh, resolution: int = 50_000) -> Mesh:
    """Manifold (Huang et al. 2018) as point-cloud-utils has it; its usual resolution (leaves of the octree)."""
    import point_cloud_utils as pcu

    return Mesh(*pcu.make_mesh_watertight(mesh.vertices, mesh.faces, resolution))


def alpha_wrap(mesh: Mesh, alpha: float = 1.0, offset: float = 0.3) -> Mesh:
    """CGAL's alpha wrap as pymeshlab has it; alpha and offset in per cent of the diagonal."""
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(mesh.vertices, mesh.faces))
    meshes.generate_alpha_wrap(
        alpha=pymeshlab.PercentageValue(alpha), offset=pymeshlab.PercentageValue(offset)
    )
    made = meshes.current_mesh()
    return Mesh(made.vertex_matrix(), made.face_matrix())


def mesh_to_sdf(mesh: Mesh) -> Mesh:
    """mesh2sdf (Wang 2022) with `fix` at 256 samples, which works in [-1, 1]."""
    import mesh2sdf

    scale = 1.6
    _, fixed = mesh2sdf.compute(
        mesh.vertices * scale, mesh.faces, 256, fix=True, level=2 / 256, return_mesh=True
    )
    return Mesh(np.asarray(fixed.vertices) / scale, np.asarray(fixed.faces))


def manifold3d_as_is(mesh: Mesh) -> Mesh:
    """manifold3d, which takes closed meshes without self-contact as they are and refuses others."""
    import manifold3d
    import trimesh

    merged = trimesh.Trimesh(mesh.vertices, mesh.faces)
    vertices, faces = merged.vertices.astype(np.float32), merged.faces.astype(np.uint32)
    body = manifold3d.Manifold(manifold3d.Mesh(vert_properties=vertices, tri_verts=faces))
    if body.status() != manifold3d.Error.NoError or body.is_empty():
        raise ValueError(f"refused: {body.status()}")
    out = body.to_mesh()
    return Mesh(np.asarray(out.vert_properties[:, :3], float), np.asarray(out.tri_verts, np.int32))


def meshfix(mesh: Mesh) -> Mesh:
    """MeshFix (Attene 2010) as pymeshfix has it, components joined."""
    import pymeshfix

    fixer = pymeshfix.MeshFix(mesh.vertices, mesh.faces)
    fixer.repair(joincomp=True)
    return Mesh(np.asarray(fixer.points, float), np.asarray(fixer.faces, np.int32))


def double_shell(mesh: Mesh, samples: int = 256, block: int = 8) -> Mesh:
    """Marching cubes of epsilon - |distance|, as the public script of Hunyuan3D-2.1 has it.

    Edge 1 / 1.01, epsilon 2 / 256, a margin of 5 % on each side, 256³ samples (hy3dshape/tools/watertight/
    watertight_and_sample.py, `Watertight`). The script evaluates the distance at all samples. Here, a block of samples
    whose centre's distance shows that no corner of a cell with the surface is in it gets its sign only, which gives the
    same mesh. `block=1` evaluates all samples.
    """
    from skimage.measure import marching_cubes

    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    margin = 0.05 * (high - low)
    axes = [np.linspace(a, b, samples) for a, b in zip(low - margin, high + margin, strict=True)]
    steps = np.array([axis[1] - axis[0] for axis in axes])
    epsilon = 1.01 * 2 / 256
    corner = np.stack(np.meshgrid(*[np.arange(0, samples, block)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    origin, middle = np.array([axis[0] for axis in axes]), (block - 1) / 2
    at_centre = epsilon - occupancy.surface_distance(mesh, origin + (corner + middle) * steps)
    reach = (middle + 1.0) * np.linalg.norm(steps) + 1e-5  # half a block and a cell
    near = np.abs(at_centre) <= reach if block > 1 else np.ones(len(corner), bool)
    coarse = np.sign(at_centre).astype(np.float32).reshape([len(range(0, samples, block))] * 3)
    field = coarse.repeat(block, 0).repeat(block, 1).repeat(block, 2)[:samples, :samples, :samples].copy()
    offsets = np.stack(np.meshgrid(*[np.arange(block)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for some in np.array_split(corner[near], max(1, near.sum() * block**3 // 1_000_000)):
        index = (some[:, None] + offsets).reshape(-1, 3)
        index = index[(index < samples).all(axis=1)]
        points = np.stack([axes[k][index[:, k]] for k in range(3)], axis=1)
        field[tuple(index.T)] = epsilon - occupancy.surface_distance(mesh, points)
    vertices, faces, _, _ = marching_cubes(field, 0.0, spacing=tuple(steps), gradient_direction="ascent")
    return Mesh(vertices + origin, faces.astype(np.int32))


@dataclass(frozen=True)
class Method:
    """A way to close meshes in the unit frame.

    Attributes:
        title: its name in tables, with the settings.
        package: that pip installs it from, and the module to import; empty for code of this repository.
        close: the function.
        slow: it takes tens of CPU seconds a mesh.
    """

    title: str
    package: tuple[str, str] | None
    close: Callable[[Mesh], Mesh]
    slow: bool = False


_PCU, _PYMESHLAB = ("point-cloud-utils", "point_cloud_utils"), ("pymeshlab", "pymeshlab")
METHODS = {
    "occnet": Method("occnet (`auto`, the default)", None, occnet_auto),
    "occnet fused": Method("occnet, nothing kept (`flood_fill`)", None, occnet_fused),
    "Manifold": Method("Manifold (Huang et al. 2018), 50,000", _PCU, manifold_plus),
    "alpha wrap": Method("CGAL's alpha wrap, 1 %, 0.3 %", _PYMESHLAB, alpha_wrap),
    "alpha wrap fine": Method(
        "CGAL's alpha wrap, 0.4 %, 0.05 %", _PYMESHLAB, partial(alpha_wrap, alpha=0.4, offset=0.05), slow=True
    ),
    "double shell": Method("double shell at 256³ (Hunyuan3D-2.1's script)", None, double_shell),
    "mesh2sdf": Method("mesh2sdf (Wang et al. 2022), 256³", ("mesh2sdf", "mesh2sdf"), mesh_to_sdf, slow=True),
    "manifold3d": Method("manifold3d, as it is", ("manifold3d", "manifold3d"), manifold3d_as_is),
    "pymeshfix": Method("MeshFix (pymeshfix)", ("pymeshfix", "pymeshfix"), meshfix),
}


def serve(name: str, limit: float, jobs: list[tuple[Path, Path]]) -> None:
    """Measure a method on shapes, each in a fork of this process, whose libraries are loaded and compiled.

    Prints a JSON line for each shape: the file and the exit code, negative for a signal, or null where the fork hung
    (`idle_limit`).

    Args:
        name: key of METHODS.
        limit: CPU seconds for the method on one shape, after which the kernel ends the fork with SIGXCPU.
        jobs: input file and output file without suffix of each shape; see `measure`.
    """
    box = unit_cube(solids.box_mesh((0, 0, 0), (1, 0.5, 0.7)))[0]
    for mesh in (box, Mesh(box.vertices, box.faces[2:])):
        with contextlib.suppress(Exception):  # It may refuse open meshes.
            METHODS[name].close(mesh)
    _load_measuring()
    for shape, out in jobs:
        pid = os.fork()
        if pid == 0:
            log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(log, 1)  # Some libraries print to it.
            os.dup2(log, 2)
            code = 1
            try:
                measure(name, shape, out, limit)
                code = 0
            except BaseException as error:
                os.write(log, f"{type(error).__name__}: {error}\n".encode())
            os._exit(code)
        print(json.dumps({"file": str(shape), "code": _wait(pid, idle_limit(limit))}), flush=True)


def idle_limit(limit: float) -> float:
    """Seconds of wall-clock time after which a fork is ended; it waits for something, or the machine is very busy."""
    return IDLE[0] + IDLE[1] * limit


def _wait(pid: int, seconds: float) -> int | None:
    """The exit code of a child; None if it had to be killed."""
    end = monotonic() + seconds
    while monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _load_measuring() -> None:
    """Load what measures, so that the forks need not."""
    import trimesh

    box = solids.box_mesh((0, 0, 0), (1, 0.5, 0.7))
    trimesh.sample.sample_surface(trimesh.Trimesh(box.vertices, box.faces), 10, seed=0)
    occupancy.surface_distance(box, np.zeros((1, 3)))


def measure(name: str, shape: Path, out: Path, limit: float) -> None:
    """Write the result of one method on one mesh (`out`, .npz) and its figures (`out`, .json).

    Args:
        name: key of METHODS.
        shape: .npz with vertices, faces, points that are visible, and points of known occupancy, which may be none.
        out: file name without suffix.
        limit: CPU seconds for the method alone.
    """
    import trimesh

    with np.load(shape) as data:
        mesh = Mesh(data["vertices"], data["faces"])
        points, inside, seen = data["points"], data["inside"], data["seen"]
    unlimited = resource.getrlimit(resource.RLIMIT_CPU)
    start = process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(np.ceil(start + limit)), unlimited[1]))
    made = METHODS[name].close(mesh)
    seconds = process_time() - start
    resource.setrlimit(resource.RLIMIT_CPU, unlimited)
    memory = 1000 * peak_memory()
    made = Mesh(np.asarray(made.vertices, float), np.ascontiguousarray(made.faces, np.int32))
    if not len(made.faces):
        raise ValueError("an empty mesh")
    merged = trimesh.Trimesh(made.vertices, made.faces)
    on_result = np.asarray(trimesh.sample.sample_surface(merged, len(seen), seed=0)[0])
    figures: dict[str, Any] = {
        "seconds": seconds,
        "memory": memory,
        "faces": len(made.faces),
        "closed": bool(merged.is_watertight),
        "to_input": float(occupancy.surface_distance(mesh, on_result).mean()),
        "from_input": float(occupancy.surface_distance(made, seen).mean()),
    }
    if len(points):
        got = occupancy.contains(made, points)
        figures["iou"] = float((inside & got).sum() / (inside | got).sum())
    np.savez(out.with_suffix(".npz"), vertices=made.vertices, faces=made.faces)
    out.with_suffix(".json").write_text(json.dumps(figures))


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[3:]]
    serve(sys.argv[1], float(sys.argv[2]), list(zip(given[::2], given[1::2], strict=True)))
