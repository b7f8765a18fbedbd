"""The page in headless Chromium, with a real server: photos in, masks corrected, the command's mesh out."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from occnet_lib import cli
from occnet_lib.errors import ImageError
from occnet_lib.reconstruction.photo import load_photo
from tests.support.browser import CHROMIUM, Browser

from .test_photos import OBJECT

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="the extra `app` is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.usefixtures("keep_logging"),
]
CONFIG = "reconstruct: {resolution0: 16, upsampling_steps: 1, refine_steps: 2, simplify: {faces: 500}}\n"
INPUT = "#photos input[type=file]"


class Server:
    """`occnet app` as a process of its own, with its temporary files in a folder of its own."""

    def __init__(self, results: Path, folder: Path) -> None:
        self.temporary, self.config = folder / "temporary", folder / "config.yaml"
        self.temporary.mkdir()
        self.config.write_text(CONFIG)
        words = [
            sys.executable,
            "-m",
            "occnet_lib",
            "app",
            str(results),
            "--port",
            "0",
            "--config",
            str(self.config),
        ]
        # A user's variables that would share the page or serve other folders have no effect.
        extra = {"TMPDIR": str(self.temporary), "GRADIO_SHARE": "True", "GRADIO_ALLOWED_PATHS": "/"}
        self.process = subprocess.Popen(
            words, env=os.environ | extra, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.url = self.process.stdout.readline().split()[0]
        self.get("")  # waits until it serves

    def get(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(
            self.url + path, data, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def files(self) -> set[Path]:
        """Its temporary files."""
        return set(self.temporary.rglob("*"))

    def wait_for_files(self, condition: Callable[[set[Path]], bool]) -> None:
        end = time.monotonic() + 60
        while not condition(self.files()):
            assert time.monotonic() < end, f"after 60 s it has {self.files()}"
            time.sleep(0.05)

    def stop(self) -> str:
        """End it as a terminal or a service manager does, and return what it printed as errors."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=240)
        return errors


@pytest.fixture(scope="module")
def server(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(results, tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == ""
    assert server.process.returncode == 128 + signal.SIGTERM
    assert not list(server.temporary.iterdir())


@pytest.fixture(scope="module")
def browser(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile"), server.url.rstrip("/")) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Browser]:
    browser.problems.clear()
    browser.open(server.url, 1300, 1000)
    browser.wait(f"document.querySelector('{INPUT}') !== null")
    yield browser
    browser.run("0")
    # Warnings of the libraries in Gradio's bundle do not count; exceptions and other requests do.
    assert [text for text in browser.problems if text.startswith(("request", "{", "Failed"))] == []


def text(page: Browser, name: str) -> str:
    return page.run(f"document.querySelector('#{name}').innerText")


def lines(page: Browser, name: str) -> str:
    """The messages in a place of the page, without the time of an action in progress."""
    return page.run(f"[...document.querySelectorAll('#{name} li')].map(item => item.innerText).join('\\n')")


def after(page: Browser, name: str, action: Callable[[], object]) -> str:
    """The lines in a place of the page, once an action has changed them."""
    page.run(f"document.querySelectorAll('#{name} li').forEach(item => item.dataset.old = 1); 0")
    action()
    page.wait(f"document.querySelector('#{name} li:not([data-old])') !== null")
    return lines(page, name)


def fill(page: Browser, place: str, value: str) -> None:
    """Type into a field of the page."""
    page.run(
        f"(field => {{ field.value = {value!r}; field.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
        f"(document.querySelector('{place} input, {place} textarea'))"
    )


def upload(page: Browser, *files: Path) -> str:
    """Choose files and return the notes below them."""
    return after(page, "notes", lambda: page.choose_files(INPUT, *files))


def reconstruct(page: Browser) -> str:
    return after(page, "messages", lambda: page.run("document.querySelector('#reconstruct').click()"))


def download(page: Browser, name: str) -> bytes:
    """The file behind a download button, as the browser gets it."""
    script = f"""(async () => {{
      const click = HTMLAnchorElement.prototype.click;
      let link = null;
      HTMLAnchorElement.prototype.click = function () {{ link = this; }};
      document.querySelector('#{name}').click();
      for (let i = 0; i < 100 && link === null; i++) await new Promise(done => setTimeout(done, 50));
      HTMLAnchorElement.prototype.click = click;
      const bytes = new Uint8Array(await (await fetch(link.href)).arrayBuffer());
      return btoa(Array.from(bytes, b => String.fromCharCode(b)).join(''));
    }})()"""
    return base64.b64decode(page.run(script))


def draw(page: Browser, line: tuple[tuple[int, int], ...]) -> None:
    """Draw a line with the brush along points of a photo of 400 x 300 pixels."""
    x, y, width, height = page.run(
        "(() => { const r = document.querySelector('#editor canvas').getBoundingClientRect();"
        "return [r.x, r.y, r.width, r.height]; })()"
    )
    scale = min((width - 60) / 400, (height - 60) / 300)  # the image stands in the middle of the canvas
    page.drag(*[(x + width / 2 + scale * (px - 200), y + height / 2 + scale * (py - 150)) for px, py in line])


def paint(page: Browser, line: tuple[tuple[int, int], ...]) -> None:
    """Draw a line and click *Apply strokes* until the notes change.

    The editor passes a stroke on once it has encoded it, and on a busy machine it may not yet take one when it is first
    shown; then nothing is drawn, and the line is drawn again.
    """
    before = lines(page, "notes")
    for attempt in range(40):
        if attempt % 10 == 0:
            draw(page, line)
        page.run("document.querySelector('#apply').click()")
        page.wait("document.querySelector('#notes [data-testid=status-tracker]').classList.contains('hide')")
        if lines(page, "notes") != before:
            return
        page.run("new Promise(done => setTimeout(done, 500))")
    pytest.fail("the stroke has not arrived")


def by_command(
    page: Browser, server: Server, out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """The mesh of the command that the page prints, in the folder of the photos."""
    monkeypatch.chdir(folder)
    words = shlex.split(page.run("document.querySelector('#details code').textContent"))
    words[words.index("-o") + 1] = str(out)
    assert cli.main([*words[1:], "--config", str(server.config)]) == 0
    return out.read_bytes()


def test_photos_to_the_mesh_of_the_command(page, server, photos, tmp_path, monkeypatch):
    notes = upload(page, photos / "plain.png", photos / "side.jpg")
    assert notes.splitlines() == [
        "plain.png: object from plain background",
        "side.jpg: object from plain background",
    ]
    # Options that are only looked at change nothing.
    page.run("document.querySelector('#options button').click()")
    page.wait("document.querySelector('#threshold input, #threshold textarea') !== null")
    assert reconstruct(page).startswith("plain.glb: 5")
    assert "--threshold" not in page.run("document.querySelector('#details code').textContent")
    fill(page, "#faces", "300")
    assert reconstruct(page).startswith("plain.glb: 3")
    for name in ("glb", "obj", "ply"):
        mesh = by_command(page, server, tmp_path / f"out.{name}", photos, monkeypatch)
        assert download(page, name) == mesh
    details = text(page, "details")
    assert all(step in details for step in ("encode", "agreement", "mise", "refine", "files", "sum"))
    page.wait("document.querySelector('#mesh canvas') !== null")


def test_a_refused_photo_is_rescued_by_the_brush(page, server, photos, tmp_path, monkeypatch):
    file = photos / "chequered.png"
    with pytest.raises(ImageError) as error:
        load_photo(file)
    notes = upload(page, file)
    assert notes.splitlines()[0] == str(error.value).replace(str(file), "chequered.png")
    assert reconstruct(page) == notes.splitlines()[0]
    # The zoom has a value of its own once the image is in the editor.
    page.wait("(document.querySelector('#editor .zoom-number')?.innerText ?? '100%').trim() !== '100%'")
    page.run("new Promise(done => setTimeout(done, 300))")
    paint(page, OBJECT)
    assert lines(page, "notes") == "chequered.png: your mask"
    assert reconstruct(page).startswith("chequered.glb: 5")
    assert lines(page, "notes") == "chequered.png: your mask"
    masked = tmp_path / "masked" / "chequered.png"
    masked.parent.mkdir()
    masked.write_bytes(download(page, "masked"))
    with Image.open(masked) as image:
        opacity = image.getchannel("A")
    assert [opacity.getpixel(point) for point in ((200, 100), (120, 200), (200, 180))] == [255] * 3
    assert [opacity.getpixel(point) for point in ((60, 150), (200, 40), (350, 250))] == [0] * 3
    assert download(page, "glb") == by_command(page, server, tmp_path / "o.glb", masked.parent, monkeypatch)
    page.run("document.querySelector('#reset').click()")
    page.wait("document.querySelector('#notes .error') !== null")


def png(width: int, height: int) -> bytes:
    """A PNG with this size in its header and 10 MB of zeros, compressed to 10 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


HOSTILE = {
    "bomb.png": png(100_000, 100_000),
    "large.png": png(9_000, 9_000),
    "nothing.png": png(0, 0),
    "empty.png": b"",
    "script.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='x'</script></svg>",
    "<img src=x onerror=document.title='x'>.png": b"<script>document.title='x'</script>",
    "**a** [b](javascript:alert(1)) $x$ `c`.png": b"x",
}


def test_hostile_photos_are_one_line_each_as_on_the_command_line(page, tmp_path, photos):
    expected = []
    for name, content in HOSTILE.items():
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(ImageError) as error:
            load_photo(file)
        expected.append(str(error.value).replace(str(file), name))
    assert upload(page, *(tmp_path / name for name in HOSTILE)).splitlines() == expected
    assert reconstruct(page) == expected[0]
    assert page.run("document.title") == "occnet"
    # A photo with a wrong suffix is a photo; the page goes on.
    (tmp_path / "photo.txt").write_bytes((photos / "plain.png").read_bytes())
    page.run("document.querySelector('#photos [aria-label=Clear]').click()")
    page.wait("document.querySelector('#notes li') === null")
    assert upload(page, tmp_path / "photo.txt") == "photo.txt: object from plain background"


def form(name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--x--\r\n", {"content_type": "multipart/form-data; boundary=x"}


def test_requests_beside_the_page(server, photos):
    for path in ("/etc/passwd", "/proc/self/environ", f"{server.config}", "..%2f..%2fetc/passwd"):
        assert server.get(f"gradio_api/file={path}")[0] == 403
    for path in (
        "gradio_api/proxy=http://localhost/",
        "monitoring",
        "gradio_api/runs",
        "static/%2e%2e/%2e%2e/x",
    ):
        assert server.get(path)[0] == 404
    assert server.get("", host="evil.example")[0] == 421
    assert server.get("", origin="http://evil.example")[0] == 403
    event = b'{"data": [[{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]], "fn_index": 0}'
    assert server.get("gradio_api/queue/join", event, content_type="application/json")[0] == 403
    body, headers = form("../../../evil.png", (photos / "plain.png").read_bytes())
    status, answer = server.get("gradio_api/upload", body, **headers)
    (path,) = map(Path, json.loads(answer))
    assert status == 200
    assert path.name == "evil.png"
    assert path.resolve().is_relative_to(server.temporary)
    assert server.get(f"gradio_api/file={path}") == (200, (photos / "plain.png").read_bytes())
    assert server.get(f"gradio_api/file={path}/../../../.lock")[0] == 403


def test_no_file_outside_its_folder_can_be_read(server, photos):
    secret = server.config.with_name("secret.png")
    secret.write_bytes(b"secret")
    body, headers = form("photo.png", (photos / "plain.png").read_bytes())
    (upload,) = map(Path, json.loads(server.get("gradio_api/upload", body, **headers)[1]))
    link, above = upload.parent / "link.png", os.path.relpath(secret, upload.parent)
    link.symlink_to(secret)
    encoded = above.replace(".", "%2e").replace("/", "%2f")
    places = [
        *(str(secret), str(link), f"{upload.parent}/{above}", f"/proc/self/root{secret}"),
        *(f"{upload.parent}/{encoded}", f"{upload.parent}/{encoded.replace('%', '%25')}", f"file://{secret}"),
    ]
    for place in places:
        status, answer = server.get(f"gradio_api/file={place}")
        assert (status, b"secret" in answer) == (403, False), place
    for place in (*places[:4], f"file://{secret}", f"http://localhost{secret}", secret.name):
        for value in ([{"path": place, "orig_name": "photo.png"}], {"deep": [{"path": place, "url": None}]}):
            event = json.dumps({"data": [value], "fn_index": 0, "session_hash": "x"}).encode()
            for route, expected in (("queue/join", 403), ("run/upload", 404), ("call/upload", 404)):
                status, answer = server.get(f"gradio_api/{route}", event, content_type="application/json")
                assert (status, b"secret" in answer) == (expected, False), (route, place)
    event = json.dumps(
        {"data": str(secret), "fn_name": "ls", "component_id": 1, "session_hash": "x"}
    ).encode()
    status, answer = server.get("gradio_api/component_server", event, content_type="application/json")
    assert status != 200
    assert b"secret" not in answer


def test_a_tab_that_is_closed_during_an_upload_leaves_nothing(server, photos):
    """Neither lines in the terminal, which the fixture of the server checks at its end, nor a partial file."""
    place = urlsplit(server.url)
    for route in ("upload", "component_server"):
        body, headers = form("plain.png", (photos / "plain.png").read_bytes())
        head = [f"POST /gradio_api/{route} HTTP/1.1", f"host: {place.netloc}", f"content-length: {len(body)}"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        old = server.files()
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + body[: len(body) // 2])
            server.wait_for_files(lambda files, old=old: files != old)
        server.wait_for_files(lambda files, old=old: files == old)


def test_twenty_uploads_at_once(page, server, photos, tmp_path):
    content = (photos / "plain.png").read_bytes()
    forms = [form(f"{i}.png", content + bytes(i)) for i in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda form: server.get("gradio_api/upload", form[0], **form[1]), forms))
    assert [status for status, _ in answers] == [200] * 20
    files = [tmp_path / f"{i}.png" for i in range(20)]
    for file in files:
        file.write_bytes(content)
    assert upload(page, *files).startswith("20 photos of one object, more than 12")


def test_a_phone_shows_everything(page, server, photos):
    page.open(server.url, 390, 844, dark=True)
    page.wait(f"document.querySelector('{INPUT}') !== null")
    upload(page, photos / "plain.png")
    assert page.run("document.documentElement.scrollWidth") <= 390
    assert reconstruct(page).startswith("plain.glb: 5")
