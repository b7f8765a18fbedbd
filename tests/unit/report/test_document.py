"""The report in a browser: it is one file, it sorts, filters, and says nothing on the console."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from occnet_lib.config import Config, ModelConfig
from occnet_lib.report import document, meshes, write_report
from occnet_lib.report.results import Results
from occnet_lib.storage.tables import read_rows, write_rows
from occnet_lib.types import Mesh
from tests.support.browser import CHROMIUM, Browser
from tests.support.demo_results import write_results

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
CONFIG = Config(models={"onet": ModelConfig(), "small": ModelConfig(hidden=128, c_dim=128, decoder="fc")})
EVIL = "no mesh <img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>"
TABLE = "document.querySelector('.filtered table')"
BOX_SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
SCORES = ("iou", "chamfer_l1", "normal_consistency", "f_score_1")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run") / "results"
    write_results(root, CONFIG)
    path = root / "evaluate" / "shapes.csv"
    rows = [dict(row) | ({"reason": EVIL} if row["status"] == "failed" else {}) for row in read_rows(path)]
    write_rows(path, rows)
    return root


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(results, CONFIG, path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Browser]:
    browser.problems.clear()
    browser.open(report)
    yield browser
    browser.run("0")  # what has happened by now is noted
    assert browser.problems == []


def column(browser: Browser, index: int, table: str = TABLE) -> list[str]:
    shown = f"[...{table}.tBodies[0].rows].filter(row => !row.hidden)"
    return browser.run(f"{shown}.map(row => row.cells[{index}].textContent)")


def scores(results: Path, key: str, model: str = "onet") -> dict[str, float]:
    rows = read_rows(results / "evaluate" / "shapes.csv")
    return {row["id"]: float(row[key]) for row in rows if row["model"] == model}


def type_filter(browser: Browser, text: str) -> None:
    browser.run(
        f"(i => {{ i.value = {text!r}; i.dispatchEvent(new Event('input')) }})"
        "(document.querySelector('.tools input'))"
    )


class TestTables:
    def test_every_test_shape_has_its_scores(self, page, results) -> None:
        onet = scores(results, "iou")
        assert dict(zip(column(page, 0), column(page, 2), strict=True)) == {
            name: f"{value:.3f}" for name, value in onet.items()
        }

    def test_click_and_key_sort_both_ways(self, page, results) -> None:
        onet = scores(results, "iou")
        rising = sorted(onet, key=lambda name: onet[name])
        page.run(f"{TABLE}.tHead.rows[0].cells[2].querySelector('button').click()")
        assert column(page, 0) == rising
        page.run(f"{TABLE}.tHead.rows[0].cells[2].querySelector('button').focus()")
        page.key("Enter")
        assert column(page, 0) == rising[::-1]
        assert page.run(f"{TABLE}.tHead.rows[0].cells[2].ariaSort") == "descending"

    def test_the_mean_stays_below_and_empty_cells_last(self, page) -> None:
        means = page.run(
            "[...document.querySelectorAll('table.sortable')].filter(t => t.querySelector('tr.mean')).map(t => {"
            "const button = t.tHead.rows[0].cells[1].querySelector('button'); button.click(); button.click();"
            "return [...t.tBodies[0].rows].at(-1).className })"
        )
        assert means
        assert set(means) == {"mean"}
        page.run(f"{TABLE}.tBodies[0].rows[0].cells[3].textContent = '–'")
        name = column(page, 0)[0]
        for _ in range(2):
            page.run(f"{TABLE}.tHead.rows[0].cells[3].querySelector('button').click()")
            assert column(page, 0)[-1] == name

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("CHAIR", lambda row: row["category"] == "chair"),
            ("no mesh", lambda row: row["status"] == "failed"),
            ("nothing-like-this", lambda row: False),
        ],
    )
    def test_filter_by_words(self, page, results, text, expected) -> None:
        rows = read_rows(results / "evaluate" / "shapes.csv")
        type_filter(page, text)
        names = {row["id"] for row in rows if expected(row)}
        assert set(column(page, 0)) == names
        said = page.run("document.querySelector('.tools output').textContent")
        assert said == f"{len(names)} of {len({row['id'] for row in rows})} shapes"

    def test_filter_by_scores(self, page, results) -> None:
        for model, word in (("onet", ""), ("small", "small")):
            values = scores(results, "iou", model)
            limit = round(sorted(values.values())[1] + 1e-3, 3)
            type_filter(page, f"{word}>{limit}")
            assert set(column(page, 0)) == {name for name in values if values[name] > limit}

    def test_other_metrics(self, page, results) -> None:
        for index, (key, factor) in enumerate(zip(SCORES, (1, 10, 1, 1), strict=True)):
            page.run(
                f"(s => {{ s.selectedIndex = {index}; s.dispatchEvent(new Event('change')) }})"
                "(document.querySelector('.tools select'))"
            )
            values = scores(results, key)
            assert column(page, 2) == [f"{factor * values[name]:.3f}" for name in column(page, 0)]

    def test_reasons_are_text(self, page) -> None:
        titles = page.run(f"[...{TABLE}.querySelectorAll('[title]')].map(cell => cell.title)")
        assert titles == [f"failed: {EVIL}"]
        assert page.run("document.querySelectorAll('script').length") == 1

    def test_thumbnails_load_when_they_are_seen(self, page) -> None:
        page.run(f"{TABLE}.scrollIntoView()")
        loaded = (
            "new Promise(done => { const images = [...document.querySelectorAll('.thumbnail')];"
            "const look = () => images.every(i => i.naturalWidth > 0) ? done(images.length) : setTimeout(look, 20);"
            "look() })"
        )
        assert page.run(loaded) == 4
        assert page.run("[...document.images].every(i => i.loading === 'lazy')")


CANVAS = "document.querySelector('[data-camera] canvas')"
SHAPE = "document.querySelector('[data-camera]')"


def drawn(browser: Browser) -> None:
    """Wait for the first row and its next frame."""
    browser.run(f"{SHAPE}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    browser.run(
        f"new Promise(done => {{ const look = () => {CANVAS} ? requestAnimationFrame(() => "
        "requestAnimationFrame(done)) : setTimeout(look, 20); look() })"
    )


def pixels(browser: Browser) -> list[np.ndarray]:
    """Grey values of every canvas of the first row."""
    drawn(browser)
    urls = browser.run(f"[...{SHAPE}.querySelectorAll('canvas')].map(c => c.toDataURL())")
    return [grey(base64.b64decode(url.partition(",")[2])) for url in urls]


def grey(data: bytes, size: int = 200) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L").resize((size, size))).astype(float)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two silhouettes on white."""
    return float(((a < 250) & (b < 250)).sum() / ((a < 250) | (b < 250)).sum())


class TestViewer:
    def test_the_start_is_the_photos_camera(self, page) -> None:
        canvases = pixels(page)
        stills = page.run(f"[...{SHAPE}.querySelectorAll('.still')].map(i => i.src)")
        assert len(canvases) == len(stills) == 4  # two models, a baseline, the ground truth
        for canvas, still in zip(canvases, stills, strict=True):
            expected = grey(base64.b64decode(still.partition(",")[2]))
            assert overlap(canvas, expected) > 0.9
            lit = (canvas < 250) & (expected < 250)
            assert abs(canvas[lit].mean() - expected[lit].mean()) < 40

    def test_turned_as_far_it_looks_like_the_other_still_image(self, page) -> None:
        drawn(page)
        page.run(f"{SHAPE}.focus()")
        for _ in range(12):
            page.key("ArrowRight")
        turned = pixels(page)
        seconds = page.run(f"[...{SHAPE}.querySelectorAll('.still + img')].map(i => i.src)")
        for canvas, second in zip(turned, seconds, strict=True):
            assert (
                overlap(canvas, grey(base64.b64decode(second.partition(",")[2]))) > 0.75
            )  # 120 of 125 degrees

    def test_keys_turn_and_zoom_all_meshes_and_back(self, page) -> None:
        first = pixels(page)
        page.run(f"{SHAPE}.focus()")
        for name in ("ArrowDown", "ArrowLeft", "+"):
            before = pixels(page)
            page.key(name)
            assert all((a != b).mean() > 0.01 for a, b in zip(before, pixels(page), strict=True))
        page.key("0")
        assert all((a == b).all() for a, b in zip(first, pixels(page), strict=True))

    def test_the_mouse_turns(self, page) -> None:
        first = pixels(page)
        box = page.run(f"(b => [b.x, b.y, b.width])({CANVAS}.getBoundingClientRect())")
        x, y = box[0] + box[2] / 2, box[1] + box[2] / 2
        page.mouse("mousePressed", x, y)
        page.mouse("mouseMoved", x + 40, y)
        page.mouse("mouseReleased", x + 40, y)
        turned = pixels(page)
        assert all((a != b).mean() > 0.01 for a, b in zip(first, turned, strict=True))
        page.mouse("mouseMoved", x, y)
        assert all((a == b).all() for a, b in zip(turned, pixels(page), strict=True))

    def test_two_fingers_zoom(self, browser, report) -> None:
        browser.open(report, width=390, height=800, dark=True)
        first = pixels(browser)[0]
        box = browser.run(f"(b => [b.x, b.y, b.width])({CANVAS}.getBoundingClientRect())")
        x, y = box[0] + box[2] / 2, box[1] + box[2] / 2
        browser.touch("touchStart", (x - 10, y), (x + 10, y))
        browser.touch("touchMove", (x - 20, y), (x + 20, y))
        browser.touch("touchEnd")
        assert (pixels(browser)[0] < 250).sum() > 1.5 * (first < 250).sum()

    def test_a_mesh_comes_back_within_a_step(self) -> None:
        mesh = box_mesh()
        data = base64.b64decode(meshes.encode(mesh))
        vertices, faces = np.frombuffer(data, "<u4", 2)
        *low, step = np.frombuffer(data, "<f4", 4, 8)
        stored = np.frombuffer(data, "<u2", 3 * vertices, 24).reshape(-1, 3)
        np.testing.assert_allclose(low + stored * step, mesh.vertices, atol=step)
        assert (np.frombuffer(data, "<u2", 3 * faces, 24 + 6 * vertices).reshape(-1, 3) == mesh.faces).all()

    def test_without_scripts_the_images_are_there(self, page) -> None:
        page.call("Emulation.setScriptExecutionDisabled", value=True)
        page.call("Page.reload")
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        assert page.run("document.querySelectorAll('canvas').length") == 0
        assert page.run("getComputedStyle(document.querySelector('[data-mesh] img')).display") == "block"


FIELDS = "document.querySelector('#fields [data-camera]')"


def choose_color(browser: Browser, section: str, mode: str) -> None:
    browser.run(
        f"(s => {{ s.value = {mode!r}; s.dispatchEvent(new Event('change')) }})"
        f"(document.querySelector('#{section} .coloring select'))"
    )


class TestColors:
    def test_points_look_like_their_still_images_in_both_modes(self, page) -> None:
        for still, mode in enumerate(("occupancy", "outcome")):
            choose_color(page, "fields", mode)
            canvas = colors_of(canvases(page, FIELDS)[0])
            source = page.run(f"{FIELDS}.querySelectorAll('[data-points] img')[{still}].src")
            expected = colors_of(base64.b64decode(source.partition(",")[2]))
            large = (
                np.abs(canvas - canvas.mean(-1, keepdims=True)).max(-1) > 25
            )  # coloured, which small points are not
            assert large.mean() > 0.01
            wanted = np.abs(expected - expected.mean(-1, keepdims=True)).max(-1) > 25
            both = large & wanted
            assert both.sum() > 0.6 * min(large.sum(), wanted.sum())
            assert np.median(np.abs(canvas - expected)[both]) < 30
            shown = page.run("[...document.querySelectorAll('#fields .legend')].map(l => l.hidden)")
            assert shown == [bool(still), not still]

    def test_points_and_the_ground_truth_turn_together(self, page) -> None:
        before = canvases(page, FIELDS)
        page.run(f"{FIELDS}.focus()")
        page.key("ArrowRight")
        after = canvases(page, FIELDS)
        assert len(after) == 3  # two models, the ground truth
        assert all(a != b for a, b in zip(before, after, strict=True))

    def test_errors_are_stored_in_254ths_of_the_scale(self) -> None:
        inner = Mesh(0.9 * CUBE.vertices, CUBE.faces)  # 0.05 inside: the end of the scale
        for mesh, ground_truth, code in ((CUBE, CUBE, 127), (inner, CUBE, 0), (CUBE, inner, 254)):
            data = base64.b64decode(meshes.encode(mesh, ground_truth))
            vertices, faces = np.frombuffer(data, "<u4", 2)
            codes = np.frombuffer(data, "u1", -1, 24 + 6 * vertices + 6 * faces)
            assert len(codes) == vertices
            assert np.abs(codes.astype(int) - code).min() <= 1
            assert np.abs(codes.astype(int) - code).max() <= (1 if code < 254 else 0)


def canvases(browser: Browser, row: str) -> list[bytes]:
    """PNG of every canvas of a row after its next frame."""
    browser.run(f"{row}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    browser.run(
        f"new Promise(done => {{ const look = () => {row}.querySelector('canvas') ? requestAnimationFrame(() => "
        "requestAnimationFrame(done)) : setTimeout(look, 20); look() })"
    )
    urls = browser.run(f"[...{row}.querySelectorAll('canvas')].map(c => c.toDataURL())")
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


def colors_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((200, 200))).astype(float)


READING = "[...document.querySelectorAll('.reading')].filter(r => !r.hidden).map(r => r.textContent)"


def area(browser: Browser, alt: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of a diagram, scrolled into view."""
    element = f"document.querySelector('[data-plot][aria-label=\"{alt}\"]')"
    browser.run(f"{element}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    browser.run(f"{element}.querySelector('img').decode()")
    box = browser.run(f"(b => [b.x, b.y, b.width, b.height])({element}.getBoundingClientRect())")
    return tuple(box)


def blue_dot(browser: Browser, box: tuple[float, float, float, float]) -> tuple[float, float]:
    """Where the first blue dot of a diagram is on the screen, read from its pixels."""
    with Image.open(io.BytesIO(browser.screenshot())) as image:
        shot = np.asarray(image.convert("RGB")).astype(int)
    left, top, width, height = map(round, box)
    part = shot[top : top + height, left : left + width]
    blue = (part[..., 2] > part[..., 0] + 100) & (part[..., 2] > part[..., 1] + 30)
    rows, columns = np.nonzero(blue)
    assert len(rows)
    return left + float(columns[0]), top + float(rows[0]) + 2


class TestPlots:
    def test_a_dot_of_the_tsne_shows_its_photo(self, page, results) -> None:
        left, top, width, height = area(page, "t-SNE of onet")
        plane = (left, top, 0.8 * width, height)  # the legend is right of it
        page.mouse("mouseMoved", *blue_dot(page, plane))
        (text,) = page.run(READING)
        rows = read_rows(results / "analyse" / "embedding_onet.csv")
        assert text in {f"{r['category']}: {r['id']}, view {r['view']}, {r['split']}" for r in rows}
        assert text.startswith("car: ")
        source = page.run("document.querySelector('.reading img').src")
        row = next(r for r in rows if f"{r['id']}, view {r['view']}, {r['split']}" in text)
        places = Results(results, CONFIG).packed(row["split"])
        shard, i, _ = places[f"car/{row['id']}"]
        expected = Image.fromarray(shard.image(i, int(row["view"]))).convert("L").resize((56, 56))
        actual = grey(base64.b64decode(source.partition(",")[2]), 56)
        assert np.abs(np.asarray(expected, float) - actual).mean() < 10
        page.mouse("mouseMoved", 1, 1)
        assert page.run(READING) == []

    def test_a_bar_is_read_under_the_pointer(self, page, results) -> None:
        box = area(page, "mean IoU of all models")
        page.mouse("mouseMoved", *blue_dot(page, box))
        row = next(r for r in read_rows(results / "evaluate" / "models.csv") if r["model"] == "onet")
        iou, low, high = (float(row[key]) for key in ("iou", "iou_low", "iou_high"))
        assert page.run(READING) == [f"onet: {iou:.3f} [{low:.3f}, {high:.3f}]"]

    def test_keys_go_along_a_curve_and_to_the_next(self, page, results) -> None:
        rows = read_rows(results / "train" / "onet" / "metrics.csv")
        steps = [row for row in rows if row["train_loss"]]
        page.run("document.querySelector('[data-plot][aria-label=\"training curves\"]').focus()")
        for row in steps[:2]:
            page.key("ArrowRight")
            loss, step = float(row["train_loss"]), float(row["step"])
            assert page.run(READING) == [f"onet, train: Loss {loss:.4g} at step {step:g}"]
        page.key("ArrowDown")
        assert page.run(READING)[0].startswith("onet, validation: Loss")
        page.run("document.activeElement.blur()")
        assert page.run(READING) == []


@pytest.mark.parametrize("content", [b"no archive", None])
def test_another_viewer_of_trimesh_is_a_warning(monkeypatch, caplog, content) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("viewer.html.template", "<script>/** @license of another library */</script>")
    monkeypatch.setattr("trimesh.resources.get_bytes", lambda _: content or buffer.getvalue())
    code = document.script(with_viewer=True)
    assert "THREE" not in code
    assert "makeSortable" in code
    assert "cannot be turned" in caplog.text


CUBE = Mesh(
    np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]),
    np.array([f for a, b, c, d in BOX_SIDES for f in ((a, b, c), (a, c, d))], np.int32),
)


def box_mesh() -> Mesh:
    corners = np.array([[x, y, z] for x in (-0.5, 0.3) for y in (-0.2, 0.2) for z in (0.0, 0.1)])
    faces = [triangle for a, b, c, d in BOX_SIDES for triangle in ((a, b, c), (a, c, d))]
    return Mesh(corners, np.array(faces, np.int32))


def test_the_policy_lets_no_other_script_run_and_nothing_be_fetched(page) -> None:
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken=1\">')")
    page.run(
        "(s => { s.textContent = 'window.broken = 2'; document.body.append(s) })(document.createElement('script'))"
    )
    fetched = page.run("fetch('https://example.org').then(() => 'fetched', () => 'refused')")
    assert fetched == "refused"
    assert page.run("window.broken") is None
    page.problems[:] = [text for text in page.problems if "Content Security Policy" not in text]


@pytest.mark.parametrize("dark", [False, True])
def test_no_part_is_wider_than_a_phone(browser, report, dark) -> None:
    browser.open(report, width=390, height=800, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= 390
