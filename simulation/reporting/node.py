"""What every part of a report tree is."""

from pydantic import BaseModel, ConfigDict


class Node(BaseModel):
    """A frozen part of the tree that takes no unknown keys and no NaN (JSON has none)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
