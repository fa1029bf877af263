"""A plan: the settings of one experiment in a TOML file of its own, beside the run that it extends.

    presets/elastic/english.toml   <-  a user's my.toml  <-  --set training.steps=100
    the preset or run it extends                         <-  --set text.threads=2

One `--set` serves both: a key whose first part is the plan's goes to the plan, others to the run.
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from models.errors import SettingsError
from simulation.overrides import put_override

DEFAULT_FILE = "english.toml"

Plan = TypeVar("Plan", bound=BaseModel)


def load_plan(
    kind: type[Plan], folder: str, path: Path | None, overrides: Sequence[str]
) -> tuple[Plan, list[str]]:
    """Read a plan and put overrides on top.

    Args:
        kind: what it is.
        folder: of the presets, where the product's own plan is.
        path: a TOML file; the product's when None.
        overrides: each "section.key=value".

    Returns:
        the plan, and the overrides that are the run's.

    Raises:
        SettingsError: if the file cannot be read, or a key or value is wrong.
    """
    where = path or f"{folder}/{DEFAULT_FILE}"
    try:
        tree = tomllib.loads(_content(folder, path))
        ours = [text for text in overrides if _section(text) in kind.model_fields]
        for override in ours:
            put_override(tree, override)
        plan = kind.model_validate(tree)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"cannot read the settings {where} ({error}): give a TOML file"
        ) from error
    except ValidationError as error:
        raise SettingsError(f"settings {where}: {explain(error)}") from error
    return plan, [text for text in overrides if text not in ours]


def _section(override: str) -> str:
    return override.partition("=")[0].strip().partition(".")[0]


def _content(folder: str, path: Path | None) -> str:
    if path is not None:
        return path.read_text(encoding="utf-8")
    presets = resources.files("simulation.presets") / folder
    return (presets / DEFAULT_FILE).read_text(encoding="utf-8")


def explain(error: ValidationError) -> str:
    """Say in one line which key is wrong first, its value, what is allowed."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("missing", "extra_forbidden") or not key:
        return f"{key}: {message.lower()}" if key else message
    return f"{key} = {first['input']!r}: {message[:1].lower()}{message[1:]}"
