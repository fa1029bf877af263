"""Which lists are clicked on: a position-bias model with at most one click a list.

    look at position k       k^-eta                                                           [1, 2]
    click what is looked at  attraction of the list * taste of the device
    click on the list        1 - product over k of (1 - attraction * taste * k^-eta)

The first click ends the visit, as in the cascade model [3]; which position it was is not needed
here. A device's taste does not change: what it clicked on before tells what it will click on, which
is what CUPED lives on.

[1] M. Richardson, E. Dominowska, R. Ragno, "Predicting Clicks: Estimating the Click-Through Rate
    for New Ads", WWW 2007: the examination hypothesis.
[2] T. Joachims, A. Swaminathan, T. Schnabel, "Unbiased Learning-to-Rank with Biased Feedback", WSDM
    2017: examination as 1 / position^eta.
[3] N. Craswell, O. Zoeter, M. Taylor, B. Ramsey, "An Experimental Comparison of Click Position-Bias
    Models", WSDM 2008.
"""

import numpy as np
from numpy.typing import NDArray

from simulation.experiments.rollout.app_settings import ClickModel


def click_chance(
    model: ClickModel, taste: NDArray[np.floating], random_share: NDArray[np.floating] | float = 0.0
) -> NDArray[np.float64]:
    """Chance of a click on a list, (n,).

    Args:
        model: of clicks.
        taste: (n,) of the devices, 1 on average.
        random_share: share of the lists that are random, one number or (n,).
    """
    chance = _listed(model, model.attraction, taste)
    if np.any(np.asarray(random_share) > 0):
        at_random = _listed(model, model.random_attraction, taste)
        chance = chance + random_share * (at_random - chance)
    return chance


def _listed(
    model: ClickModel, attraction: float, taste: NDArray[np.floating]
) -> NDArray[np.float64]:
    attracted = np.minimum(attraction * taste.astype(np.float64), 1.0)
    none = np.ones(len(taste))
    for position in range(1, model.positions + 1):
        none *= 1.0 - attracted * position**-model.eta
    return np.asarray(1.0 - none)
