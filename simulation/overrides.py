"""What `--set section.key=value` writes into a tree of settings; plans and runs read it alike.

It is apart from `simulation.settings`, which knows every floor and loads torch with it.
"""

import tomllib
from typing import Any

from models.errors import SettingsError


def put_override(tree: dict[str, Any], override: str) -> None:
    """Write one "section.key=value" into a tree of settings.

    Raises:
        SettingsError: if it is of another form, or a section on the way is a value.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"--set wants section.key=value, got '{override}'")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, name = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"--set {override}: '{section}' is a value, not a section")
    tree[name] = value
