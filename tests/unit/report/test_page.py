"""The report: whole from whole results, a sentence for what is missing, and nothing that breaks the page."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from occnet_lib.analysis.duplicates import PAIR_COLUMNS
from occnet_lib.analysis.fields import OUTCOME_COLUMNS
from occnet_lib.config import Config, ModelConfig, ReportConfig, check
from occnet_lib.evaluation.cameras import FIELDS, SUMMARY
from occnet_lib.evaluation.refinements import COMPARED, summarise_refinements
from occnet_lib.report import (
    cameras,
    cards,
    data,
    differences,
    document,
    examples,
    fields,
    html,
    metrics,
    plots,
    published,
    refinement,
    write_report,
)
from occnet_lib.report import page as page_module
from occnet_lib.report.page import build
from occnet_lib.report.results import Results, number, shown
from occnet_lib.storage.examples import evenly
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import read_rows, write_rows
from tests.support.demo_results import IMAGE_SIZE, write_results

CONFIG = Config(models={"onet": ModelConfig(), "small": ModelConfig(hidden=128, c_dim=128, decoder="fc")})
SECTIONS = (
    "results",
    "examples",
    "fields",
    "shapes",
    "training",
    "embedding",
    "data",
    "distributions",
    "duplicates",
    "projections",
    "preprocessing",
    "failures",
    "run",
)
VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """A page taken apart; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: dict[str, str] = {}
        self.section = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = ""

    def handle_data(self, data):
        if self.open[-1:] in (["script"], ["style"]):
            return
        self.text[self.section] = self.text.get(self.section, "") + data + " "

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run") / "results"
    write_results(root, CONFIG)
    return root


@pytest.fixture(scope="module")
def page(results: Path) -> Page:
    return Page(build(Results(results, CONFIG)))


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without rendered images, for tests that look at words."""
    monkeypatch.setattr(cards, "mesh_images", lambda *_: [b"", b""])
    monkeypatch.setattr(cards.meshes, "encode", lambda *_: None)
    monkeypatch.setattr(fields, "splat", lambda *_: b"")
    monkeypatch.setattr(plots, "_png", lambda _: b"")


def rebuilt(root: Path, config: Config = CONFIG) -> Page:
    return Page(build(Results(root, config)))


class TestWholePage:
    def test_one_file_without_network(self, results, tmp_path) -> None:
        out = tmp_path / "deep" / "report.html"
        write_report(results, CONFIG, out)
        assert [path.name for path in out.parent.iterdir()] == ["report.html"]
        text = out.read_text(encoding="utf-8")
        page = Page(text)
        assert page.values("src"), "figures are inside"
        assert all(value.startswith("data:image/") for value in page.values("src"))
        assert all(value.startswith("#") for value in page.values("href"))
        assert any("default-src 'none'; img-src data:;" in value for value in page.values("content"))
        own = text.replace(document.three(), "")
        assert len(own) < len(text), "the library of the viewer is inside, which names its own addresses"
        assert not re.search(r"https?://|@import|url\(", own)

    def test_the_same_bytes_again(self, results) -> None:
        assert build(Results(results, CONFIG)) == build(Results(results, CONFIG))

    def test_every_section_has_its_content(self, page) -> None:
        assert tuple(page.values("id")) == SECTIONS
        for section in SECTIONS:
            assert "There is no" not in page.text[section], section
            assert "could not be made" not in page.text[section], section
            assert "nan" not in page.text[section].lower().split()

    def test_images_are_images_with_words_for_those_who_do_not_see_them(self, page) -> None:
        for source in page.values("src"):
            kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", source).groups()
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                assert image.format.lower() == kind
        assert len(page.values("alt")) == len(page.values("src"))
        assert all(page.values("alt"))

    def test_numbers_are_those_of_the_tables(self, page, results) -> None:
        for row in read_rows(results / "evaluate" / "models.csv"):
            said = page.text["results"]
            assert (
                f"{float(row['iou']):.3f}  [{float(row['iou_low']):.3f}, {float(row['iou_high']):.3f}]"
                in said
            )
            assert f"{float(row['chamfer_l1']):.4f} " in said
            assert f"{10 * float(row['chamfer_l1']):.3f} " in said
        for row in read_rows(results / "evaluate" / "classes.csv"):
            assert f"{float(row['normal_consistency']):.3f} " in page.text["results"]
        assert "unit cube" in page.text["results"]
        assert "× 10" in page.text["results"]

    def test_the_headline_names_the_best_model_and_the_best_baseline(self, page, results) -> None:
        rows = {row["model"]: row for row in read_rows(results / "evaluate" / "models.csv")}
        lead = page.text[""]
        assert "onet reconstructs 4 test shapes from one photo each at a mean IoU of" in lead
        assert f"IoU of {float(rows['onet']['iou']):.3f} (95 % interval" in lead
        assert f"nearest image, reaches {float(rows['baseline_nearest_image']['iou']):.3f}" in lead

    @pytest.mark.parametrize(
        ("model", "fit", "given"),
        [
            ({"local": True}, 0, True),
            ({"local": True, "pose": True}, 0, False),
            ({}, 8, True),
            ({}, 0, False),
        ],
    )
    def test_models_that_are_given_true_cameras_are_named(self, results, model, fit, given) -> None:
        values = {"models": {"onet": model, "small": {"pose": True}}, "reconstruct": {"fit": fit}}
        read = Results(results, check(values))
        lead = Page(metrics.headline(read)).text[""]
        assert ("from one photo and its true camera each at" in lead) == given
        assert ("from one photo each at" in lead) != given
        text = Page(metrics.section(read)).text[""]
        assert ("Given the true camera of every image: onet." in text) == given

    def test_the_best_model_is_compared_with_the_others(self, page, results) -> None:
        pairs = {
            (row["model"], row["other"]): row for row in read_rows(results / "evaluate" / "differences.csv")
        }
        iou = float(pairs["onet", "baseline_nearest_image"]["iou"])
        ends = f"{iou - 0.02:+.3f} to {iou + 0.02:+.3f}"
        assert f"(difference {iou:+.3f}, 95 % interval {ends})" in page.text[""]
        said = page.text["results"]
        assert "onet against the others" in said
        for other in ("small", "baseline_nearest_image"):
            row = pairs["onet", other]
            assert (
                f"{float(row['iou']):+.3f}  [{float(row['iou_low']):+.3f}, {float(row['iou_high']):+.3f}]"
                in said
            )
            assert f"{10 * float(row['chamfer_l1']):+.3f}  [" in said

    def test_several_images_of_one_object_have_a_table_of_their_gain(self, copy, quick) -> None:
        about = {"model": "onet", "source": "views", "shapes": 4, "named": "", "intruder_named": ""}
        one = about | {"images": 1, "iou": 0.5, "gain": 0, "gain_low": 0, "gain_high": 0}
        clear = about | {"images": 2, "iou": 0.518, "gain": 0.018, "gain_low": 0.01, "gain_high": 0.025}
        open_ = about | {"images": 3, "iou": 0.52, "gain": 0.02, "gain_low": -0.001, "gain_high": 0.04}
        noticed = open_ | {"named": 0.04, "intruder_named": 0.715}
        write_rows(copy / "evaluate" / "merged.csv", [one, clear, noticed])
        said = rebuilt(copy).text["results"]
        assert "Several images of one object" in said
        assert "0.500" in said
        assert "0.518  +0.018 [+0.010, +0.025]" in said
        assert "4 %" in said
        assert "72 %" in said
        assert '<td class="best">0.518' in build(Results(copy, CONFIG))
        assert '<td class="best">0.520' not in build(Results(copy, CONFIG))
        write_rows(copy / "evaluate" / "merged.csv", [], list(one))
        assert "Several images" not in rebuilt(copy).text["results"]

    def test_a_difference_is_bold_where_its_interval_leaves_out_0(self, copy, quick) -> None:
        path = copy / "evaluate" / "differences.csv"
        for low, high, bold in ((0.01, 0.2, True), (-0.2, -0.01, True), (-0.01, 0.2, False)):
            ends = {"iou": "0.1234", "iou_low": low, "iou_high": high}
            rows = [row | ends if row["model"] == "onet" else row for row in read_rows(path)]
            write_rows(path, rows, list(rows[0]))
            assert ('<td class="best">+0.123<small>' in build(Results(copy, CONFIG))) == bold
        path.unlink()
        page = rebuilt(copy)
        assert "against the others" not in page.text["results"]
        assert "difference" not in page.text[""]
        for broken in ("a,b\n1,2\n", "model,other,iou,iou_low\nonet,baseline_nearest_image,.1,.2\n"):
            path.write_text(broken)
            page = rebuilt(copy)
            assert "onet reconstructs 4 test shapes" in page.text[""]
            assert "interval" not in page.text[""].partition("nearest image")[2]
            assert "could not be made" not in page.text["results"]

    def test_the_floor_is_shown_but_does_not_compete(self, copy, quick) -> None:
        for name in ("models", "classes", "shapes"):
            path = copy / "evaluate" / f"{name}.csv"
            rows = [dict(row) for row in read_rows(path)]
            perfect = {"model": "baseline_floor", "iou": 1.0, "chamfer_l1": 0.0004, "status": "ok"}
            write_rows(path, rows + [row | perfect for row in rows if row["model"] == "onet"])
        shutil.copytree(copy / "reconstruct" / "onet", copy / "reconstruct" / "baseline_floor")
        page = rebuilt(copy)
        assert page.text["results"].count("floor: the true mesh") == 1
        assert "Floor: the true mesh in place of a prediction" in page.text["results"]
        assert "nearest image, reaches" in page.text[""]
        assert "floor" not in page.text["examples"]
        assert '<td class="best">0.0004' not in build(Results(copy, CONFIG))

    def test_the_oracle_does_not_compete_either_and_views_are_in_the_same_table(self, copy, quick) -> None:
        path = copy / "evaluate" / "models.csv"
        rows = [dict(row) for row in read_rows(path)]
        seen = {"iou_views": 0.4321, "iou_views_sd": 0.0567, "iou_photos": 0.3987, "iou_photos_sd": 0.0789}
        rows = [row | (seen if row["model"] == "onet" else {}) for row in rows]
        onet = next(row for row in rows if row["model"] == "onet")
        oracle = onet | {"model": "baseline_oracle", "iou": 0.99}
        retrieval = onet | {"model": "baseline_retrieval-onet", "iou": 0.01, "chamfer_l1_original": 0.0123}
        write_rows(path, [*rows, oracle, retrieval])
        said = rebuilt(copy).text["results"]
        assert "0.432" in said
        assert "± 0.057" in said
        assert "IoU of photos" in said
        assert "0.399" in said
        assert "± 0.079" in said
        assert "0.0123" in said
        assert "baseline: retrieval by onet" in said
        assert "what perfect memorisation could reach" in said
        assert "nearest image, reaches" in rebuilt(copy).text[""]
        assert said.index("retrieval by onet") < said.index("baseline: oracle")

    def test_queried_points_are_counted_by_outcome(self, page, results) -> None:
        for row in read_rows(results / "analyse" / "fields_small" / "fields.csv"):
            counts = [
                f"{word} {int(row[key]):,}"
                for word, key in zip(("TP", "FP", "FN"), OUTCOME_COLUMNS, strict=False)
            ]
            assert " · ".join(counts) in page.text["fields"].replace("  ", " ")
            assert f"IoU {float(row['iou']):.3f}" in page.text["fields"]

    def test_a_shift_between_splits_is_seen(self, copy, quick) -> None:
        folder = copy / "analyse" / "distributions"
        rows = [
            {
                "category": "car",
                "id": str(i),
                "split": split,
                "volume": volume,
                "components": 1 + (volume > 0.15),
            }
            for split, volumes in (("train", (0.1, 0.1, 0.2)), ("test", (0.3, 0.3, 0.5)))
            for i, volume in enumerate(volumes)
        ]
        write_rows(folder / "shapes.csv", rows)
        (folder / "mean_car_test.png").write_bytes(b"image")
        page = rebuilt(copy)
        assert "car train 3 66.7 %" in " ".join(page.text["distributions"].split())
        assert "car test 3 0.0 %" in " ".join(page.text["distributions"].split())
        plots = [json.loads(data) for data in page.values("data-plot") if "Volume" in data]
        medians = {series["name"]: series["x"] for series in plots[0]["panels"][0]["series"]}
        assert medians == {"train": [0.1], "test": [0.3]}
        assert "mean shape of car, test" in page.values("alt")
        assert "mean shape of car, train" not in page.values("alt"), "there is no such file"
        assert not [alt for alt in page.values("alt") if "Thickness" in alt], "no shape has one"

    def test_a_leak_between_splits_is_a_warning(self, copy, quick) -> None:
        assert "Warning" not in rebuilt(copy).text["duplicates"]
        pair = ("car", "car_0002", "test", "car", "car_0000", "train", "mirrored", 0.0004)
        write_rows(
            copy / "analyse" / "duplicates" / "duplicates.csv", [dict(zip(PAIR_COLUMNS, pair, strict=True))]
        )
        near = {"category": "car", "id": "car_0002", "distance": 0.0123}
        write_rows(copy / "analyse" / "duplicates" / "nearest.csv", [near])
        page = rebuilt(copy)
        said = page.text["duplicates"]
        assert "1 pair of near-duplicates is in different splits" in said
        drawn = [alt for alt in page.values("alt") if alt.endswith(("car/car_0002", "car/car_0000"))]
        pair = [f"{kind} of car/{name}" for name in ("car_0002", "car_0000") for kind in ("image", "mesh")]
        assert drawn[-4:] == pair, "both shapes are shown beside each other"
        assert "mirrored, distance 0.00040" in said
        assert "car/car_0002 (test)" in said
        assert "car/car_0000 (train)" in said
        assert "Recognition or reconstruction" in said

    def test_failures_tell_reason_and_log(self, page) -> None:
        said = page.text["failures"]
        assert "chair/lost" in said
        assert "no <faces> & nothing else" in said
        assert "results/logs/preprocess/train-000.log" in said
        assert "empty field" in said
        assert "results/logs/reconstruct/small/test-000.log" in said

    def test_run_and_preprocessing_count_shapes_and_time(self, page) -> None:
        assert "9 of 2 categories: 3 train, 2 val, 4 test" in page.text["run"]
        assert "7 ok, 1 warn, 1 failed" in page.text["run"]
        words = page.text["run"].split()
        assert words[words.index("preprocess") + 1 : words.index("preprocess") + 5] == [
            "2",
            "40",
            "25",
            "612",
        ]
        assert "torch 2.13" in page.text["run"]
        assert "watertight surface error" in page.text["preprocessing"]
        assert "closed 3 holes" in page.text["preprocessing"]
        assert "seconds watertight" in page.text["preprocessing"]


@pytest.mark.usefixtures("quick")
class TestMissingParts:
    def test_an_empty_folder_is_a_page_of_sentences(self, tmp_path, caplog) -> None:
        page = rebuilt(tmp_path)
        for section in ("results", "training", "embedding", "data", "projections", "preprocessing"):
            assert "There " in page.text[section], section
        assert "There are no examples" in page.text["examples"]
        assert "Nothing has been evaluated yet" in page.text[""]
        assert "no result files" in page.text["run"]
        assert not caplog.records
        assert page.values("src") == []

    @pytest.mark.parametrize(
        ("part", "section"),
        [
            ("evaluate", "results"),
            ("evaluate/models.csv", "results"),
            ("evaluate/classes.csv", "results"),
            ("pack", "examples"),
            ("analyse", "fields"),
            ("train", "training"),
            ("analyse", "data"),
            ("analyse/statistics.csv", "data"),
            ("analyse/distributions/shapes.csv", "distributions"),
            ("analyse/projections", "projections"),
            ("preprocess", "preprocessing"),
            ("benchmarks", "run"),
        ],
    )
    def test_each_part_may_be_missing_alone(self, copy, part, section, caplog) -> None:
        path = copy / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        page = rebuilt(copy)
        assert "There " in page.text[section]
        assert not caplog.records
        assert page.values("src"), "the other parts are still there"

    def test_without_reconstructions_the_examples_are_photo_and_truth(self, copy) -> None:
        shutil.rmtree(copy / "reconstruct")
        said = rebuilt(copy).text["examples"]
        assert "ground truth" in said
        assert "small" not in said

    def test_a_run_without_failures_says_so(self, copy) -> None:
        for name in ("preprocess/shapes.csv", "evaluate/shapes.csv"):
            rows = [row for row in read_rows(copy / name) if row["status"] != "failed"]
            write_rows(copy / name, rows)
        assert "No shape failed." in rebuilt(copy).text["failures"]

    @pytest.mark.parametrize(
        ("part", "section"),
        [
            ("evaluate/models.csv", "results"),
            ("analyse/statistics.csv", "data"),
            ("analyse/distributions/shapes.csv", "distributions"),
            ("preprocess/shapes.csv", "preprocessing"),
            ("train/onet/metrics.csv", "training"),
            ("train/onet/options.json", "training"),
            ("pack/test-000.h5", "examples"),
            ("reconstruct/onet/test-000/car/car_0002.ply", "examples"),
            ("analyse/fields_onet/fields.csv", "fields"),
            ("analyse/fields_onet/car/car_0002.ply", "fields"),
        ],
    )
    @pytest.mark.parametrize("content", [b"\xff\xfe\x00 no text", b"a,b\n1,2,3\n", b""])
    def test_broken_files_do_not_break_the_page(self, copy, part, section, content) -> None:
        (copy / part).write_bytes(content)
        page = rebuilt(copy)
        assert set(SECTIONS) <= set(page.values("id"))
        assert page.text[section].strip()

    def test_examples_need_no_metrics(self, copy) -> None:
        (copy / "evaluate" / "models.csv").write_text("a,b\n1,2,3\n")
        assert "could not be made" not in rebuilt(copy).text["examples"]


@pytest.mark.usefixtures("quick")
class TestHostileNames:
    def test_everything_is_escaped(self, copy) -> None:
        evil = "<script>alert(1)</script>\"'&"
        for name in (
            "preprocess/shapes.csv",
            "evaluate/shapes.csv",
            "evaluate/models.csv",
            "evaluate/classes.csv",
        ):
            rows = [dict(row) for row in read_rows(copy / name)]
            write_rows(
                copy / name, [row | {k: evil for k in ("reason", "stage") if k in row} for row in rows]
            )
        rows = [dict(row) | {"category": evil} for row in read_rows(copy / "analyse" / "statistics.csv")]
        write_rows(copy / "analyse" / "statistics.csv", rows)
        page = rebuilt(copy, CONFIG.model_copy(update={"report": ReportConfig(title=evil)}))
        assert sum(tag == "script" for tag in re.findall(r"<(\w+)", build(Results(copy, CONFIG)))) == 1
        assert evil in page.text["data"]
        assert evil in page.text["failures"]
        assert evil in page.text[""]

    def test_tag_escapes_children_and_attributes(self) -> None:
        made = html.tag("p", "<b>", html.Html("<i>x</i>"), None, title='"<>', data_x=1, class_=None)
        assert made == '<p title="&quot;&lt;&gt;" data-x="1">&lt;b&gt;<i>x</i>–</p>'

    def test_cells_are_not_wrapped_twice(self) -> None:
        made = html.table(("a",), [(html.cell("<", strong=True),), ("<td",)], last=(3,))
        assert made.count("<td") == 3
        assert '<td class="best">&lt;</td>' in made
        assert "<td>&lt;td</td>" in made
        assert '<tr class="mean"><td>3</td></tr>' in made


@pytest.mark.usefixtures("quick")
class TestPublishedNumbers:
    def rename(self, root: Path, names: dict[str, str]) -> Page:
        for name in ("classes.csv", "shapes.csv"):
            rows = [dict(row) for row in read_rows(root / "evaluate" / name)]
            write_rows(root / "evaluate" / name, [row | {"category": names[row["category"]]} for row in rows])
        return rebuilt(root)

    def test_only_beside_shapenets_synsets(self, page, copy) -> None:
        assert "Published numbers" not in page.text["results"]
        said = self.rename(copy, {"car": "02958343", "chair": "03001627"}).text["results"]
        assert "Published numbers, for reference only" in said
        assert "0.737" in said
        assert "0.206" in said
        assert "0.840" not in said, "neither other classes nor the mean of all 13"
        assert "car (02958343)" in said

    def test_not_beside_a_mixture(self, copy) -> None:
        said = self.rename(copy, {"car": "02958343", "chair": "my chairs"}).text["results"]
        assert "Published numbers" not in said

    def test_means_are_those_of_the_rows(self) -> None:
        for column in (0, 1):
            rows = np.array([row[2 + column] for row in published.ROWS])
            np.testing.assert_allclose(rows.mean(0), published.MEAN[column], atol=0.0011)
        assert len(published.NAMES) == len(published.ROWS) == 13


class TestExamples:
    def test_the_truth_seen_by_the_photos_camera_covers_the_photos_silhouette(self, results) -> None:
        shard = Shard(results / "pack" / "test-000.h5")
        for i in range(len(shard)):
            first, turned = cards.mesh_images(shard.mesh(i), shard.camera(i, 0), (0.3, 0.3, 0.3))
            silhouettes = [self.silhouette(data) for data in (first, turned)]
            photo = (shard.image(i, 0) < 250).any(-1)
            agree = [(photo & s).sum() / (photo | s).sum() for s in silhouettes]
            assert agree[0] > 0.8
            assert agree[1] < agree[0]

    def silhouette(self, data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("L").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)) < 225

    def test_meshes_of_an_earlier_configuration_are_not_shown(self, copy, quick) -> None:
        shutil.copytree(copy / "reconstruct" / "onet", copy / "reconstruct" / "given_up")
        assert "given_up" not in rebuilt(copy).text["examples"]
        shutil.copytree(copy / "reconstruct" / "onet", copy / "reconstruct" / "baseline_class_mean")
        assert "class mean" in rebuilt(copy).text["examples"]

    def test_shapes_are_taken_at_even_quantiles_of_the_ranking(self, results) -> None:
        ranked = [str(i) for i in range(8)]
        assert evenly(ranked, 1) == ["4"]
        assert evenly(ranked, 2) == ["2", "6"]
        assert evenly(ranked[:1], 5) == ["0"]
        config = CONFIG.model_copy(update={"report": ReportConfig(examples=1)})
        chosen = examples.choose(Results(results, config))
        rows = {
            f"{r['category']}/{r['id']}": float(r["iou"])
            for r in read_rows(results / "evaluate" / "shapes.csv")
            if r["model"] == "onet"
        }
        for category in ("car", "chair"):
            own = sorted((name for name in rows if name.startswith(category)), key=lambda name: rows[name])
            assert chosen[category] == [own[1]]

    def test_a_failed_shape_tells_why_it_has_no_mesh(self, page) -> None:
        assert "no mesh: empty field" in page.text["examples"]

    def test_every_model_and_both_angles_are_shown(self, page) -> None:
        alts = page.values("alt")
        assert alts.count("onet of car/car_0002") == 2
        assert alts.count("baseline: nearest image of car/car_0002") == 2
        assert alts.count("ground-truth mesh of car/car_0002") == 2
        assert alts.count("photo of car/car_0002") == 1


class TestNumbers:
    @pytest.mark.parametrize(
        ("cell", "value"),
        [
            ("0.5", 0.5),
            ("-1e-3", -0.001),
            ("", None),
            ("nan", None),
            ("inf", None),
            ("x", None),
            (None, None),
        ],
    )
    def test_cells(self, cell, value) -> None:
        assert number({"a": cell}, "a") == value
        assert number({}, "a") is None

    def test_shown(self) -> None:
        assert shown(None) is None
        assert shown(1234.5, 1) == "1,234.5"

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (0.0, "0"),
            (5010.0, "5,010"),
            (5009.5, "5,010"),
            (1.849, "1.85"),
            (0.000351, "0.000351"),
            (-0.5, "-0.500"),
        ],
    )
    def test_three_significant_digits(self, value, said) -> None:
        assert data._three_digits(value) == said

    def test_worst_to_best_shading(self) -> None:
        assert metrics._shade(0.2, 0.2, 0.6, True) == 0
        assert metrics._shade(0.2, 0.2, 0.6, False) == 1
        assert metrics._shade(0.3, 0.3, 0.3, True) == 0.5
        assert metrics._shade(None, 0, 1, True) is None

    def test_switches_tell_networks_apart(self, copy, quick) -> None:
        turned = ModelConfig(frame="camera", image="silhouette", positional_encoding=4)
        said = rebuilt(copy, Config(models={"onet": turned, "small": CONFIG.models["small"]})).text[
            "training"
        ]
        assert "resnet18 + cbn, 256 wide, positional_encoding 4, frame camera, image silhouette" in said
        assert "resnet18 + fc, 128 wide, c_dim 128" in said

    def test_bold_is_the_best_by_the_metrics_direction(self, results) -> None:
        text = build(Results(results, CONFIG))
        rows = read_rows(results / "evaluate" / "models.csv")
        lowest = min(float(row["chamfer_l1"]) for row in rows)
        assert f'<td class="best">{lowest:.4f}<small>' in text
        assert f'<td class="best">{10 * lowest:.3f}<small>' in text

    def test_intervals_are_spoken_of_where_there_are_some(self, copy, quick) -> None:
        page = rebuilt(copy)
        assert "with 95 % bootstrap intervals" in page.text["results"]
        assert "intervals of paired bootstrap samples" in page.text["results"]
        for name in ("models", "differences"):
            path = copy / "evaluate" / f"{name}.csv"
            rows = [
                {k: "" if k.endswith(("_low", "_high")) else v for k, v in row.items()}
                for row in read_rows(path)
            ]
            write_rows(path, rows)
        page = rebuilt(copy)
        assert "without intervals (a class has a single test shape" in page.text["results"]
        assert "onet against the others" in page.text["results"]
        assert "paired" not in page.text["results"]
        assert "interval" not in page.text[""]

    def test_equal_rows_are_bold_together(self, copy, quick) -> None:
        path = copy / "evaluate" / "models.csv"
        rows = read_rows(path)
        trained = [row for row in rows if not row["model"].startswith("baseline_")]
        for row in trained[:2]:
            row["iou"] = "0.9876"
        write_rows(path, rows, list(rows[0]))
        assert build(Results(copy, CONFIG)).count('<td class="best">0.988<small>') >= 2


class TestPlots:
    def test_thirteen_colours_are_different(self) -> None:
        assert len(set(plots.colors(13))) == 13
        assert len(set(plots.colors(3))) == 3

    @pytest.mark.parametrize(
        "plot",
        [
            plots.curves({"Loss": {"a": {"train": ([1], [2]), "validation": ([1, 2], [2, 1])}}}, "step"),
            plots.curves({str(i): {"a": {"train": (range(5000), range(5000))}} for i in range(3)}, "step"),
            plots.intervals([("a", 0.5, 0.4, 0.6), ("b", 0.2, None, None)], "IoU"),
            plots.distributions({"a": [0.1, 0.5], "b": [0.3]}, "IoU"),
            plots.scatter({"a": [plots.Point(0, 1, "", 0)], "b": []}, "t-SNE"),
        ],
        ids=["curves", "many", "intervals", "distributions", "scatter"],
    )
    def test_an_image_with_something_on_it(self, plot) -> None:
        with Image.open(io.BytesIO(plot.png)) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
            assert image.size[0] > 500

    @pytest.mark.usefixtures("quick")
    def test_options_without_versions_or_parameters(self, copy) -> None:
        (copy / "train" / "onet" / "options.json").write_text(json.dumps(["no object"]))
        (copy / "train" / "small" / "options.json").unlink()
        page = rebuilt(copy)
        assert "0.541" in page.text["training"]
        assert "occnet" in page.text["run"]


def test_costs_follow_the_path_of_the_data(tmp_path) -> None:
    for stage in ("later", "evaluate", "index", "import", "train"):
        (tmp_path / "benchmarks" / stage).mkdir(parents=True)
        (tmp_path / "benchmarks" / stage / "a.tsv").write_text("s\tcpu_time\tmax_rss\n1\t2\t3\n")
    actual = page_module._costs(SimpleNamespace(root=tmp_path))
    stages = ("import", "train", "index", "evaluate", "later")
    places = [actual.index(f">{stage}<") for stage in stages]
    assert places == sorted(places)


class TestGains:
    """The section What helps, and models with several seeds in the others."""

    CONFIG = check(
        {
            "models": {"onet": {"seeds": 2}, "small": {"hidden": 128, "c_dim": 128, "decoder": "fc"}},
            "evaluate": {"compare": {"small": "onet"}},
        }
    )
    ROW: ClassVar = {
        **{"model": "small", "reference": "onet", "shapes": 4, "seeds": 3, "cpu_seconds": 61.2},
        **{"iou_views": 0.02, "iou_views_low": 0.01, "iou_views_high": 0.03},
        **{"iou": -0.01, "iou_low": -0.02, "iou_high": 0.001},
        **{"chamfer_l1": 0.004, "chamfer_l1_low": 0.001, "chamfer_l1_high": 0.007},
    }

    def test_gains_and_losses_are_read_out(self, copy, quick) -> None:
        write_rows(copy / "evaluate" / "gains.csv", [self.ROW])
        text = rebuilt(copy, self.CONFIG).text["gains"]
        assert "+0.020" in text
        assert "[-0.020, +0.001]" in text
        assert "gain in views; loss in Chamfer-L1" in text
        assert "61 · –" in text

    def test_a_missing_table_is_a_sentence(self, copy, quick) -> None:
        assert "this run has no evaluate/gains.csv" in rebuilt(copy, self.CONFIG).text["gains"]

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ({"iou_low": "-0.1", "iou_high": "0.1", "seeds": "3"}, "no gain"),
            ({"iou_low": "", "iou_high": "", "seeds": "3"}, "no interval"),
            ({"iou_low": "0.1", "iou_high": "0.2", "seeds": "1"}, "gain in meshes; one seed"),
            ({"iou_low": "-0.1", "iou_high": "0.2", "seeds": "1"}, "no gain; one seed"),
            ({"chamfer_l1_low": "-0.2", "chamfer_l1_high": "-0.1", "seeds": "2"}, "gain in Chamfer-L1"),
        ],
    )
    def test_readings(self, row, words) -> None:
        assert differences.reading(row).startswith(words)

    def test_other_sections_show_the_first_seed(self, copy, quick) -> None:
        """The further seed's rows and folders do not lengthen the page, but its failures are listed."""
        for name in ("models", "classes", "shapes"):
            path = copy / "evaluate" / f"{name}.csv"
            rows = read_rows(path)
            further = [row | {"model": "onet-seed1"} for row in rows if row["model"] == "onet"]
            if name == "shapes":
                further[0] |= {"status": "failed", "reason": "an odd reason"}
            write_rows(path, [*rows, *further])
        shutil.copytree(copy / "train" / "onet", copy / "train" / "onet-seed1")
        shutil.copytree(copy / "reconstruct" / "onet", copy / "reconstruct" / "onet-seed1")
        text = rebuilt(copy, self.CONFIG).text
        assert not [name for name, words in text.items() if "onet-seed1" in words and name != "failures"]
        assert "an odd reason" in text["failures"]


class TestSeeds:
    """Sections that also show further seeds, by their means alone."""

    def test_cameras(self, tmp_path) -> None:
        config = check({"models": {"onet": None, "a": {"local": True, "pose": True, "seeds": 2}}})
        values = dict.fromkeys(SUMMARY[3:], 0.25) | {"views": 3, "iou_own_place": 0.125}
        rows = [
            {"model": model, "category": category} | values
            for model in ("a", "a-seed1")
            for category in ("chair", "mean")
        ]
        write_rows(tmp_path / "evaluate" / "cameras.csv", rows, SUMMARY)
        shown = str(cameras.section(Results(tmp_path, config)))
        assert shown.count(">chair<") == 2, "of the first seed alone, in both tables"
        assert shown.count(">mean<") == 4
        assert shown.count(">0.125<") == 3, "place and size predicted"
        for row in rows:
            row |= dict.fromkeys(FIELDS, "")
        write_rows(tmp_path / "evaluate" / "cameras.csv", rows, SUMMARY)
        assert "IoU by camera" not in str(cameras.section(Results(tmp_path, config)))


class TestRefinement:
    """The section of the graph network."""

    CONFIG = check({"models": {"onet": {}}, "reconstruct": {"refinement": "graph"}})

    def test_corrected_normals_are_shown_beside_the_own_ones(self, copy, quick) -> None:
        row = {"step": 1000, "train_loss": 0.18, "val_loss": 0.15, "val_loss_unchanged": 0.2}
        write_rows(copy / "refinement" / "onet" / "metrics.csv", [row | {"val_loss": 0.19}, row])
        text = rebuilt(copy, self.CONFIG).text["refinement"]
        for word in ("onet", "1000", "0.2000", "0.1500", "-25.0 %"):
            assert word in text
        assert "refinement graph" in rebuilt(copy, self.CONFIG).text["run"]

    def test_without_validation_and_without_a_network(self, copy, quick) -> None:
        assert "this run has no refinement/" in rebuilt(copy, self.CONFIG).text["refinement"]
        row = {"step": 10, "train_loss": 0.18, "val_loss": "nan", "val_loss_unchanged": "nan"}
        write_rows(copy / "refinement" / "onet" / "metrics.csv", [row])
        assert "onet" in rebuilt(copy, self.CONFIG).text["refinement"]
        assert "refinement" not in rebuilt(copy, check({"models": {"onet": {}}})).text

    COMPARED = check({"models": {"onet": {"seeds": 2}}, "evaluate": {"refinements": ["onet"]}})
    GAINS: ClassVar = {
        "none": 0.0,
        "gradient": -0.01,
        "bilateral": 0.02,
        "gradient_24": -0.02,
        "perfect_normals": 0.1,
    }

    def write_comparison(self, root: Path) -> None:
        """Tables of refinements that differ from none by `GAINS`, and meshes of one shape."""
        shard = Shard(root / "pack" / "test-000.h5")
        rows, key = [], shard.keys[0]
        for model in self.COMPARED.refined_models:
            for name, gain in self.GAINS.items():
                about = {"model": model, "refinement": name, "status": "ok", "flipped": 0}
                values = dict.fromkeys(COMPARED, 0.5 + gain) | {"chamfer_l1": 0.04 - gain / 10}
                values |= {"self_intersecting": 0, "cpu_seconds": 0.25}
                own = [about | {"category": k.category, "id": k.id} | values for k in shard.keys]
                write_rows(root / "evaluate" / model / "test-000.refinements.csv", rows := [*rows, *own])
        write_rows(root / "evaluate" / "refinements.csv", summarise_refinements(rows, self.COMPARED))
        for name in self.GAINS:
            folder = root / "evaluate" / "onet" / "test-000.refinements" / name / key.category
            save_mesh(shard.mesh(0), folder / f"{key.id}.ply")
        metrics = {"step": 1000, "train_loss": 0.18, "val_loss": 0.15, "val_loss_unchanged": 0.2}
        write_rows(root / "refinement" / "onet" / "metrics.csv", [metrics])
        write_rows(root / "refinement" / "onet-seed1" / "both" / "metrics.csv", [metrics])

    def test_refinements_are_compared_and_shown(self, copy) -> None:
        self.write_comparison(copy)
        page = Page(refinement.section(Results(copy, self.COMPARED)))
        text = page.text[""]
        assert "Meshes of 4 test shapes by onet (training seeds: 2)" in text
        assert "0.5000" in text, "of none the mean itself"
        assert "+0.0200  [+0.0200, +0.0200]" in text
        assert "-0.0200  [-0.0200, -0.0200]" in text, "ten times the difference in Chamfer-L1"
        for words in ("gradient, 24 steps", "gain in normals, Chamfer-L1, F-score, IoU", "loss in normals"):
            assert words in text
        assert "highest normal consistency, bilateral, and" in text
        for caption in ("none · 0.500", "bilateral · 0.520", "perfect normals · 0.600"):
            assert caption in text
        assert "gradient · " not in text, "only the best"
        shape = Shard(copy / "pack" / "test-000.h5").keys[0].name
        shown = [alt for alt in page.values("alt") if alt.endswith(f" of {shape}")]
        assert {"none of", "bilateral of", "perfect normals of"} <= {
            alt.removesuffix(shape).strip() for alt in shown
        }
        for row in ("onet  graph  1000", "onet-seed1  both  1000"):
            assert row in re.sub(" +", "  ", text)

    def test_what_is_missing_of_a_comparison_is_said(self, copy, quick) -> None:
        def text() -> str:
            return re.sub(" +", " ", Page(refinement.section(Results(copy, self.COMPARED))).text[""])

        assert "There is no comparison of refinements" in text()
        assert "There is no graph network" in text()
        self.write_comparison(copy)
        shutil.rmtree(copy / "evaluate" / "onet" / "test-000.refinements" / "bilateral")
        assert "no mesh: not measured" in text()
        shutil.rmtree(copy / "evaluate" / "onet" / "test-000.refinements")
        assert "There are no images" in text()
