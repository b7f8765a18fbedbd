"""Cross-fitting: two networks, each trained on half of the training shapes, reconstruct the half that they have not seen.

A network's errors on its own training shapes are smaller than on new ones and of another kind. What learns to correct errors
must therefore see those on new shapes (cross-fitting; Chernozhukov et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterable

from occnet_lib import seeds


def halves(names: Iterable[str], seed: int) -> tuple[list[str], list[str]]:
    """Two random halves of shapes, which differ by at most one shape in each category.

    Args:
        names: `<category>/<id>`.
        seed: `seed` of the configuration.

    Returns:
        their names, sorted.
    """
    categories: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: seeds.entropy(seed, "cross_fit", name)):
        categories.setdefault(name.partition("/")[0], []).append(name)
    in_turn = [name for category in sorted(categories) for name in categories[category]]
    return sorted(in_turn[0::2]), sorted(in_turn[1::2])
