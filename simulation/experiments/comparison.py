"""The comparison: all arms on the same held-out items, with intervals, costs and examples.

    materials -> bundle -> phones encode -> pooled arms -> federated arms -> ranks -> intervals

The result is a `ReportData`, the machine-readable twin of the report.
"""

from datetime import UTC, datetime
from pathlib import Path

from clients.local_evaluation import Ranks
from models.errors import SettingsError
from models.intervals import PairedBootstrap
from models.progress import Progress, silent
from models.recommender import initial_parameters
from server.server_teacher import CentralModel
from simulation.engines.names import EngineName
from simulation.experiments.arms import CENTRAL, FEDERATED, FEDERATED_BLIND, STATIC, TEACHER
from simulation.experiments.evaluation import Referee, baseline_ranks, federated_ranks
from simulation.experiments.federation import FederatedArm
from simulation.experiments.materials import (
    Materials,
    check_materials,
    encode_on_phones,
    make_bundle,
    prepare_materials,
    teacher_item_vectors,
)
from simulation.experiments.outcome import Outcome
from simulation.experiments.phone_costs import (
    agreement_with_evaluation,
    install_package,
    measure_phone,
)
from simulation.experiments.server_lists import keep_server_lists
from simulation.experiments.slices import slicings_of
from simulation.experiments.summary import Summary
from simulation.experiments.training import (
    CentralJob,
    central_jobs,
    play_federated,
    train_pooled,
)
from simulation.reporting.model import ReportData
from simulation.run_folder import RunFolder
from simulation.settings import Settings


def compare(
    run: RunFolder,
    settings: Settings,
    cache: Path,
    engine: EngineName,
    progress: Progress = silent,
    *,
    fresh: bool = False,
) -> ReportData:
    """Run the whole comparison into a run folder.

    Args:
        run: the run folder.
        settings: of the run.
        cache: the cache folder.
        engine: which engine plays the federated arms.
        progress: told about everything that takes long.
        fresh: make the encoder bundle anew even when nothing changed.

    Raises:
        LeakError: if a held-out item was trained on, or spared from being pushed down.
    """
    if settings.population.devices:
        raise SettingsError(
            f"population.devices is {settings.population.devices:,}: a comparison ranks for real "
            "users; leave it at 0, or run the fleet with `pocketfleet simulate`"
        )
    materials = prepare_materials(run, settings, cache, progress)
    leaks = check_materials(materials, settings)
    compression = make_bundle(run, settings, materials.catalogue, cache, progress, fresh=fresh)
    raw_text, phone_text = encode_on_phones(run, materials, progress)
    teacher_text = teacher_item_vectors(settings, materials.catalogue, cache, progress)
    jobs = central_jobs(settings, materials, phone_text, teacher_text)
    opted_in = jobs[STATIC].users
    fresh_start = initial_parameters(
        settings.recommender, len(phone_text), phone_text.shape[1], settings.seed
    )
    # A package over its budget is better known before hours of training than after.
    install_package(run, materials, opted_in, raw_text, fresh_start)
    models = train_pooled(jobs, settings.workers, progress)
    arms = (FEDERATED, FEDERATED_BLIND)
    federated = play_federated(run, settings, materials, models[STATIC], arms, engine, progress)
    parameters = federated[FEDERATED].shared()
    install_package(run, materials, opted_in, raw_text, parameters)
    timing = "timing requests on the phone's package"
    progress(timing, 0, 1)
    costs = measure_phone(run, materials, settings.comparison.latency_requests, settings.seed)
    progress(timing, 1, 1)
    top = settings.comparison.top
    agreement = agreement_with_evaluation(run, materials, federated[FEDERATED], top)
    outcome = Outcome(
        materials=materials,
        compression=compression,
        ranks=rank_all(settings, materials, jobs, models, federated),
        jobs=jobs,
        models=models,
        federated=federated,
        costs=costs,
        phone_agreement=agreement,
        leaks=leaks,
        bootstrap=PairedBootstrap.draw(
            len(materials.evaluated), settings.seed, replicates=settings.comparison.replicates
        ),
        slicings=slicings_of(materials, [tier.name for tier in settings.world.tiers]),
    )
    keep_server_lists(run, settings, outcome)
    return Summary(run, settings, outcome, datetime.now(UTC)).report()


def rank_all(
    settings: Settings,
    materials: Materials,
    jobs: dict[str, CentralJob],
    models: dict[str, CentralModel],
    federated: dict[str, FederatedArm],
) -> dict[str, Ranks]:
    """Ranks of the held-out items under every arm, in the order of the report."""
    referee = Referee.for_split(materials.split, materials.pool, settings.seed)
    ranks = baseline_ranks(referee, materials, settings)
    for arm in (TEACHER, CENTRAL, STATIC):
        ranks[arm] = referee.ranks(jobs[arm].scores(models[arm], referee.users))
    for name, played in federated.items():
        ranks[name] = federated_ranks(referee, played)
    return ranks
