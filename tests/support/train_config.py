"""Sections `train` from keys alone, whichever sub-section each belongs to."""

from __future__ import annotations

from typing import Any

from occnet_lib.config import Section, TrainConfig

PART_OF = {
    key: part
    for part, field in TrainConfig.model_fields.items()
    if isinstance(field.default, Section)
    for key in type(field.default).model_fields
}


def nested(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys in their sub-sections, as a configuration file has them."""
    values: dict[str, Any] = {}
    for key, value in keys.items():
        (values.setdefault(PART_OF[key], {}) if key in PART_OF else values)[key] = value
    return values


def train_config(**keys: Any) -> TrainConfig:
    return TrainConfig(**nested(keys))


def changed(train: TrainConfig, **keys: Any) -> TrainConfig:
    """The section with other values, which are not checked."""
    parts = {
        name: getattr(train, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in nested(keys).items()
    }
    return train.model_copy(update=parts)
