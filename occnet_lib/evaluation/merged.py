"""What several images of one object give: IoU of the mean of their fields, and whether disagreement is noticed.

The command `occnet reconstruct --merge` averages the same logits and compares them by the same functions
(`geometry.agreement`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.agreement import agreement, mean_logits

from .metrics import iou

Rows = list[dict[str, Any]]
Logits = NDArray[np.floating]


def merged_columns(
    logits: Sequence[Logits | None],
    occupied: NDArray[np.bool_],
    level: float,
    counts: Iterable[int],
    intruder: Logits | None = None,
) -> Rows:
    """Columns of the row of each image: what the set of k images gives that begins with it, for every count k.

    `iou_k`: of the mean of the set's logits; `named_k`: whether an image of the set is said to disagree (1 or 0);
    `intruder_k`: whether exactly the image of another object is, where it takes the place of the last of the set. Of two
    images both are named or none. Sets are consecutive images, the first following the last.

    Args:
        logits: V fields at the same N points (N,); None for an image that is refused, which a set then lacks.
        occupied: (N,) bool, the ground truth.
        level: logit above which a point is inside.
        counts: sizes of sets; those above V are left out.
        intruder: (N,) of an image of another object; None: there is none.
    """
    columns: Rows = [{} for _ in logits]
    for count in (k for k in counts if 1 < k <= len(logits)):
        for first, row in enumerate(columns):
            read = [logits[(first + i) % len(logits)] for i in range(count)]
            there = [field for field in read if field is not None]
            merged = mean_logits(np.stack(there)) > level if there else None
            row[f"iou_{count}"] = 0.0 if merged is None else iou(merged, occupied)
            row[f"named_{count}"] = int(bool(_outliers(there, level)))
            others = [field for field in read[:-1] if field is not None]
            if intruder is not None and others:
                expected = (len(others),) if len(others) > 1 else (0, 1)
                row[f"intruder_{count}"] = int(_outliers([*others, intruder], level) == expected)
    return columns


def _outliers(fields: Sequence[Logits], level: float) -> tuple[int, ...]:
    return agreement(np.stack(fields), level).outliers if len(fields) > 1 else ()
