"""Pairs of predictions and ground truths: by name, by a table, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from occnet_lib.errors import DataError
from occnet_lib.evaluation.pairs import match_folders, read_pairs


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(predictions: str, ground_truth: str) -> tuple[Path, Path]:
        for folder, names in (("pred", predictions), ("gt", ground_truth)):
            for name in names.split():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return Path("pred"), Path("gt")

    return make


def test_meshes_are_matched_by_path_without_suffix(folders, caplog):
    pairs = match_folders(
        *folders(
            "car/a.glb car/extra.ply car/.b.ply car/a.png flat.obj.gz",
            "car/a.ply car/b.obj chair/x/model.ply flat.off",
        )
    )
    assert [(pair.category, pair.id) for pair in pairs] == [
        *(("car", "a"), ("car", "b"), ("chair", "x/model"), ("", "flat"))
    ]
    assert [pair.prediction for pair in pairs] == [
        Path("pred/car/a.glb"),
        None,
        None,
        Path("pred/flat.obj.gz"),
    ]
    assert [pair.name for pair in pairs] == ["car/a", "car/b", "chair/x/model", "flat"]
    assert "1 meshes have no ground truth and are not measured: car/extra" in caplog.text


@pytest.mark.parametrize(
    ("predictions", "ground_truth", "message"),
    [
        ("a.ply a.obj", "a.ply", "holds a.obj and a.ply of a"),
        ("b.ply", "a.ply", r"no mesh has the name of a ground truth: b here, a in gt .*--pairs"),
        ("a.txt", "a.ply", "pred: holds no meshes"),
    ],
)
def test_what_cannot_be_matched_is_one_line(folders, predictions, ground_truth, message):
    with pytest.raises(DataError, match=message):
        match_folders(*folders(predictions, ground_truth))


def test_a_table_names_pairs(folders, tmp_path):
    where = folders("p1.ply p2.ply", "car/a.ply car/b.ply car/c.ply")
    table = tmp_path / "pairs.csv"
    table.write_text(
        "prediction,ground_truth,name\np2.ply,car/a.ply,\n,car/b.ply,\ngone.ply,car/c.ply,van/c\n", "utf-8"
    )
    pairs = read_pairs(table, *where)
    assert [(pair.name, pair.prediction) for pair in pairs] == [
        *(("car/a", Path("pred/p2.ply")), ("car/b", None), ("van/c", None))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prediction,target\na,b\n", "needs the columns prediction and ground_truth"),
        ("prediction,ground_truth\n", "and a row"),
        ("prediction,ground_truth\np1.ply,none.ply\n", "line 2: no such ground truth: gt/none.ply"),
        ("prediction,ground_truth\np1.ply,\n", "line 2 has no ground_truth"),
        *(
            (
                f"prediction,ground_truth,name\np1.ply,a.ply,{name}\n",
                "line 2: the name .* is outside the folder",
            )
            for name in ("../x", "car/../../x", "/tmp/x", "car//x", "car/", "./x", "..", "a\x00b")
        ),
        ("prediction,ground_truth\np1.ply,../gt/a.ply\n", r"the name '\.\./gt/a' is outside"),
        ("prediction,ground_truth\np1.ply,a.ply\np1.ply,a.ply\n", "line 3: the name a is there twice"),
    ],
)
def test_an_invalid_table_is_one_line(folders, tmp_path, text, message):
    where = folders("p1.ply", "a.ply")
    (tmp_path / "pairs.csv").write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "pairs.csv", *where)
