"""The calibration of a checkpoint's expected IoU: a JSON file beside the checkpoint, made of the validation set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from occnet_lib.errors import DataError

from .atomic import write_text

FORMAT = "occnet expected IoU"
VERSION = 1
COVERAGE = 0.9
"""Fraction of images whose true IoU lies in the interval, as far as they are like those of the validation set."""


@dataclass(frozen=True)
class IouFit:
    """A line from the IoU that a field expects of itself to the true one.

    Attributes:
        gradient: at least 0.
        intercept: of the line.
        half_width: of the interval with coverage `COVERAGE`; None if there are too few shapes for one.
        shapes, images: of which it was made.
    """

    gradient: float
    intercept: float
    half_width: float | None
    shapes: int
    images: int

    def __call__(self, expected: float) -> float:
        """The calibrated IoU, 0 to 1."""
        return min(max(self.intercept + self.gradient * expected, 0.0), 1.0)


@dataclass(frozen=True)
class ExpectedIou:
    """The expected IoU of a reconstruction with the shape in the image.

    Attributes:
        value: 0 to 1, calibrated.
        half_width: of the interval that holds the IoU of a fraction `COVERAGE` of images like those of the validation
            set; None if there were too few shapes for one.
    """

    value: float
    half_width: float | None

    def __str__(self) -> str:
        if self.half_width is None:
            return f"expected IoU {self.value:.2f}"
        return f"expected IoU {self.value:.2f} ± {self.half_width:.2f} ({100 * COVERAGE:.0f} % interval)"


@dataclass(frozen=True)
class IouCalibration:
    """Fits of one checkpoint at one threshold.

    Attributes:
        threshold: occupancy probability of the surface.
        fits: by number of images whose logits are averaged.
        checkpoint: digest of the checkpoint's file (`file_digest`).
        points: points per view at which the IoU was measured; the fewer, the wider the intervals. 0: not known.
        fit: steps of `reconstruct.fit` of the fields of which it was measured.
    """

    threshold: float
    fits: dict[int, IouFit]
    checkpoint: str
    points: int = 0
    fit: int = 0

    def __call__(self, expected: float, images: int = 1) -> ExpectedIou | None:
        """The calibrated IoU of the mean of the logits of so many images, by the fit of that number or the next lower one.

        None without such a fit.
        """
        fit = self.fits.get(max((count for count in self.fits if count <= images), default=0))
        return None if fit is None else ExpectedIou(fit(expected), fit.half_width)

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        values = {"format": FORMAT, "version": VERSION, "checkpoint": self.checkpoint}
        values |= {"threshold": self.threshold, "points": self.points, "fit": self.fit, "coverage": COVERAGE}
        values["fits"] = {str(count): asdict(fit) for count, fit in self.fits.items()}
        write_text(path, json.dumps(values, indent=2) + "\n")


def read_iou_calibration(path: Path) -> IouCalibration:
    """Read what `IouCalibration.write` wrote.

    Raises:
        DataError: the file is missing, damaged or of another version.
    """
    hint = "make it again: `occnet calibrate`"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if (values["format"], values["version"], values["coverage"]) != (FORMAT, VERSION, COVERAGE):
            raise DataError("is not of this version of occnet", path=path, hint=hint)
        fits = {int(count): _checked(IouFit(**fit)) for count, fit in values["fits"].items()}
        made_of = str(values["checkpoint"]), int(values.get("points", 0)), int(values.get("fit", 0))
        return IouCalibration(float(values["threshold"]), fits, *made_of)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"not readable as a calibration: {error}", path=path, hint=hint) from None


def _checked(fit: IouFit) -> IouFit:
    """A fit whose numbers are finite.

    Raises:
        ValueError: one is not (JSON as Python reads it has NaN), or not a number.
    """
    numbers = [fit.gradient, fit.intercept, *([] if fit.half_width is None else [fit.half_width])]
    if not all(isinstance(value, int | float) and isfinite(value) for value in numbers):
        raise ValueError(f"a fit has numbers that are not finite: {numbers}")
    return fit


def calibration_file(checkpoint: str | Path) -> Path:
    """The file beside a checkpoint: best.ckpt has best.calibration.json."""
    return Path(checkpoint).with_suffix(".calibration.json")


def file_digest(path: str | Path) -> str:
    """BLAKE2b digest of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
