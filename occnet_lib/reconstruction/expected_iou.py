"""The expected IoU of a reconstruction, by the calibration beside the checkpoint (docs/explanation/uncertainty.md)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.geometry import uncertainty
from occnet_lib.storage.iou_calibration import (
    ExpectedIou,
    IouCalibration,
    calibration_file,
    file_digest,
    read_iou_calibration,
)

from .extract import threshold_logit
from .reconstruct import CUBE_EDGE

if TYPE_CHECKING:
    from occnet_lib.networks.folded import TorchField

logger = logging.getLogger(__name__)
POINTS = 8192
"""Number of points of which `expected_iou` is the mean."""
_PLASTIC = 1.2207440846057596  # the real root of x^4 = x + 1


def calibration_of(checkpoint: str | Path, threshold: float) -> IouCalibration | None:
    """The calibration beside a checkpoint; None if there is none, or not for this network and threshold.

    A damaged one, and one of another network, is a warning.
    """
    path = calibration_file(checkpoint)
    if not path.exists():
        return None
    try:
        calibration = read_iou_calibration(path)
    except DataError as error:
        logger.warning("no expected IoU: %s", error)
        return None
    if calibration.checkpoint != file_digest(checkpoint):
        logger.warning("no expected IoU: %s is of another network; make it again: `occnet calibrate`", path)
        return None
    if abs(calibration.threshold - threshold) > 1e-6:
        logger.info("no expected IoU: %s is for the threshold %g", path, calibration.threshold)
        return None
    if calibration.fit:
        logger.info("no expected IoU: %s is of fields that are fitted to images (reconstruct.fit)", path)
        return None
    return calibration


def expected_iou(field: TorchField, calibration: IouCalibration, images: int) -> ExpectedIou | None:
    """The calibrated IoU of a field with the shape in its images, from quasi-random points of the cube.

    Args:
        field: of the unit frame.
        calibration: of its network.
        images: number of images whose logits are averaged.
    """
    logits = field.on_array(_cube_points())
    return calibration(uncertainty.expected_iou(logits, threshold_logit(calibration.threshold)), images)


def _cube_points() -> NDArray[np.float64]:
    """(8192, 3) quasi-random points of the cube of the unit frame: an additive recurrence (Roberts 2018).

    Sobol's sequence is as even, but importing it takes ten times as long as the field.
    """
    steps = _PLASTIC ** -np.arange(1.0, 4.0)
    return np.asarray(CUBE_EDGE * ((0.5 + np.arange(1, POINTS + 1)[:, None] * steps) % 1.0 - 0.5))
