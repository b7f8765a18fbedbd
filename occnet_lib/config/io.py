"""Reading, validating and writing the configuration."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from occnet_lib.errors import ConfigError

from .base import Section
from .learning import TrainConfig
from .root import Config

HEADER = """\
# The configuration of occnet, generated from occnet_lib/config/ by `occnet config --write`. Change values, not keys.
# Values can also be changed by an overlay (`snakemake --configfile workflow/demo.yaml …`) and on the command line
# (`snakemake … --config seed=1 dataset=path/to/meshes`; keys of a section: `--config 'train={steps: 1000}'`).
# yaml-language-server: $schema=workflow/schemas/config.schema.json
"""

# Keys of earlier versions, and their replacements.
RENAMED = {
    "watertight.rule": "`watertight.method` (carve is now carving, flood is flood_fill, mean is tsdf)",
    "audit.leak": "`audit.ragged`",
    "reconstruct.max_faces": "`reconstruct.simplify.faces` (0 is now null)",
    "reconstruct.max_error": "`reconstruct.simplify.error` (0 is now null)",
    **{
        f"train.{key}": f"`train.{part}.{key}`"
        for part, field in TrainConfig.model_fields.items()
        if isinstance(field.default, Section)
        for key in type(field.default).model_fields
    },
}


def check(values: Mapping[str, Any]) -> Config:
    """Validate plain values.

    Raises:
        ConfigError: for the first unknown key or invalid value, with its dotted name, the allowed values and the nearest
            match.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(_explain(error), hint="see config.yaml and docs/configuration.md") from None


def load(*paths: Path) -> Config:
    """The configuration from files (YAML or JSON); later files override earlier ones.

    Raises:
        ConfigError: a file is missing or not YAML, or as `check`.
    """
    import yaml

    values: dict[str, Any] = {}
    for path in paths:
        try:
            read = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", path=path) from None
        except UnicodeDecodeError:
            raise ConfigError("is not text, expected YAML or JSON", path=path) from None
        except yaml.YAMLError as error:
            raise ConfigError(f"invalid YAML: {error}", path=path) from None
        if not isinstance(read, dict):
            raise ConfigError(f"expected sections (`key: value`), got {type(read).__name__}", path=path)
        values = merge(values, read)
    try:
        return check(values)
    except ConfigError as error:
        raise ConfigError(error.message, path=", ".join(map(str, paths)) or None, hint=error.hint) from None


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below`, overridden by the leaves of `above`."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def digest(*parts: Any) -> str:
    """A short hash of values: sections, numbers, strings and containers of them."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def to_yaml(config: Config) -> str:
    """`config.yaml`: every key with its value, and its description as a comment."""
    return HEADER + "\n".join(_yaml_lines(config, 0)) + "\n"


def json_schema() -> str:
    """The JSON schema of `config.yaml`, for editors."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


def to_markdown() -> str:
    """`docs/configuration.md`: a table of every key."""
    lines = [
        "# Configuration",
        "",
        "Generated from `occnet_lib/config/` by `occnet config --write`. Set values in `config.yaml`, in an "
        "overlay (`--configfile`), or on the command line (`--config seed=1`; keys of a section: "
        "`--config 'train={steps: 1000}'`).",
    ]
    top = [f for f in Config.model_fields.items() if not isinstance(f[1].default, BaseModel | dict)]
    lines += _table("", top)
    for name, field in Config.model_fields.items():
        section = next(iter(field.default.values())) if isinstance(field.default, dict) else field.default
        if isinstance(section, BaseModel):
            word = "models.<name>" if name == "models" else name
            lines += ["", f"## `{word}`", "", f"{field.description}.".capitalize()]
            lines += _table(f"{word}.", list(type(section).model_fields.items()))
    return "\n".join(lines) + "\n"


def _table(prefix: str, fields: list[tuple[str, Any]]) -> list[str]:
    return ["", "| key | default | meaning |", "|---|---|---|", *_rows(prefix, fields)]


def _rows(prefix: str, fields: list[tuple[str, Any]]) -> Iterator[str]:
    for name, field in fields:
        if isinstance(field.default, BaseModel):
            yield from _rows(f"{prefix}{name}.", list(type(field.default).model_fields.items()))
        else:
            meaning = str(field.description).replace("|", "\\|")
            yield f"| `{prefix}{name}` | `{json.dumps(field.default)}` | {meaning} |"


def _yaml_lines(section: BaseModel, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        comment = f"  # {field.description}"
        if isinstance(value, BaseModel):
            yield from ([""] if depth == 0 else [])
            yield f"{pad}{name}:{comment}"
            yield from _yaml_lines(value, depth + 1)
        elif (
            isinstance(value, dict) and all(isinstance(item, BaseModel) for item in value.values()) and value
        ):
            yield from ["", f"{pad}{name}:{comment}"]
            for key, item in value.items():
                yield f"{pad}  {key}:"
                yield from _yaml_lines(item, depth + 2)
        else:
            yield f"{pad}{name}: {_scalar(value)}{comment}"


def _scalar(value: Any) -> str:
    if isinstance(value, float) and "e" in repr(value) and "." not in repr(value):
        return repr(value).replace("e", ".0e")  # YAML 1.1 reads 1e-05 as text
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    # Without pydantic's names of the alternatives of a type, as in `reconstruct.threshold.constrained-float`.
    where = [str(part) for part in first["loc"] if not str(part).startswith(("constrained-", "literal["))]
    name = ".".join(where)
    if first["type"] == "extra_forbidden":
        if name in RENAMED:
            return _renamed(error)
        if "." in where[-1]:
            nested = ": {".join(where[-1].split(".")) + ": …" + "}" * where[-1].count(".")
            return f"unknown key `{name}`; sections are nested: `{nested}`"
        known = _known_keys(where[:-1])
        close = difflib.get_close_matches(where[-1], known, n=1)
        did_you_mean = f"did you mean `{'.'.join([*where[:-1], close[0]])}`? " if close else ""
        return f"unknown key `{name}`; {did_you_mean}allowed here: {', '.join(known)}"
    if first["type"] == "model_type":
        return f"key `{name}`: expected a section (`key: value`), got {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    text = f"key `{name}`: {message[:1].lower()}{message[1:]}" if name else message
    if isinstance(first["input"], str | int | float | bool | date | None):
        text += f", got {first['input']!r}"
        if first["type"] == "string_type" and first["input"] is not None:
            text += f'; write it in quotes: "{_written(first["input"])}"'
        if first["type"] == "literal_error":
            allowed = re.findall("'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
            close = difflib.get_close_matches(str(first["input"]), allowed, n=1)
            text += f"; did you mean {close[0]!r}?" if close else ""
    return text


def _renamed(error: ValidationError) -> str:
    """All keys of earlier versions at once: a whole configuration file of one has many."""
    keys = [".".join(map(str, item["loc"])) for item in error.errors() if item["type"] == "extra_forbidden"]
    first, *more = (f"`{key}`; use {RENAMED[key]}" for key in keys if key in RENAMED)
    also = ", ".join(text.replace(";", ":") for text in more)
    return f"unknown key {first}" + (f"; also {also}" if more else "")


def _written(value: Any) -> str:
    """The text that YAML 1.1 probably read as `value`: it reads 03001627 as an octal number."""
    if isinstance(value, int) and not isinstance(value, bool):
        octal = f"{value:08o}"
        return octal if len(octal) == 8 and octal.startswith("0") and value >= 8**6 else str(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known_keys(parents: list[str]) -> list[str]:
    model: Any = Config
    for part in parents:
        if part in model.model_fields:
            default = model.model_fields[part].default
            model = type(next(iter(default.values()))) if isinstance(default, dict) else type(default)
    return list(model.model_fields)


def generated() -> dict[Path, str]:
    """The files generated from the configuration classes, with their texts."""
    root = Path(__file__).parents[2]
    return {
        root / "config.yaml": to_yaml(Config()),
        root / "workflow" / "schemas" / "config.schema.json": json_schema(),
        root / "docs" / "configuration.md": to_markdown(),
    }
