"""What all pages share: their style, and templates whose autoescape is never off."""

import functools
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

_HOME = resources.files("simulation.reporting")


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
