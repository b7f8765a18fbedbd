"""Make the images of docs/explanation from analytic and demo shapes: `python docs/figures.py [NAME …]`.

`python docs/figures.py demo` makes README's image from the results of `make demo`;
`python docs/figures.py side_by_side` makes that of closed meshes (with point-cloud-utils,
pymeshlab, manifold3d, pymeshfix).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

import occnet_lib as occnet

mpl.use("Agg")

import matplotlib.pyplot as plt

OUT = Path(__file__).parent / "images"
BLUE, ORANGE, GREY = "#2f6690", "#d1603d", "#8a8f94"
Array = NDArray[Any]


def main(names: list[str]) -> None:
    """Make the named figures, or all."""
    plt.rcParams |= {"font.size": 9, "axes.titlesize": 9, "savefig.dpi": 110}
    if names == ["demo"]:
        demo().save(OUT.parent / "demo.png", optimize=True)
        sys.stdout.write(f"{OUT.parent / 'demo.png'}\n")
        return
    if names == ["side_by_side"]:
        side_by_side().save(OUT / "side_by_side.png", optimize=True)
        sys.stdout.write(f"{OUT / 'side_by_side.png'}\n")
        return
    for name in names or list(FIGURES):
        figure = FIGURES[name]()
        figure.savefig(OUT / f"{name}.png", bbox_inches="tight", pil_kwargs={"optimize": True})
        plt.close(figure)
        sys.stdout.write(f"{OUT / f'{name}.png'}\n")


def side_by_side() -> Any:
    """Five generated shapes closed by this project and by alternatives."""
    from tempfile import TemporaryDirectory

    from PIL import Image

    sys.path.insert(0, str(OUT.parents[1]))
    from benchmarks import side_by_side as benchmark

    wanted = ("occnet", "Manifold", "alpha wrap", "double shell", "manifold3d", "pymeshfix")
    methods = [name for name in wanted if benchmark.is_installed(name)]
    with TemporaryDirectory() as folder:
        benchmark.draw([], methods, Path(folder), 120.0, Path(folder))
        return Image.open(Path(folder) / "generated.png").copy()


def raw_shape() -> occnet.Mesh:
    """What raw meshes are like: a body of two overlapping boxes with an inner wall, a cup and a sheet without thickness."""
    import trimesh

    def box(size: tuple[float, float, float], at: tuple[float, float, float]) -> trimesh.Trimesh:
        return trimesh.creation.box(size, trimesh.transformations.translation_matrix(at))

    cup = box((0.36, 0.5, 0.36), (0.42, 0.0, 0.0))
    cup.update_faces(cup.face_normals[:, 1] < 0.5)  # open at the top
    parts = [
        box((0.5, 0.3, 0.5), (-0.25, -0.1, 0.0)),
        box((0.3, 0.44, 0.3), (-0.25, 0.05, 0.0)),
        box((1e-9, 0.26, 0.46), (-0.12, -0.1, 0.0)),
        cup,
        trimesh.Trimesh(
            [[-0.65, 0.4, -0.3], [0.2, 0.4, -0.3], [0.2, 0.4, 0.3], [-0.65, 0.4, 0.3]], [[0, 1, 2], [0, 2, 3]]
        ),
    ]
    soup = trimesh.util.concatenate(parts)
    return occnet.Mesh(np.asarray(soup.vertices), np.asarray(soup.faces, dtype=np.int32))


def section(mesh: occnet.Mesh, z: float = 0.013) -> Array:
    """(S, 2, 2) segments in which the faces cut a plane of constant z."""
    segments = []
    for triangle in mesh.triangles:
        above = triangle[:, 2] > z
        if above.any() and not above.all():
            ends = []
            for k in range(3):
                a, b = triangle[k], triangle[(k + 1) % 3]
                if above[k] != above[(k + 1) % 3]:
                    ends.append((a + (z - a[2]) / (b[2] - a[2]) * (b - a))[:2])
            segments.append(ends)
    return np.array(segments).reshape(-1, 2, 2)


def draw_section(axis: Any, mesh: occnet.Mesh, color: str, width: float = 1.3) -> None:
    """Draw the section as lines."""
    from matplotlib.collections import LineCollection

    axis.add_collection(LineCollection(list(section(mesh)), colors=color, linewidths=width))


def fusion() -> Any:
    """Section of a raw mesh, its sign, its signed distance, and the closed mesh."""
    from occnet_lib.geometry.normalise import unit_cube
    from occnet_lib.geometry.occupancy import signed_distance

    raw = unit_cube(raw_shape())[0]
    closed = occnet.watertight(raw, occnet.load_config(watertight={"resolution": 96})).mesh
    x, y = np.meshgrid(np.linspace(-0.58, 0.58, 233), np.linspace(-0.42, 0.42, 169))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.013)], axis=1)
    distance = np.asarray(signed_distance(closed, points)).reshape(x.shape)
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 6.3))
    titles = ("1 · faces of the raw mesh", "2 · sign", "3 · signed distance", "4 · closed mesh")
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.set(title=title, xlim=(-0.58, 0.58), ylim=(-0.42, 0.42), xticks=[], yticks=[], aspect="equal")
    draw_section(axes[0, 0], raw, ORANGE)
    axes[0, 1].contourf(x, y, distance, levels=[-9, 0, 9], colors=["#b9cfe0", "white"])
    draw_section(axes[0, 1], raw, ORANGE, 0.8)
    levels = np.arange(-0.1, 0.105, 0.01)
    axes[1, 0].contourf(x, y, distance, levels=levels, cmap="RdBu", extend="both")
    axes[1, 0].contour(x, y, distance, levels=[0], colors="black", linewidths=1.2)
    draw_section(axes[1, 1], closed, BLUE)
    figure.tight_layout()
    return figure


SLITS = (0.008, 0.004, 0.002, 0.001)  # widths of the slots and fins, longest edge 1


def slotted_block(turn: Array) -> occnet.Mesh:
    """A block with slots and fins, turned by (3, 3): boxes that touch, and a loose face within."""
    import trimesh

    def box(left: float, right: float, low: float, high: float) -> trimesh.Trimesh:
        return trimesh.creation.box(bounds=[(left, low, -0.04), (right, high, 0.04)])

    parts, right = [box(-0.5, 0.5, -0.1, -0.06)], 0.5
    for i, width in enumerate(SLITS):
        slot, fin = 0.3 - 0.02 * i, 0.21 - 0.02 * i
        parts += [
            box(slot + width / 2, right, -0.07, 0.0),
            box(fin - width / 2, fin + width / 2, -0.01, 0.06),
        ]
        right = slot - width / 2
    parts.append(box(-0.5, right, -0.07, 0.0))
    corners = [[-0.3, -0.05, -0.02], [-0.2, -0.05, -0.02], [-0.2, -0.05, 0.02]]
    soup = trimesh.util.concatenate([*parts, trimesh.Trimesh(corners, [[0, 1, 2]])])
    return occnet.Mesh(np.asarray(soup.vertices) @ turn.T, np.asarray(soup.faces, dtype=np.int32))


def resolution() -> Any:
    """Section of slots and fins oblique to the grid, closed at three resolutions."""
    from occnet_lib.geometry.occupancy import contains

    turn = np.array([[np.cos(0.35), -np.sin(0.35), 0], [np.sin(0.35), np.cos(0.35), 0], [0, 0, 1]])
    raw = slotted_block(turn)
    x, y = np.meshgrid(np.linspace(0.135, 0.32, 1480), np.linspace(-0.075, 0.075, 1200))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.003)], axis=1) @ turn.T
    figure, axes = plt.subplots(1, 3, figsize=(10.2, 3.0))
    for axis, samples in zip(axes, (256, 512, 1024), strict=True):
        closed = occnet.watertight(raw, occnet.load_config(watertight={"resolution": samples}))
        inside = contains(closed.mesh, (points - closed.loc) / closed.scale).reshape(x.shape)
        axis.imshow(inside, origin="lower", cmap=mpl.colors.ListedColormap(["white", BLUE]))
        axis.set(title=f"{samples}³", xticks=[], yticks=[])
    figure.tight_layout()
    return figure


def mise() -> Any:
    """Where MISE evaluates the field of a torus, one plane, by level."""
    from occnet_lib.reconstruction.mise import mise as search

    calls: list[Array] = []

    def torus(points: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(points.copy())
        ring = np.hypot(points[:, 0], points[:, 1]) - 0.33
        return (0.12 - np.hypot(ring, points[:, 2])).astype(np.float32) * 40

    figure, axes = plt.subplots(1, 3, figsize=(9, 3.3))
    for level, axis in enumerate(axes):
        calls.clear()
        grid = search(torus, 16, level, 0.0)
        points = np.concatenate(calls)
        plane = points[np.abs(points[:, 2]) < 1e-6]
        axis.plot(*plane[:, :2].T, ".", color=BLUE, markersize=(4.0, 3.0, 2.2)[level], markeredgewidth=0)
        angle = np.linspace(0, 2 * np.pi, 200)
        for radius in (0.21, 0.45):
            axis.plot(radius * np.cos(angle), radius * np.sin(angle), color=ORANGE, linewidth=1)
        cells = 16 * 2**level
        fraction = grid.evaluated / (cells + 1) ** 3
        axis.set(xticks=[], yticks=[], aspect="equal")
        axis.set_title(f"{cells}³ cells: {grid.evaluated:,} points, {100 * fraction:.0f} % of the grid")
    figure.tight_layout()
    return figure


def metrics() -> Any:
    """A demo chair beside predictions of known error, with their metrics."""
    from occnet_lib.demo import write

    folder = OUT / ".demo"
    config = occnet.load_config(
        demo={"categories": ["chair"], "shapes_per_category": 3},
        watertight={"resolution": 128},
        views={"count": 1, "image_size": 220, "elevation": [20.0, 20.0], "distance": [0.7, 0.7]},
        evaluate={"surface": 50_000},
        points={"uniform": 50_000, "surface": 50_000},
    )
    write(folder, config.demo, seed=0)
    chair = sorted(folder.glob("chair/*/model.obj"))[1]
    closed = occnet.watertight(chair, config)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    figure, axes = plt.subplots(1, 5, figsize=(11, 3.2))
    for axis, (title, mesh) in zip(axes, predictions(closed.mesh).items(), strict=True):
        values = occnet.evaluate(mesh, closed, config).values
        seen = occnet.Mesh(mesh.vertices, mesh.faces, np.full((len(mesh.vertices), 3), 0.72, np.float32))
        axis.imshow(occnet.render_views(seen, config, name="figure").images[0])
        axis.set_title(title)
        text = (
            f"IoU {values['iou']:.3f}\nChamfer-L1 {values['chamfer_l1']:.4f}\n"
            f"normal consistency {values['normal_consistency']:.3f}\nF-score 1 % {values['f_score_1']:.3f}"
        )
        axis.text(0.5, -0.03, text, transform=axis.transAxes, ha="center", va="top", linespacing=1.4)
        axis.axis("off")
    figure.tight_layout()
    return figure


def predictions(mesh: occnet.Mesh) -> dict[str, occnet.Mesh]:
    """The ground truth, and what a network might make of it."""
    from occnet_lib.geometry.simplify import simplify

    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.004, mesh.vertices.shape)
    centre = mesh.vertices.mean(axis=0)
    larger = replace(mesh, vertices=centre + 1.05 * (mesh.vertices - centre))
    return {
        "ground truth": mesh,
        "shifted by 0.02": replace(mesh, vertices=mesh.vertices + np.array([0.02, 0.0, 0.0])),
        "5 % larger": larger,
        "noise of 0.004": replace(mesh, vertices=mesh.vertices + noise),
        "300 faces": simplify(mesh, 300),
    }


def demo() -> Any:
    """Of each class the shape at the upper quarter by IoU: input image, the models' meshes, ground truth."""
    import io

    from PIL import Image

    from occnet_lib.report.cards import mesh_images
    from occnet_lib.report.results import Results
    from occnet_lib.storage.reconstructions import read_mesh

    folder = OUT.parents[1] / "results" / "demo"
    config = occnet.load_config(folder / "config.json")
    results = Results(folder, config)
    models = [*config.models, "baseline_class_mean", "baseline_nearest_image"]
    edge, colors = 137, [(0.36, 0.60, 0.80), (0.90, 0.55, 0.30), (0.38, 0.72, 0.58), (0.80, 0.55, 0.72)]
    rows = []
    for category in config.demo.categories:
        names = [name for name, (_, _, key) in results.packed_test.items() if key.category == category]
        names.sort(key=lambda name: float(results.shape_rows[models[0], name]["iou"]))
        name = names[int(0.75 * (len(names) - 1))]
        shard, i, key = results.packed_test[name]
        view = config.reconstruct.view
        camera = shard.camera(i, view)
        meshes = [read_mesh(folder / "reconstruct" / model / shard.name, key) for model in models]
        drawn = [
            mesh_images(mesh, camera, color)[0] for mesh, color in zip(meshes, colors, strict=True) if mesh
        ] + [mesh_images(shard.mesh(i), camera, (0.62, 0.64, 0.66))[0]]
        rows.append([shard.image_bytes(i, view), *drawn])
    sheet = Image.new("RGB", (edge * len(rows[0]), edge * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, data in enumerate(row):
            sheet.paste(
                Image.open(io.BytesIO(data)).convert("RGB").resize((edge, edge)), (edge * x, edge * y)
            )
    return sheet


def data_scaling() -> Any:
    """IoU over the number of training shapes, from the table that `benchmarks/data_scaling.py` writes."""
    import csv

    with (OUT / "data_scaling.csv").open() as file:
        rows = list(csv.DictReader(file))
    kinds = {
        "network": ("network", BLUE, "o-"),
        "baseline_retrieval-network": ("retrieval by its codes", ORANGE, "s-"),
        "baseline_nearest_image": ("nearest training image", ORANGE, "^--"),
        "baseline_class_mean": ("class mean", GREY, "v--"),
        "baseline_oracle": ("oracle: best training shape", "black", "d:"),
    }
    differences = {"baseline_retrieval-network": (BLUE, "o-"), "baseline_class_mean": (GREY, "v--")}
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4), width_ratios=(1.3, 1))

    def draw(axis: Any, column: str, model: str, label: str, color: str, style: str, shift: float) -> None:
        own = [row for row in rows if row["model"] == model]
        shapes = np.array([float(row["shapes"]) for row in own])
        values, low, high = (
            np.array([float(row[column + end]) for row in own]) for end in ("", "_low", "_high")
        )
        bars = [values - low, high - values]
        axis.errorbar(
            shapes * shift, values, bars, fmt=style, color=color, label=label, ms=4, lw=1.2, capsize=2
        )

    for offset, (model, (title, color, style)) in enumerate(kinds.items()):
        draw(left, "iou", model, title, color, style, 1.03 ** (offset - 2))  # bars side by side
    for model, (color, style) in differences.items():
        draw(right, "less_network", model, f"less {kinds[model][0]}", color, style, 1.0)
    shapes = np.array(sorted({float(row["shapes"]) for row in rows}))
    right.axhline(0, color=GREY, lw=0.8)
    for axis, label in ((left, "IoU"), (right, "IoU: network less …")):
        axis.set(
            xscale="log",
            xlabel="training shapes",
            ylabel=label,
            xticks=shapes,
            xticklabels=shapes.astype(int),
        )
        axis.minorticks_off()
    for axis in (left, right):
        axis.legend(fontsize=7, frameon=False, ncol=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.tight_layout()
    return figure


def encoding_spectrum() -> Any:
    """Energy of fields over frequency, from the table that `benchmarks/fields.py --spectrum` writes."""
    import csv

    with (OUT / "encoding_spectrum.csv").open() as file:
        rows = list(csv.DictReader(file))
    kinds = {
        "plain": ("4 frequencies", BLUE),
        "learned": ("24 learned frequency vectors", GREY),
        "encoding-0": ("no positional encoding", ORANGE),
    }
    figure, axes = plt.subplots(figsize=(5.6, 3.3))
    for model, (title, color) in kinds.items():
        own = [(float(row["cycles"]), float(row["energy"])) for row in rows if row["model"] == model]
        axes.plot(*zip(*own, strict=True), color=color, label=title, lw=1.3)
    axes.set(xscale="log", yscale="log", xlabel="cycles per longest edge", ylabel="energy (ground truth 1)")
    axes.legend(frameon=False)
    return figure


FIGURES: dict[str, Callable[[], Any]] = {
    "fusion": fusion,
    "resolution": resolution,
    "mise": mise,
    "metrics": metrics,
    "data_scaling": data_scaling,
    "encoding_spectrum": encoding_spectrum,
}

if __name__ == "__main__":
    main(sys.argv[1:])
