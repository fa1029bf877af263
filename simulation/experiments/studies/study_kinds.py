"""The kinds of studies: which function measures a cell, and which one reads the table aloud.

A kind of your own is an entry here: settings, `measure`, `read`. A plan names it with `kind`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, JsonValue

from models.errors import SettingsError
from simulation.experiments.studies.study_cells import Measured
from simulation.settings import Settings

if TYPE_CHECKING:
    from simulation.experiments.studies.groundwork import Groundwork
    from simulation.experiments.studies.study_summary import StudySummary

PLACE = "simulation.experiments.studies"
KINDS = {
    "federation": f"{PLACE}.federation_study",
    "text": f"{PLACE}.text_study",
    "quality": f"{PLACE}.quality_study",
    "cooperation": f"{PLACE}.cooperation_study",
    "logits": f"{PLACE}.logits_study",
    "recommenders": f"{PLACE}.recommenders_study",
}
"""Name -> module that has `KIND`; imported when it is asked for."""


@dataclass(frozen=True, slots=True)
class CellTask:
    """What a cell is measured on.

    Attributes:
        settings: of the run, with the cell's seed.
        options: the kind's own, of the class that the kind names.
        ground: data, devices and the encoder of this seed; None where the kind needs none.
        encoder_seed: that the encoder of all cells was made with.
        shared: folder of what all seeds may share.
        cache: the cache folder.
    """

    settings: Settings
    options: Any
    ground: "Groundwork | None"
    encoder_seed: int
    shared: Path
    cache: Path

    @property
    def on(self) -> "Groundwork":
        """The groundwork, of a kind that needs one."""
        if self.ground is None:
            raise ValueError("this kind of study asked for no groundwork")
        return self.ground


def nothing_to_check(settings: Settings, options: Any) -> None:
    """A kind that takes any settings."""


def as_it_is(settings: Settings, options: Any, num_devices: int) -> Settings:
    """A kind whose arms ask nothing of the size of the catalogue."""
    return settings


def nothing_beside(options: Any) -> None:
    """A kind whose results depend on settings and options alone."""


@dataclass(frozen=True, slots=True)
class StudyKind:
    """A kind of study.

    Attributes:
        options: class of its own settings, the table [study] of a plan.
        measure: makes a cell; runs in a worker.
        read: sentences that follow from the numbers.
        check: raises SettingsError for settings that it cannot use, before anything starts.
        needs_ground: whether its cells stand on a groundwork (devices, encoder).
        fit: settings of an arm for a population of so many devices. What an arm sets cannot be
            taken from it by `--set`; a number that suits one catalogue would close it to others.
        beside: what options only name and results depend on, such as a file's content, as JSON has
            it: it is part of a cell's hash.
    """

    options: type[BaseModel]
    measure: Callable[[CellTask], Measured]
    read: Callable[["StudySummary"], list[str]]
    check: Callable[[Settings, Any], None] = nothing_to_check
    needs_ground: bool = True
    fit: Callable[[Settings, Any, int], Settings] = as_it_is
    beside: Callable[[Any], JsonValue] = nothing_beside


def place_of(name: str) -> str:
    """The module of a kind.

    Raises:
        SettingsError: if there is no such kind.
    """
    if name not in KINDS:
        raise SettingsError(f"there is no kind of study '{name}': choose one of {', '.join(KINDS)}")
    return KINDS[name]


def kind_at(place: str) -> StudyKind:
    """The kind in a module; workers are told this, and need no register of their own."""
    kind: StudyKind = importlib.import_module(place).KIND
    return kind


def kind_of(name: str) -> StudyKind:
    """The kind of this name.

    Raises:
        SettingsError: if there is none.
    """
    return kind_at(place_of(name))
