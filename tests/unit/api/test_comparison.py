"""`occnet evaluate` of several systems: the page, meshes coloured by their error, the guess of the up axis."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

import occnet_lib as occnet
from occnet_lib import cli
from occnet_lib.api import evaluation
from occnet_lib.evaluation.alignment import Alignment
from occnet_lib.geometry.similarity import Similarity
from occnet_lib.report.coloring import ERROR_LIMIT
from occnet_lib.storage.meshes import load_mesh, read_frame
from occnet_lib.storage.meshes.frame import TURNS
from occnet_lib.storage.tables import read_rows
from tests.support.browser import CHROMIUM, Browser

pytestmark = pytest.mark.usefixtures("keep_logging")
SIZE = ["--config", "small.yaml"]
BOX = trimesh.creation.box((2.0, 1.6, 1.4))


def write(name: str, vertices: np.ndarray, faces: np.ndarray = BOX.faces) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(vertices, faces, process=False).export(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Boxes, and two systems whose boxes are 0.05 of the longest edge too large and too small on two sides."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("systems")
        patch.chdir(folder)
        Path("small.yaml").write_text(
            "points: {uniform: 2000, surface: 1000}\nevaluate: {surface: 1000, bootstrap: 50}\nreport: {examples: 1}\n"
        )
        for name in ("a/one", "b/evil<b>", "c/lost"):
            write(f"gt/{name}.ply", BOX.vertices)
            write(f"large/{name}.ply", BOX.vertices * [1.1, 1.0, 1.0])
            if name != "c/lost":
                write(f"small/{name}.ply", BOX.vertices * [0.9, 1.0, 1.0])
        assert cli.main(["evaluate", "large", "small", "gt", *SIZE, "-o", "out", "--error-map", "maps"]) == 0
        return folder


def test_every_system_has_its_tables_and_all_have_one_page(folder) -> None:
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["comparison.html", "large", "small"]
    for system, failed in (("large", "0"), ("small", "1")):
        rows = read_rows(folder / "out" / system / "summary.csv")
        assert (rows[-1]["shapes"], rows[-1]["failed"]) == ("3", failed)
    page = (folder / "out" / "comparison.html").read_text("utf-8")
    assert "Predictions were measured <b>not aligned (--align none)</b>" in page
    assert "no prediction" in page
    assert "evil&lt;b&gt;" in page
    assert "evil<b>" not in page
    assert page.count("<script>") == 1
    mean = float(read_rows(folder / "out" / "large" / "summary.csv")[-1]["iou"])
    assert f"{mean:.3f}" in page


def test_errors_are_measured_and_coloured(folder) -> None:
    for system, sign in (("large", 1), ("small", -1)):
        rows = read_rows(folder / "maps" / system / "errors.csv")
        row = rows[0]
        assert float(row["largest"]) == pytest.approx(0.05, abs=1e-5)
        assert (float(row["unit"]), float(row["limit"])) == (2.0, ERROR_LIMIT)
        # The two sides of 1.6 × 1.4 are 0.05 off: outside with a strip of the others, inside but for their borders.
        side = 2 * 1.6 * 1.4 / float(BOX.area + sign * 0.2 * 2 * (1.6 + 1.4))
        assert 0.0 < sign * (float(row["mean"]) / 0.05 - side) < 0.06
        path = folder / "maps" / system / "a" / "one.glb"
        mesh = load_mesh(path)
        x, y, z = np.abs(mesh.vertices).T
        end = (x > x.max() - 1e-6) & (y < 0.65) & (z < 0.55)
        assert end.sum() > 100
        red, _, blue = mesh.colors[end].T
        assert (sign * (red - blue) > 0.4).all()
        assert read_frame(path).frame == "source"
        np.testing.assert_allclose(mesh.bounds[1], [1.0 + sign * 0.1, 0.8, 0.7], atol=1e-5)
        with Image.open(path.with_suffix(".png")) as image:
            assert image.width > 600
    rows = read_rows(folder / "maps" / "small" / "errors.csv")
    assert [(row["category"], row["id"], row["status"]) for row in rows] == [
        *(("a", "one", "ok"), ("b", "evil<b>", "ok"), ("c", "lost", "failed"))
    ]
    assert (rows[2]["reason"], rows[2]["mean"]) == ("no prediction", "")
    assert not (folder / "maps" / "small" / "c" / "lost.glb").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_turns_meshes_and_colours_them_by_error(folder, tmp_path) -> None:
    row = "document.querySelector('[data-camera]')"
    with Browser(tmp_path / "profile") as browser:
        browser.open(folder / "out" / "comparison.html", width=390, height=800, dark=True)
        assert browser.run("document.documentElement.scrollWidth") <= 390
        colors = {}
        for mode in ("plain", "error"):
            browser.run(f"{row}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
            browser.run(
                f"(s => {{ s.value = {mode!r}; s.dispatchEvent(new Event('change')) }})"
                "(document.querySelector('.coloring select'))"
            )
            browser.run(
                f"new Promise(done => {{ const look = () => {row}.querySelector('canvas') ? requestAnimationFrame("
                "() => requestAnimationFrame(done)) : setTimeout(look, 20); look() })"
            )
            urls = browser.run(f"[...{row}.querySelectorAll('canvas')].map(c => c.toDataURL())")
            colors[mode] = [hue(url) for url in urls]
        assert browser.problems == []
    (truth, _, small), (same, large_error, small_error) = colors["plain"], colors["error"][:3]
    assert same == truth  # the ground truth has no error
    assert large_error[0] > 60 > truth[0]  # red where it is outside
    assert small_error[1] > 60  # blue where it is inside
    assert small[1] < 10  # the second system is orange


def hue(url: str) -> tuple[float, float]:
    """Most red over blue, and blue over red, of an image."""
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        pixels = np.asarray(image.convert("RGB")).astype(float)
    difference = pixels[..., 0] - pixels[..., 2]
    return float(difference.max()), float(-difference.min())


def test_one_mesh_has_a_page_too_and_systems_are_named_apart(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(
        "points: {uniform: 2000, surface: 500}\nevaluate: {surface: 500, bootstrap: 0}\n"
    )
    for name in ("x/run/m.ply", "y/run/m.ply", "gt/m.ply"):
        write(name, BOX.vertices)
    assert cli.main(["evaluate", "x/run/m.ply", "gt/m.ply", *SIZE, "-o", "one"]) == 0
    assert "Evaluation of m" in Path("one/comparison.html").read_text("utf-8")
    assert cli.main(["evaluate", "x/run", "y/run", "gt", *SIZE, "-o", "two"]) == 0
    assert {path.name for path in Path("two").iterdir()} == {"comparison.html", "x-run", "y-run"}
    capsys.readouterr()
    for arguments, message in (
        (["x/run", "x/run", "gt"], "given twice"),
        (["x/run/m.ply", "y/run/m.ply", "gt/m.ply"], "several predictions need folders"),
        (["x/run", "y/run/m.ply", "gt"], "must be two meshes or only folders"),
    ):
        assert cli.main(["evaluate", *arguments, *SIZE]) == 1
        assert message in capsys.readouterr().err


WEDGE = BOX.vertices * [1.0, 1.0, 0.6] + 0.25 * np.abs(BOX.vertices[:, ::-1])


@pytest.mark.parametrize(
    ("up", "align", "guess"), [("z", "none", "z"), ("x", "scale", "x"), ("y", "none", None)]
)
def test_the_up_axis_is_guessed_with_a_warning(tmp_path, monkeypatch, capsys, up, align, guess) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(
        "points: {uniform: 2000, surface: 500}\nevaluate: {surface: 500, bootstrap: 0}\n"
    )
    for name in ("a", "b"):
        write(f"gt/{name}.ply", WEDGE)
        write(f"pred/{name}.stl", WEDGE @ TURNS[up])
    arguments = ["evaluate", "pred", "gt", *SIZE, "--align", align, "--up", "auto", "-o", "out"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    stated = json.loads(Path("out/summary.json").read_text())["up_axis"]
    if guess:
        assert f"guesses that {guess} is the up axis of the predictions" in err
        assert f"state it: --up {guess}" in err
        assert stated == f"{guess} (guessed)"
        assert f"up axis of the predictions: {guess} (guessed)" in out
    else:
        assert "is taken to be that of the ground truth" in err
    assert float(read_rows(Path("out/summary.csv"))[-1]["iou"]) > 0.97
    assert cli.main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == out
    assert again.err == err


def test_every_system_has_its_own_up_axis(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(
        "points: {uniform: 2000, surface: 500}\nevaluate: {surface: 500, bootstrap: 0}\nreport: {examples: 1}\n"
    )
    write("gt/a.ply", WEDGE)
    write("own/a.ply", WEDGE)
    write("foreign/a.stl", 30 * WEDGE @ TURNS["z"])
    folders = ["evaluate", "own", "foreign", "gt", *SIZE, "--align", "scale", "-o", "out"]
    for axes, stated in ((["foreign=z"], "z"), (["y", "--up", "foreign=auto"], "z (guessed)")):
        assert cli.main([*folders, "--up", *axes]) == 0
        err = capsys.readouterr().err
        assert ("state it: --up foreign=z" in err) == ("guessed" in stated)
        assert "predictions of foreign were scaled by 0.03333" in err
        summaries = [json.loads(Path("out", name, "summary.json").read_text()) for name in ("own", "foreign")]
        assert [summary["rows"][-1]["iou"] for summary in summaries] == pytest.approx([1.0, 1.0], abs=0.01)
        assert summaries[1]["up_axis"] == stated
    assert "z (guessed)" in Path("out/comparison.html").read_text("utf-8")
    capsys.readouterr()
    for axis, message in (
        ("w", "'w' is not one of x, y, z, auto"),
        ("other=z", "no system 'other' (the systems are own, foreign)"),
        ("own=", "'' is not one of"),
    ):
        assert cli.main([*folders, "--up", axis]) == 1
        assert message in capsys.readouterr().err
    assert cli.main([*folders, "--up", "z", "--up", "y"]) == 1
    assert "given twice for all systems" in capsys.readouterr().err
    assert cli.main(["evaluate", "own/a.ply", "gt/a.ply", *SIZE, "--up", "own=z"]) == 1
    assert "SYSTEM=AXIS needs folders" in capsys.readouterr().err


def test_the_up_axis_is_guessed_in_python_too(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    write("gt.ply", WEDGE)
    write("zup.stl", WEDGE @ TURNS["z"])
    config = occnet.load_config(points={"uniform": 2000, "surface": 500}, evaluate={"surface": 500})
    truth = occnet.load_mesh("gt.ply")
    for expected in ("gt.ply", truth):
        result = occnet.evaluate("zup.stl", expected, config, up="auto")
        assert result.up == "z"
        assert result.values["iou"] > 0.97
    assert caplog.text.count("guesses that z is the up axis of the predictions") == 2
    assert occnet.evaluate("gt.ply", "gt.ply", config, up="auto").up is None
    with pytest.raises(occnet.OccnetError, match="a mesh in memory is y-up"):
        occnet.evaluate(truth, truth, config, up="auto")


def test_folders_that_cannot_be_written_are_refused_before_measuring(folder, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(evaluation, "evaluate_pairs", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: pytest.fail("measured"))
    for inputs in (["large", "gt"], ["large/a/one.ply", "gt/a/one.ply"]):
        for option in ("-o", "--error-map"):
            for place in ("small.yaml", "small.yaml/deep", "/proc/none"):
                assert cli.main(["evaluate", *inputs, *SIZE, option, place]) == 1
                error = capsys.readouterr().err
                assert f"{place}: cannot be a folder of results" in error
                assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["large", "gt", "--error-map", "large"],
        ["large", "gt", "--error-map", "gt/maps"],
        ["large", "small", "gt", "--error-map", "."],  # those of the system large go to ./large
        ["large/a/one.ply", "gt/a/one.ply", "--error-map", "gt/a"],
    ],
)
def test_error_maps_never_replace_what_is_measured(folder, monkeypatch, capsys, command) -> None:
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.ply")}
    assert cli.main(["evaluate", *command, *SIZE]) == 1
    assert "which are measured (name a folder outside" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.rglob("*.ply")}
    assert not list((folder / "large").rglob("*.glb"))


@pytest.mark.parametrize("seed", range(5))
def test_an_up_axis_is_suspected_only_where_most_rotations_agree_on_it(seed) -> None:
    """Predictions with z up, in any heading and a little tilted; and predictions whose rotation is unknown."""
    rng = np.random.default_rng(seed)
    z_up = Rotation.from_euler("x", -90, degrees=True)  # +z to +y
    headings = Rotation.from_euler("y", rng.uniform(0, 360, (9, 1)), degrees=True)
    noise = Rotation.from_rotvec(np.radians(rng.normal(scale=4, size=(9, 3))))
    unknown, outliers = Rotation.random(30, rng), Rotation.random(4, rng)

    def suspected(rotations: Rotation) -> str:
        transforms = [Similarity(1.0, matrix, np.zeros(3)) for matrix in rotations.as_matrix()]
        return evaluation._tilted_up([Alignment("similarity", each, 0.0, 0.0, 1) for each in transforms])

    assert suspected(noise * headings * z_up) == "+z"
    assert suspected(Rotation.concatenate([noise * headings * z_up, outliers])) == "+z"
    assert suspected(noise * headings * z_up.inv()) == "-z"
    assert suspected(noise * headings) == ""
    assert suspected(unknown) == ""
