"""Watertight meshes by this project and by the alternatives that pip installs, on the same meshes.

usage: OMP_NUM_THREADS=1 python benchmarks/watertight.py --against [METHOD …] [--data FOLDER] [--limit N] [--images FILE]

Each mesh and method is one process with a bound on its CPU time: what crashes, hangs or gives nothing counts as failed.
Printed for each method, over the meshes that it gave a result for: CPU seconds (imports and compilation left out) and
peak memory of the process, medians; how many results are closed once equal vertices are merged; mean distances in the
longest edge, from the result's surface to the input and from what is seen of the input to the result; and for solids
of known inside the IoU of a million points.

Methods need: pip install point-cloud-utils pymeshlab mesh2sdf manifold3d pymeshfix. One that is not installed is left
out with a line.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.cut_open import cut_open, viewing_direction
from occnet_lib import seeds
from occnet_lib.config import ViewsConfig, WatertightConfig
from occnet_lib.geometry import occupancy
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.types import Mesh
from tests.support import geometry_solids as solids

LIMIT = 300  # CPU seconds a mesh
POINTS = 20_000
HARD = ("quat_Drawer_1", "ikea_chair_agam_0005", "kenney_lampSquareTable", "pm_bench", "gz_cafe_table")


def ours(mesh: Mesh) -> Mesh:
    """This project's stage with its defaults."""
    from occnet_lib.stages import watertight

    return watertight.run(mesh, WatertightConfig(), seeds.rng(0, "watertight")).mesh


def manifold_plus(mesh: Mesh) -> Mesh:
    """Manifold (Huang et al. 2018) as point-cloud-utils has it, at its usual resolution."""
    import point_cloud_utils as pcu

    return Mesh(*pcu.make_mesh_watertight(mesh.vertices, mesh.faces, 50_000))


def alpha_wrap(mesh: Mesh) -> Mesh:
    """CGAL's alpha wrap as pymeshlab has it: alpha 1 %, offset 0.3 % of the diagonal."""
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(mesh.vertices, mesh.faces))
    meshes.generate_alpha_wrap(alpha=pymeshlab.PercentageValue(1.0), offset=pymeshlab.PercentageValue(0.3))
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


def double_shell(mesh: Mesh) -> Mesh:
    """Marching cubes of epsilon - |distance| at 256³, as the public script of Hunyuan3D-2.1 has it.

    Edge 1 / 1.01, epsilon 2 / 256, a margin of 5 % on each side (tools/watertight/watertight_and_sample.py).
    """
    from skimage.measure import marching_cubes

    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    margin = 0.05 * (high - low)
    axes = [np.linspace(a, b, 256) for a, b in zip(low - margin, high + margin, strict=True)]
    field = np.zeros((256, 256, 256), np.float32)
    for i, x in enumerate(axes[0]):
        layer = np.stack(np.meshgrid(x, axes[1], axes[2], indexing="ij"), axis=-1).reshape(-1, 3)
        field[i] = 1.01 * 2 / 256 - occupancy.surface_distance(mesh, layer).reshape(256, 256)
    spacing = [float(axis[1] - axis[0]) for axis in axes]
    vertices, faces, _, _ = marching_cubes(field, 0.0, spacing=spacing, gradient_direction="ascent")
    return Mesh(vertices + (low - margin), faces.astype(np.int32))


METHODS: dict[str, tuple[str, Callable[[Mesh], Mesh]]] = {
    "occnet": ("", ours),
    "double shell": ("", double_shell),
    "Manifold": ("point_cloud_utils", manifold_plus),
    "alpha wrap": ("pymeshlab", alpha_wrap),
    "mesh2sdf": ("mesh2sdf", mesh_to_sdf),
    "manifold3d": ("manifold3d", manifold3d_as_is),
    "pymeshfix": ("pymeshfix", meshfix),
}


def known() -> dict[str, solids.Solid]:
    """Solids whose inside is known, turned so that no grid has an advantage."""
    turn = solids.rotation(1)
    made = {
        "sphere": solids.sphere,
        "torus": solids.torus,
        "chair": solids.chair,
        "bored block": solids.bored_block,
        "deep cup": solids.cup,
    }
    return {name: make().rotated(turn) for name, make in made.items()}


def seen_points(mesh: Mesh, count: int) -> np.ndarray:
    """Points of a mesh that rays from outside meet first, from 64 directions."""
    import open3d

    rng = np.random.default_rng(0)
    from occnet_lib.geometry.cameras import random_directions

    directions = random_directions(64, rng)
    each = count // 16  # most rays miss
    rays = np.zeros((64, each, 6), np.float32)
    for i, direction in enumerate(directions):
        side = np.linalg.qr(np.column_stack([direction, rng.normal(size=(3, 2))]))[0][:, 1:]
        offsets = rng.uniform(-0.9, 0.9, (each, 2)) @ side.T
        rays[i, :, :3], rays[i, :, 3:] = offsets + 2 * direction, -direction
    flat = rays.reshape(-1, 6)
    hit = occupancy.raycasting_scene(mesh).cast_rays(open3d.core.Tensor(flat), nthreads=1)["t_hit"].numpy()
    good = np.isfinite(hit)
    points = flat[good, :3] + hit[good, None] * flat[good, 3:]
    return points[rng.permutation(len(points))[:count]]


def measured(name: str, mesh_file: Path, out: Path) -> None:
    """In a process of its own: the result of one method on one mesh, with its figures."""
    import trimesh

    method = METHODS[name][1]
    with np.load(mesh_file) as data:
        mesh = Mesh(data["vertices"], data["faces"])
    method(unit_cube(solids.box_mesh((0, 0, 0), (1, 0.5, 0.7)))[0])  # imports, compilation
    start = process_time()
    made = method(mesh)
    seconds = process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    made = Mesh(np.asarray(made.vertices, float), np.ascontiguousarray(made.faces, np.int32))
    on_result = np.asarray(
        trimesh.sample.sample_surface(trimesh.Trimesh(made.vertices, made.faces), POINTS, seed=0)[0]
    )
    figures: dict[str, Any] = {
        "seconds": seconds,
        "memory": memory,
        "faces": len(made.faces),
        "closed": bool(trimesh.Trimesh(made.vertices, made.faces).is_watertight),
        "to_input": float(occupancy.surface_distance(mesh, on_result).mean()),
        "from_input": float(occupancy.surface_distance(made, seen_points(mesh, POINTS)).mean()),
    }
    np.savez(out.with_suffix(".npz"), vertices=made.vertices, faces=made.faces)
    out.write_text(json.dumps(figures))


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))


def attempt(name: str, mesh: Mesh, place: Path) -> tuple[dict[str, Any] | None, Mesh | None]:
    """Figures and result of a method on a mesh; None where it failed."""
    source, out = place / "mesh.npz", place / "figures.json"
    np.savez(source, vertices=mesh.vertices, faces=mesh.faces)
    for old in (out, out.with_suffix(".npz")):
        old.unlink(missing_ok=True)
    command = [sys.executable, __file__, name, str(source), str(out)]
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_limited, check=False
    )
    if not out.exists():
        return None, None
    with np.load(out.with_suffix(".npz")) as data:
        return json.loads(out.read_text()), Mesh(data["vertices"], data["faces"])


def iou(made: Mesh, solid: solids.Solid, loc: np.ndarray, scale: float) -> float:
    """Of a million uniform points."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (1_000_000, 3))
    exact, got = solid.inside(points * scale + loc), occupancy.contains(made, points)
    return float((exact & got).sum() / (exact | got).sum())


def compare(named: list[tuple[str, Mesh]], methods: list[str], drawing: Path | None) -> None:
    """Print the table, and draw the hard shapes."""
    drawn: dict[str, dict[str, Mesh]] = {}
    print(
        f"\n{len(named)} meshes; medians of CPU s, MB, faces; closed; mean distances result to input, input to result"
    )
    print("  of solids of known inside: IoU median, worst; failed: no result, both sets together")
    for name in methods:
        module = METHODS[name][0]
        if module and importlib.util.find_spec(module) is None:
            print(f"  {name:13s} left out: {module} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows, failed, agreement = [], 0, []
            for shape, mesh in named:
                unit = unit_cube(mesh)[0]
                row, made = attempt(name, unit, Path(folder))
                if row is None or made is None:
                    failed += 1
                    continue
                rows.append(row)
                if shape in HARD:
                    drawn.setdefault(shape, {"input": unit})[name] = made
            for solid in known().values():
                unit, loc, scale = unit_cube(solid.mesh)
                _, made = attempt(name, unit, Path(folder))
                agreement += [iou(made, solid, loc, scale)] if made is not None else []
        _print_row(name, rows, failed + len(known()) - len(agreement), agreement)
    if drawing is not None and drawn:
        draw(drawn, methods, drawing)


def _print_row(name: str, rows: list[dict[str, Any]], failed: int, agreement: list[float]) -> None:
    if not rows:
        print(f"  {name:13s} no result", flush=True)
        return
    medians = {key: float(np.median([row[key] for row in rows])) for key in rows[0]}
    closed = sum(row["closed"] for row in rows)
    known_ = f"{np.median(agreement):.4f} {min(agreement):.4f}" if agreement else "-"
    print(
        f"  {name:13s} {medians['seconds']:7.2f} s {medians['memory']:6.0f} MB {medians['faces']:8.0f}"
        f"  closed {closed:3d}/{len(rows):3d}  {medians['to_input']:.5f} {medians['from_input']:.5f}"
        f"  IoU {known_}  failed {failed}",
        flush=True,
    )


def draw(drawn: dict[str, dict[str, Mesh]], methods: list[str], path: Path) -> None:
    """A row a shape: the input and every method's result, whole, and below it cut open and seen from the open side."""
    from PIL import Image, ImageDraw

    from occnet_lib.geometry.cameras import choy_cameras
    from occnet_lib.rendering.views import render_views

    config = ViewsConfig(count=1, image_size=220, elevation=(20, 20), distance=(0.8, 0.8))
    columns = ["input", *methods]
    sheet = Image.new("RGB", (220 * len(columns), 440 * len(drawn) + 20), "white")
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        pen.text((220 * column + 5, 4), name, fill="black")
    for row, (_, meshes) in enumerate(sorted(drawn.items())):
        for column, name in enumerate(columns):
            if name not in meshes:
                continue
            mesh = meshes[name]
            cameras = choy_cameras(1, np.random.default_rng(5), config)
            middle = np.mean(meshes["input"].bounds, axis=0) + 1e-4  # not in a face
            half = cut_open(mesh, viewing_direction(cameras[1][0]), middle)
            for place, shown in enumerate((mesh, half)):
                scaled = Mesh(shown.vertices / np.linalg.norm(np.ptp(mesh.vertices, axis=0)), shown.faces)
                images, *_ = render_views(scaled, *cameras, config)
                sheet.paste(Image.fromarray(images[0]), (220 * column, 440 * row + 220 * place + 20))
    sheet.save(path)
    print(f"  {path}")


if __name__ == "__main__":
    measured(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
