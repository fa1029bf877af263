"""Which method the settings name."""

from models.recommenders.fcf import fcf
from models.recommenders.fedncf import fedncf
from models.recommenders.fedrecon import fedrecon
from models.recommenders.method import Method
from models.recommenders.pfedrec import pfedrec
from models.recommenders.settings import (
    FcfSettings,
    FedNcfSettings,
    MethodSettings,
    PFedRecSettings,
)

TITLES = {"pfedrec": "PFedRec", "fedncf": "FedNCF", "fedrecon": "FedRecon", "fcf": "FCF"}
"""Names for people."""


def method_of(settings: MethodSettings) -> Method:
    """The method with these settings."""
    if isinstance(settings, PFedRecSettings):
        return pfedrec(settings)
    if isinstance(settings, FedNcfSettings):
        return fedncf(settings)
    if isinstance(settings, FcfSettings):
        return fcf(settings)
    return fedrecon(settings)
