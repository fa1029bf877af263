"""Presets as trees of settings, before they are checked: names of ours, or files of a user's.

It is apart from `simulation.settings`, which knows every floor and loads torch with it.
"""

import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from models.errors import SettingsError

EXTENDS = "extends"


def preset_names() -> list[str]:
    """Names of the presets that come with the product."""
    folder = resources.files("simulation.presets")
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml"))


def read_preset(preset: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a preset and all that it extends, merged; nothing is checked yet.

    Args:
        preset: a name from `preset_names`, or the path of a TOML file or of a run's settings.json.
        seen: presets that extend this one.

    Raises:
        SettingsError: if it is missing, unreadable or broken, or extends itself.
    """
    if preset in seen:
        raise SettingsError(
            f"presets extend each other in a circle: {' -> '.join((*seen, preset))}"
        )
    tree = _parse(preset)
    base = tree.pop(EXTENDS, None)
    if base is None:
        return tree
    return _merged(read_preset(str(base), (*seen, preset)), tree)


def _parse(preset: str) -> dict[str, Any]:
    kind = "JSON" if Path(preset).suffix == ".json" else "TOML"
    try:
        text = _content(preset).decode("utf-8")
        tree = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"preset {preset} is no {kind}: {error}") from error
    if not isinstance(tree, dict):
        raise SettingsError(f"preset {preset} holds no settings: give a run's settings.json")
    return tree


def _content(preset: str) -> bytes:
    """The bytes of a preset that comes with the product, or of a user's file."""
    if preset in preset_names():
        return (resources.files("simulation.presets") / f"{preset}.toml").read_bytes()
    path = Path(preset)
    if path.suffix not in {".toml", ".json"} or not path.exists():
        raise SettingsError(
            f"there is no preset '{preset}': choose one of {', '.join(preset_names())}, "
            "or give the path of a .toml file or of a run's settings.json"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"cannot read preset {preset}: {error.strerror}; give the path of a file you may read"
        ) from error


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged
