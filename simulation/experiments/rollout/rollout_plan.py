"""Reading the plan of a rollout: a name of ours, or a file of a user's, and overrides on top."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from models.errors import SettingsError
from server.rollout.settings import RolloutPlan
from simulation.experiments.plans import load_plan

FOLDER = "rollout"


def load_rollout(name: str, overrides: Sequence[str] = ()) -> tuple[RolloutPlan, list[str]]:
    """Read a plan and check it.

    Args:
        name: of one that comes with the product, or the path of a TOML file.
        overrides: each "section.key=value".

    Returns:
        the plan, and the overrides that are not its own.

    Raises:
        SettingsError: if there is no such plan, or a key or value is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if name not in own_plans():
            raise SettingsError(
                f"there is no rollout plan '{name}': choose one of {', '.join(own_plans())}, or "
                "give the path of a .toml file"
            )
        path = _folder() / f"{name}.toml"
    return load_plan(RolloutPlan, FOLDER, path, overrides)


def own_plans() -> list[str]:
    """Names of the plans that come with the product."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def _folder() -> Path:
    return Path(str(resources.files("simulation.presets"))) / FOLDER
