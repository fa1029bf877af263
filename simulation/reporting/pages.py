"""What all pages share: style, large numbers, and templates whose autoescape is never off."""

import functools
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

_HOME = resources.files("simulation.reporting")


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One of the large numbers at the top.

    Args:
        value: the number as text.
        label: what it is.
        note: its interval, bound or companion; "" for none.
        filled: share of a meter to fill, from 0 to 1; None for no meter.
    """

    value: str
    label: str
    note: str
    filled: float | None


def style() -> Markup:
    """The style sheet, to stand inside of a page."""
    return Markup(_content("report.css"))


@functools.cache
def template(name: str) -> Template:
    """A template of this folder; names that it uses and nobody gave are an error."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_content),
    )
    return environment.get_template(name)


def _content(name: str) -> str:
    return _HOME.joinpath(name).read_text("utf-8")
