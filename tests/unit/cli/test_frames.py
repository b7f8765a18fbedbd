"""The commands on files stay in one frame: what a file says of itself, up axes, the chain from raw mesh to points."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import occnet_lib
from occnet_lib import cli
from occnet_lib.errors import MeshError
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.reconstruction.reconstruct import Reconstruction
from occnet_lib.stages.views import silhouette_agreement
from occnet_lib.storage.meshes import WRITABLE, MeshFrame, load_mesh, read_frame, save_mesh
from occnet_lib.storage.reconstructions import writing
from occnet_lib.types import Mesh, ShapeKey, Views
from tests.support.geometry_solids import box_mesh

pytestmark = pytest.mark.usefixtures("keep_logging")

SMALL = """
dataset: {{up: {up}}}
watertight: {{resolution: 48, views: 30, image_size: 128, max_faces: 1500}}
points: {{uniform: 1000, surface: 5000}}
views: {{count: 3, image_size: 64}}
evaluate: {{surface: 2000}}
"""

DAE = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit meter="1"/><up_axis>Z_UP</up_axis></asset>
<library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="a" count="{count}">{source}</float_array>
<technique_common><accessor source="#a" count="{points}" stride="3"><param name="X" type="float"/>
<param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles count="{triangles}"><input semantic="VERTEX" source="#v" offset="0"/><p>{corners}</p></triangles>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="s"><node><instance_geometry url="#g"/></node></visual_scene>
</library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>
"""

PACKAGE = "http://schemas.openxmlformats.org/package/2006/"
CORE_3MF = "http://schemas.microsoft.com/3dmanufacturing/2013/01"
CONTENT_TYPES = f"""<Types xmlns="{PACKAGE}content-types">
<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>"""
RELATIONSHIPS = f"""<Relationships xmlns="{PACKAGE}relationships">
<Relationship Target="/3D/3dmodel.model" Id="a" Type="{CORE_3MF}/3dmodel"/></Relationships>"""
MODEL_3MF = """<model unit="meter" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">
<resources><object id="1" type="model"><mesh><vertices>{vertices}</vertices><triangles>{faces}</triangles></mesh>
</object></resources><build><item objectid="1"/></build></model>"""


def stairs() -> trimesh.Trimesh:
    """Three steps of one width: another shape along each axis, and in each of its mirror images."""
    steps = [trimesh.creation.box(extents=(1.0, 2.0, height)) for height in (1.0, 2.0, 4.0)]
    for i, (step, height) in enumerate(zip(steps, (1.0, 2.0, 4.0), strict=True)):
        step.apply_translation((i + 10.0, 3.0 + 0.5 * i, height / 2.0 - 20.0))
    return trimesh.util.concatenate(steps)


@pytest.fixture
def occnet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(up, *words):
        (tmp_path / f"{up}.yaml").write_text(SMALL.format(up=up))
        return cli.main([*words, "--config", f"{up}.yaml"])

    return run


def views_of(folder) -> tuple[Views, np.ndarray]:
    """The views that a command wrote, and which of their pixels are not background."""
    images = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])
    arrays = np.load(folder / "cameras.npz")
    cameras = arrays["camera_mat"], arrays["world_mat"], arrays["loc"], float(arrays["scale"])
    return Views(images, *cameras), (images < 255).any(axis=-1).astype(np.float32)


@pytest.mark.parametrize(("frame", "suffix"), [("source", ".ply"), ("source", ".stl"), ("unit", ".glb")])
@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_points_of_the_chain_lie_in_the_silhouettes_whatever_axis_is_up(up, frame, suffix, occnet, tmp_path):
    stairs().export(tmp_path / "raw.stl")
    assert occnet(up, "watertight", "raw.stl", "--frame", frame, "-o", f"closed{suffix}") == 0
    assert occnet(up, "points", f"closed{suffix}", "-o", "points.npz") == 0
    assert occnet(up, "views", "raw.stl", "-o", "views") == 0
    views, coverage = views_of(tmp_path / "views")
    samples = np.load("points.npz")
    inside, covered = silhouette_agreement(views, coverage, samples["surface"].astype(np.float64))
    assert inside > 0.999
    assert covered > 0.99
    _, loc, scale = unit_cube(load_mesh("raw.stl", up))
    np.testing.assert_allclose(samples["loc"], loc, rtol=1e-7)
    np.testing.assert_allclose(samples["scale"], scale, rtol=1e-7)
    if frame == "source":  # the file's own axes, scale and place, for any program
        box = trimesh.load(tmp_path / f"closed{suffix}").bounds
        np.testing.assert_allclose(box, stairs().bounds, atol=0.15)


def test_another_up_axis_of_the_configuration_turns_no_file_of_occnet(occnet, capsys):
    stairs().export("raw.stl")
    assert occnet("z", "watertight", "raw.stl", "-o", "closed.ply") == 0
    assert occnet("z", "points", "closed.ply", "-o", "a.npz") == 0
    assert "dataset.up" not in capsys.readouterr().err
    assert occnet("y", "points", "closed.ply", "-o", "b.npz") == 0
    assert "not y (dataset.up)" in capsys.readouterr().err
    assert np.array_equal(np.load("a.npz")["surface"], np.load("b.npz")["surface"])
    assert occnet("y", "watertight", "closed.ply", "-o", "again.ply") == 0
    assert read_frame("again.ply").up == "z"


def test_watertight_takes_the_frame_that_a_file_states_as_views_do(tmp_path):
    box = box_mesh((0, 0, 0), (1, 0.5, 0.5))
    save_mesh(box, tmp_path / "box.ply", frame=MeshFrame("source", "y", (0.125, 0, 0), 1.25))
    closed = occnet_lib.watertight(tmp_path / "box.ply")
    assert (closed.loc.tolist(), closed.scale) == ([0.125, 0, 0], 1.25)
    np.testing.assert_allclose(np.ptp(closed.mesh.vertices, axis=0), [0.8, 0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(closed.mesh.vertices[:, 0].max(), (0.5 - 0.125) / 1.25, atol=1e-6)
    assert closed.audit["edge_ratio"] == pytest.approx(1.0)


@pytest.mark.parametrize("suffix", [".3mf", ".dae"])
def test_the_source_frame_of_a_file_that_states_its_up_axis_is_that_of_the_file(suffix, occnet):
    """z in 3MF and as this COLLADA file says, whatever dataset.up is."""
    if suffix == ".3mf":
        vertices = "".join('<vertex x="{:.3f}" y="{:.3f}" z="{:.3f}"/>'.format(*v) for v in stairs().vertices)
        faces = "".join('<triangle v1="{}" v2="{}" v3="{}"/>'.format(*f) for f in stairs().faces)
        with zipfile.ZipFile("raw.3mf", "w") as file:
            file.writestr("[Content_Types].xml", CONTENT_TYPES)
            file.writestr("_rels/.rels", RELATIONSHIPS)
            file.writestr("3D/3dmodel.model", MODEL_3MF.format(vertices=vertices, faces=faces))
    else:
        source = " ".join(f"{x:.3f}" for x in stairs().vertices.ravel())
        corners = " ".join(map(str, stairs().faces.ravel()))
        sizes = {"points": len(stairs().vertices), "triangles": len(stairs().faces)}
        text = DAE.format(count=3 * sizes["points"], source=source, corners=corners, **sizes)
        Path("raw.dae").write_text(text)
    assert occnet("y", "watertight", f"raw{suffix}", "-o", "closed.ply") == 0
    assert read_frame("closed.ply").up == "z"
    np.testing.assert_allclose(trimesh.load("closed.ply").bounds, stairs().bounds, atol=0.15)
    assert load_mesh(f"raw{suffix}").up == "z"


def test_a_file_that_was_changed_after_its_frame_was_written_is_refused(occnet, tmp_path, capsys):
    mesh = trimesh.creation.icosphere(2)
    save_mesh(Mesh(mesh.vertices * 1000.0, mesh.faces), "a.obj", frame=MeshFrame("unit"))
    assert occnet("y", "points", "a.obj", "-o", "a.npz") == 1
    assert "do not match the frame in its header" in capsys.readouterr().err
    (tmp_path / "a.obj").write_text(
        (tmp_path / "a.obj").read_text().replace("unit y 0.0 0.0", "unit y nan 0.0")
    )
    assert occnet("y", "points", "a.obj", "-o", "a.npz") == 1
    assert "invalid frame in its header" in capsys.readouterr().err
    (tmp_path / "a.obj").write_text((tmp_path / "a.obj").read_text().replace("# occnet", "# was"))
    assert occnet("y", "points", "a.obj", "-o", "a.npz") == 0


@given(
    frame=st.sampled_from(["source", "unit", "camera"]),
    up=st.sampled_from(["x", "y", "z"]),
    loc=st.tuples(*[st.floats(-1e6, 1e6)] * 3),
    scale=st.floats(1e-6, 1e6),
)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_frame_is_read_as_it_was_written(suffix, frame, up, loc, scale, tmp_path_factory):
    path = tmp_path_factory.mktemp("frame") / f"a{suffix}"
    mesh = trimesh.creation.box(extents=(1.0, 2.0, 3.0))
    written = MeshFrame(frame, up, loc, scale)
    save_mesh(Mesh(mesh.vertices, mesh.faces), path, frame=written)
    actual = read_frame(path)
    assert (actual.frame, actual.up) == (frame, up)
    precision = 1e-8 if suffix == ".stl" else 0  # whose header has room for nine digits
    np.testing.assert_allclose([*actual.loc, actual.scale], [*loc, scale], rtol=precision)
    for other in ("x", "y", "z"):
        assert np.array_equal(load_mesh(path, other).triangles, mesh.triangles)
    packed = path.with_suffix(f"{suffix}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert suffix == ".glb" or read_frame(packed) == actual
    loaded = trimesh.load(path, process=False)  # other programs read the file as before
    assert len(loaded.to_mesh().faces if isinstance(loaded, trimesh.Scene) else loaded.faces) == 12


def test_files_of_others_say_no_frame(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("# made with occnet, a source of meshes\n# occnet rocks\nv 0 0 0\n")
    assert read_frame(path) is None
    path.write_text("# occnet source w 0 0 0 1\n")
    with pytest.raises(MeshError, match="invalid frame in its header"):
        read_frame(path)


def test_coordinates_far_from_the_origin_are_warned_about(tmp_path, caplog):
    mesh = trimesh.creation.box()
    far = Mesh(mesh.vertices + 4e6, mesh.faces)
    save_mesh(far, tmp_path / "a.ply")
    assert "far from the origin" in caplog.text
    caplog.clear()
    save_mesh(far, tmp_path / "a.obj")
    assert not caplog.text
    assert np.array_equal(load_mesh(tmp_path / "a.obj").triangles, far.triangles)
    save_mesh(Mesh(mesh.vertices * 1e-6, mesh.faces), tmp_path / "small.obj")
    np.testing.assert_allclose(load_mesh(tmp_path / "small.obj").vertices, mesh.vertices * 1e-6, rtol=1e-6)


def test_a_mesh_of_a_photo_says_in_which_frame_it_is(tmp_path):
    mesh = trimesh.creation.box()
    for frame in ("unit", "camera"):
        Reconstruction(Mesh(mesh.vertices, mesh.faces), frame=frame).save(tmp_path / "a.ply")
        assert read_frame(tmp_path / "a.ply") == MeshFrame(frame)
    with writing(tmp_path / "made") as folder:  # by the workflow
        folder.add(ShapeKey("box", "a"), Mesh(mesh.vertices, mesh.faces))
    assert read_frame(tmp_path / "made/box/a.ply") == MeshFrame("unit")
    header = "ply\nformat binary_little_endian 1.0\ncomment occnet: closed, outward, unit cube frame, +y up\nend_header\n"
    (tmp_path / "old.ply").write_text(header)  # by the workflow of version 0.1.0
    assert read_frame(tmp_path / "old.ply") == MeshFrame("unit")


@pytest.mark.parametrize(("subdivisions", "said"), [(3, ""), (4, "keeps its own 5120 faces, more than")])
def test_a_closed_mesh_that_keeps_more_faces_than_wanted_says_so(subdivisions, said, occnet, capsys):
    trimesh.creation.icosphere(subdivisions).export("ball.ply")
    assert occnet("y", "watertight", "ball.ply", "-o", "closed.ply") == 0
    error = capsys.readouterr().err
    assert said in error if said else not error
