"""Settings of the federated recommenders that people cite.

What all of them share (rates, local epochs, negatives) is `clients.protocol.messages.LocalTraining`
and travels with every task; here is what one method alone knows.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Rule = Literal["closed", "published"]
RULES_SAY = (
    'which items a phone may push down. "closed": all that it has not chosen in training, which is '
    'what a phone knows. "published": only items that the user never rates at all, as the '
    "published codes do. WARNING: that spares the held-out item, so that its rivals are pushed "
    "down and it is not; figures are then too high and no phone could repeat them. For comparing "
    "with published figures only"
)


class _Method(BaseModel):
    """What every method has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(ge=1, le=1024, description="numbers of an item vector")


class _Sampled(_Method):
    """What every method has that draws negatives."""

    sampler: Rule = Field(description=RULES_SAY)


class PFedRecSettings(_Sampled):
    """PFedRec: the score function stays on the phone, item vectors are averaged."""

    name: Literal["pfedrec"]
    batch_size: int = Field(ge=1, description="examples of a step")
    item_rate_factor: float = Field(
        gt=0, description="an item's rate is rate * number of items * this (their lr_eta)"
    )


class FedNcfSettings(_Sampled):
    """FedNCF: the user's vector stays on the phone; item vectors and perceptron are averaged."""

    name: Literal["fedncf"]
    batch_size: int = Field(ge=1, description="examples of a step")
    hidden: tuple[int, ...] = Field(min_length=1, description="sizes of the hidden layers")
    item_rate_factor: float = Field(
        gt=0,
        description="an item's rate is rate * number of items * this: a mean over all "
        "phones moves an item that few of them touch by little",
    )
    start_scale: float = Field(gt=0, le=1, description="standard deviation of vectors at the start")


class FedReconSettings(_Sampled):
    """FedRecon: nothing stays; the user's vector is worked out anew in every round."""

    name: Literal["fedrecon"]
    reconstruction_steps: int = Field(ge=1, le=1000, description="steps on the support half")
    start_scale: float = Field(gt=0, le=1, description="standard deviation of items at the start")


class FcfSettings(_Method):
    """FCF: implicit ALS on the phone, item gradients are added up."""

    name: Literal["fcf"]
    sampler: Literal["closed"] = Field(description="no negative is drawn, so nothing can leak")
    alpha: float = Field(ge=0, description="confidence of a chosen item is 1 + alpha")
    l2: float = Field(gt=0, description="penalty (lambda) of user and item factors")
    start_scale: float = Field(gt=0, le=1, description="standard deviation of items at the start")


MethodSettings = Annotated[
    PFedRecSettings | FedNcfSettings | FedReconSettings | FcfSettings, Field(discriminator="name")
]
"""Any of the four, told apart by `name`."""
