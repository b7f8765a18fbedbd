"""Base class and number types of the configuration sections."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

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


def is_null(value: Any) -> bool:
    """Whether a value is null: also as text, which `snakemake --config 'section={key: null}'` makes of it."""
    return value is None or value == "null"


OrNull = BeforeValidator(lambda value: None if is_null(value) else value)  # of a key that may be null
UserPath = Annotated[str, AfterValidator(_user_path)]  # of a file or folder


class Section(BaseModel):
    """A section of `config.yaml`. Unknown keys are errors; sections are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)
    later_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that earlier versions lack: left out of a dump while they have their default, so that finished work, which is
    compared with the dump, is not done again."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for key in self.later_keys:
            if getattr(self, key) == type(self).model_fields[key].default:
                values.pop(key, None)
        return values
