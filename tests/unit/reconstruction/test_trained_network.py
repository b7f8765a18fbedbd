"""`reconstruct.fit`: one fit for fields, logits, batches and photos; which needs a camera."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from occnet_lib import cli
from occnet_lib.config import Config, check
from occnet_lib.errors import ConfigError
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.storage.packs import Shard
from tests.support.dotted_images import hull_shard
from tests.unit.reconstruction.test_cameras import EDGE, RECONSTRUCT, checkpoint

pytestmark = pytest.mark.real_encoder
POINTS = np.random.default_rng(0).uniform(-0.5, 0.5, (300, 3)).astype(np.float32)
FIT = RECONSTRUCT.model_copy(update={"fit": 4})


@pytest.mark.parametrize("keys", [{}, {"frame": "camera"}, {"local": True}, {"pose": True}])
def test_fields_logits_and_batches_have_the_same_fit(tmp_path, keys):
    best, shard = (
        checkpoint(tmp_path / "best.ckpt", "object", **keys),
        Shard(hull_shard(tmp_path / "test-0.h5", 2, EDGE)),
    )
    images = np.stack([shard.image(i, 0) for i in range(2)])
    rotations = np.stack([shard.camera(i, 0)[1][:, :3] for i in range(2)])
    projections = np.stack([shard.projection(i, 0, (EDGE, EDGE)) for i in range(2)])
    plain, fit = Reconstructor(best, RECONSTRUCT), Reconstructor(best, FIT)
    logits = fit.logits(images, rotations, POINTS, projections)
    views = zip(images, rotations, projections, strict=True)
    folded = np.stack([fit.field(*view).on_array(POINTS) for view in views])
    np.testing.assert_allclose(logits, folded, atol=2e-3)
    assert np.abs(logits - plain.logits(images, rotations, POINTS, projections)).max() > 0.01
    assert (logits == fit.logits(images, rotations, POINTS, projections)).all()
    rngs = [np.random.default_rng(i) for i in range(2)]
    batch = fit.reconstruct_batch(list(images), rngs, rotations, projections)
    single = fit(images[0], np.random.default_rng(0), rotations[0], projection=projections[0])
    # Single photos are decoded in lower precision.
    np.testing.assert_allclose(batch[0].mesh.vertices, single.mesh.vertices, atol=0.01)
    if keys.get("pose"):
        assert np.isfinite(fit.logits(images, rotations, POINTS)).all()  # by its own cameras
    else:
        with pytest.raises(ConfigError, match="silhouette needs its camera"):
            fit.logits(images, rotations, POINTS)


def test_photos_by_the_command_line(tmp_path, capsys):
    best, shard = (
        checkpoint(tmp_path / "best.ckpt", "object"),
        Shard(hull_shard(tmp_path / "test-0.h5", 1, EDGE)),
    )
    Image.fromarray(shard.image(0, 0)).save(tmp_path / "a.png")
    camera_mat, world_mat, loc, scale = shard.camera(0, 0)
    camera = {"camera_mat": camera_mat.tolist(), "world_mat": world_mat.tolist(), "image_size": [EDGE, EDGE]}
    (tmp_path / "a.json").write_text(json.dumps(camera | {"loc": loc.tolist(), "scale": scale}))
    (tmp_path / "small.yaml").write_text(Config(reconstruct=RECONSTRUCT).model_dump_json())
    words = f"reconstruct {tmp_path}/a.png --checkpoint {best} --config {tmp_path}/small.yaml"
    assert cli.main([*words.split(), "--out", f"{tmp_path}/plain.ply"]) == 0
    assert cli.main([*words.split(), "--fit", "4", "--out", f"{tmp_path}/b.ply"]) == 1
    assert "--camera camera.json" in capsys.readouterr().err
    given = [*words.split(), "--camera", f"{tmp_path}/a.json", "--fit", "4", "--out", f"{tmp_path}/fit.ply"]
    assert cli.main(given) == 0
    assert "no effect" not in capsys.readouterr().err
    (tmp_path / "a.json").write_text(json.dumps(camera | {"loc": loc.tolist(), "scale": 8 * scale}))
    assert cli.main([*given[:-1], f"{tmp_path}/far.ply"]) == 0
    assert "a.png: by its camera the mesh is not where the photo shows the object" in capsys.readouterr().err
    assert (tmp_path / "fit.ply").read_bytes() != (tmp_path / "plain.ply").read_bytes()


def test_an_image_without_background_is_not_fitted(tmp_path, caplog):
    """As with --as-is: a silhouette that is the whole image would fill the whole view."""
    best, shard = (
        checkpoint(tmp_path / "best.ckpt", "object"),
        Shard(hull_shard(tmp_path / "test-0.h5", 1, EDGE)),
    )
    image, camera = np.full((EDGE, EDGE, 3), 90, np.uint8), shard.projection(0, 0, (EDGE, EDGE))
    views = image[None], shard.camera(0, 0)[1][None, :, :3], POINTS, camera[None]
    assert (Reconstructor(best, FIT).logits(*views) == Reconstructor(best, RECONSTRUCT).logits(*views)).all()
    assert "not fitted to its silhouette" in caplog.text


def test_without_cameras_photos_are_not_evaluated_with_a_fit():
    models = {"a": {}, "b": {"pose": True}, "c": {"local": True}}
    assert check({"models": models}).photo_models == ["a", "b"]
    assert check({"models": models, "reconstruct": {"fit": 10}}).photo_models == ["b"]
