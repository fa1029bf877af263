"""The names of the engines, light enough for the command line to import."""

from typing import Literal

EngineName = Literal["inline", "flower", "deployment"]
ENGINES: tuple[EngineName, ...] = ("inline", "flower", "deployment")
