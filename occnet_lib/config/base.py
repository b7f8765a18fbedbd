"""Base class and number types of the configuration sections."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


def _user_path(value: str) -> str:
    """A path with `~` expanded. Paths are written to JSON, so they must be valid Unicode."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8: rename it, or give a link with another name") from None
    return os.path.expanduser(value)


UserPath = Annotated[str, AfterValidator(_user_path)]  # of a file or folder


class Section(BaseModel):
    """A section of `config.yaml`. Unknown keys are errors; sections are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
