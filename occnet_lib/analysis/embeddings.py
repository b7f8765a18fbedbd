"""t-SNE layouts of the encoder's image codes (van der Maaten and Hinton 2008)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import AnalyseConfig
from occnet_lib.errors import DataError
from occnet_lib.seeds import entropy, unit_hash
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey

Float = NDArray[np.float64]
Features = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
COLUMNS = ("category", "id", "split", "view", "x", "y")
_BATCH = 32


def tsne(features: NDArray[np.floating], perplexity: float, seed: int) -> Float:
    """Lay out feature vectors in the plane by t-SNE.

    Args:
        features: (N, D) finite numbers.
        perplexity: effective number of neighbours, at most (N - 1) / 3.
        seed: the result depends on it, not on the number of threads.

    Returns:
        (N, 2) float64. For up to three points, and for identical points, the first two principal components.

    Raises:
        DataError: features are not finite or not two-dimensional.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise DataError(f"features must be a finite (N, D) array, got shape {x.shape}")
    components = _principal(x)
    spread = float(components.std()) if components.size else 0.0
    if len(x) < 4 or spread < 1e-12:
        return components
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    start = components / components[:, 0].std() * 1e-4
    layout = TSNE(
        perplexity=min(perplexity, (len(x) - 1) / 3),
        init=start.astype(np.float32),
        learning_rate="auto",
        random_state=entropy(seed, "tsne") % 2**32,
    )
    with threadpool_limits(1):  # sums over threads depend on their number
        return np.asarray(layout.fit_transform(x), np.float64)


def embed(
    features: Features, packs: Sequence[Path], config: AnalyseConfig, seed: int
) -> tuple[list[tuple[ShapeKey, int]], NDArray[np.float64]]:
    """Codes of some views of the shapes of shards.

    Args:
        features: takes (B, H, W, 3) uint8 sRGB images, gives (B, D) codes.
        packs: shards of the shapes.
        config: `embedding_views` evenly spaced views of `embedding_shapes` shapes, drawn by their names.
        seed: of the configuration.

    Returns:
        Shape and view of every image, and (N, D) float64 codes.

    Raises:
        DataError: a shard is missing or corrupt.
    """
    shards = [Shard(path) for path in packs]
    places = [(shard, i, key) for shard in shards for i, key in enumerate(shard.keys)]
    drawn = sorted(places, key=lambda place: unit_hash(seed, "embedding", place[2].name))
    chosen = []
    for shard, i, key in sorted(drawn[: config.embedding_shapes], key=lambda place: place[2].name):
        views = np.linspace(0, shard.views, config.embedding_views, endpoint=False).astype(int)
        chosen += [(shard, i, key, view) for view in np.unique(views).tolist()]
    codes = [np.zeros((0, 2))]
    for start in range(0, len(chosen), _BATCH):
        images = [shard.image(i, view) for shard, i, _, view in chosen[start : start + _BATCH]]
        codes.append(np.asarray(features(np.stack(images)), np.float64))
    for shard in shards:
        shard.close()
    return [(key, view) for _, _, key, view in chosen], np.concatenate(codes[1:] or codes)


def write_embedding(
    features: Features, packs: Sequence[Path], config: AnalyseConfig, seed: int, out: Path
) -> None:
    """Write the t-SNE layout of a network's codes as CSV: category, id, split, view, x, y.

    Arguments and errors are those of `embed` and `tsne`.
    """
    names, codes = embed(features, packs, config, seed)
    layout = tsne(codes, config.perplexity, seed)
    rows = [
        {"category": key.category, "id": key.id, "split": key.split}
        | {"view": view, "x": f"{x:.4f}", "y": f"{y:.4f}"}
        for (key, view), (x, y) in zip(names, layout.tolist(), strict=True)
    ]
    write_rows(out, rows, COLUMNS)


def _principal(x: Float) -> Float:
    """(N, 2) scores of the first two principal components, each with its largest entry positive."""
    if not len(x):
        return np.zeros((0, 2))
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    scores = np.zeros((len(x), 2))
    kept = min(2, len(s))
    scores[:, :kept] = u[:, :kept] * s[:kept]
    largest = scores[np.abs(scores).argmax(0), [0, 1]]
    return scores * np.where(largest < 0, -1.0, 1.0)
