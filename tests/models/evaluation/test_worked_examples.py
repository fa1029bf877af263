"""Every public metric has an example that a person can check by hand, run as a doctest."""

import importlib
import inspect
import pkgutil

import pytest

import models.evaluation
from models import intervals, metrics

FILES = [
    importlib.import_module(f"models.evaluation.{found.name}")
    for found in pkgutil.iter_modules(models.evaluation.__path__)
]
DOOR = {name: getattr(metrics, name) for name in metrics.__all__}


def _own(module):
    """Public functions and classes that are defined in a module."""
    return {
        f"{module.__name__}.{name}": thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    }


PUBLIC = {name: thing for module in (*FILES, intervals) for name, thing in _own(module).items()}


def _has_example(thing):
    own = inspect.getdoc(thing) or ""
    methods = vars(thing).values() if inspect.isclass(thing) else ()
    functions = [getattr(method, "__func__", method) for method in methods]
    return ">>>" in own or any(">>>" in (getattr(each, "__doc__", "") or "") for each in functions)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_function_has_a_worked_example(name):
    assert _has_example(PUBLIC[name]), f"{name} has no example: add one that runs as a doctest"


def test_everything_behind_the_door_that_can_be_called_has_one_too():
    callables = {name: thing for name, thing in DOOR.items() if callable(thing)}
    found = {n for n, t in callables.items() if inspect.isfunction(t) or inspect.isclass(t)}
    assert len(found) > 30
    assert [name for name in found if not _has_example(DOOR[name])] == []


def test_a_function_without_one_is_noticed():
    def bare() -> None:
        """No example here."""

    assert not _has_example(bare)


def test_the_door_is_sorted_and_holds_what_it_says():
    assert list(metrics.__all__) == sorted(metrics.__all__, key=_constants_first)
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def _constants_first(name):
    return (not name.isupper(), not name[0].isupper(), name)
