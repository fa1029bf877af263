"""From a population on the virtual clock to the plan of a run: synchronous, Poisson or buffered."""

from server.cohorts import CohortPlan
from server.settings import Federation
from simulation.world.buffered import plan_buffered
from simulation.world.poisson import plan_poisson
from simulation.world.timeline import Timeline, plan_synchronous


def plan_cohorts(timeline: Timeline, federation: Federation) -> CohortPlan:
    """Plan all rounds of a run, before any training.

    Raises:
        SettingsError: if the population is smaller than a cohort, or never has enough phones
            available at once.
    """
    federation.check_population(timeline.num_devices)
    if federation.schedule.mode == "buffered":
        return plan_buffered(timeline, federation)
    if federation.schedule.sampling == "poisson":
        return plan_poisson(timeline, federation)
    return plan_synchronous(timeline, federation)
