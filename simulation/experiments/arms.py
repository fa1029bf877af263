"""The arms of the comparison: what each is, where it runs, and what leaves the phone for it.

server   random, popularity, item-kNN, EASE       baselines on pooled histories
server   teacher                                  the recommender on the text teacher's vectors
server   eibert-central                           the same on EI-BERT vectors
phone    static                                   trained on the opted-in few, then frozen
phone    federated                                starts from static, learns from every phone
phone    federated-no-private                     the same, blind to private texts
"""

from dataclasses import dataclass
from typing import Literal

TEACHER, CENTRAL, STATIC = "teacher", "eibert-central", "static"
FEDERATED, FEDERATED_BLIND = "federated", "federated-no-private"
BASELINES = ("random", "popularity", "item-knn", "ease")

HISTORY_LEAVES = "every interaction (item, time), pooled on the server"
START_LEAVES = "every interaction of the users who opted in, to train the start"
UPDATE_LEAVES = "one clipped update a round, added to those of the cohort"
METRICS_LEAVE = "sums of ranking metrics over devices"


@dataclass(frozen=True, slots=True)
class ArmCard:
    """What an arm is.

    Attributes:
        key: name in files.
        name: name for people.
        place: where the recommendations are computed.
        description: one sentence.
        left_device: what data left the device for it.
    """

    key: str
    name: str
    place: Literal["server", "phone", "none"]
    description: str
    left_device: tuple[str, ...]


CARDS = (
    ArmCard("random", "Random", "none", "Items in random order: the floor.", ()),
    ArmCard(
        "popularity",
        "Popularity",
        "none",
        "The most chosen items, the same for everybody.",
        ("every interaction, counted per item",),
    ),
    ArmCard(
        "item-knn",
        "Item-kNN",
        "server",
        "Items chosen by the same people as one's own, by cosine.",
        (HISTORY_LEAVES,),
    ),
    ArmCard(
        "ease",
        "EASE",
        "server",
        "A linear autoencoder over pooled histories, in closed form.",
        (HISTORY_LEAVES,),
    ),
    ArmCard(
        TEACHER,
        "Server teacher",
        "server",
        "The recommender on the text teacher's vectors, trained on everybody's history.",
        (HISTORY_LEAVES,),
    ),
    ArmCard(
        CENTRAL,
        "EI-BERT, pooled",
        "server",
        "The same recommender on EI-BERT vectors, trained on everybody's history.",
        (HISTORY_LEAVES,),
    ),
    ArmCard(
        STATIC,
        "On-device static",
        "phone",
        "Trained on the histories of the earliest-active users who opted in, then frozen.",
        (START_LEAVES,),
    ),
    ArmCard(
        FEDERATED,
        "On-device federated",
        "phone",
        "Starts from static and learns from every phone; nothing more is pooled.",
        (START_LEAVES, UPDATE_LEAVES, METRICS_LEAVE),
    ),
    ArmCard(
        FEDERATED_BLIND,
        "Federated, no private text",
        "phone",
        "The same, but the phones do not look at what their users wrote.",
        (START_LEAVES, UPDATE_LEAVES, METRICS_LEAVE),
    ),
)
