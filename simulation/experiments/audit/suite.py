"""`pocketfleet audit`: the attacks by name, on a finished run, each into a JSON file of its own.

    RUN (complete) + plan of sizes --attack--> OUT/history.json  OUT/words.json  ...

Nothing in OUT is of one user: tables hold means over devices or texts.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from clients.shard import column
from models.bundle import EncoderBundle
from models.errors import SettingsError
from models.files import write_json
from models.progress import Progress, silent
from models.seeds import generator
from models.threads import fixed_threads
from simulation.data.labelled_texts import load_labelled
from simulation.experiments.audit.canaries import CanaryAttack
from simulation.experiments.audit.findings import Findings
from simulation.experiments.audit.history_reconstruction import (
    HistoryAttack,
    reconstruct_histories,
)
from simulation.experiments.audit.membership import MembershipAttack, infer_membership
from simulation.experiments.audit.one_run_audit import audit_in_one_run
from simulation.experiments.audit.poisoning import PoisonAttack, poison
from simulation.experiments.audit.serving_leaks import ServingComparison, compare_serving
from simulation.experiments.audit.target import Target, all_events
from simulation.experiments.audit.text_inversion import VectorsAttack, invert_vectors
from simulation.experiments.audit.typed_words import WordsAttack, open_student, read_typed_words
from simulation.experiments.encoders.text_readers import bundle_reader
from simulation.experiments.plans import load_plan
from simulation.experiments.training import earliest_active
from simulation.run_folder import RunFolder, git_commit, versions

PRESETS, QUICK = "audit", "quick.toml"


class AuditPlan(BaseModel):
    """Sizes of all attacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: HistoryAttack
    words: WordsAttack
    vectors: VectorsAttack
    membership: MembershipAttack
    canaries: CanaryAttack
    poison: PoisonAttack
    serving: ServingComparison


def load_audit(
    path: Path | None = None, overrides: Sequence[str] = (), *, quick: bool = False
) -> AuditPlan:
    """Read the sizes of the attacks.

    Args:
        path: a TOML file; the product's when None.
        overrides: each "section.key=value".
        quick: take the product's small sizes.

    Raises:
        SettingsError: if a key or value is wrong, or both a file and the small sizes are asked for.
    """
    if quick and path is not None:
        raise SettingsError("--quick has sizes of its own: leave out --settings, or --quick")
    with resources.as_file(resources.files("simulation.presets") / PRESETS / QUICK) as small:
        plan, others = load_plan(AuditPlan, PRESETS, small if quick else path, overrides)
    if others:
        sections = ", ".join(AuditPlan.model_fields)
        raise SettingsError(f"--set {others[0]}: the sections of an audit are {sections}")
    return plan


@dataclass(frozen=True, slots=True)
class Bench:
    """What an attack may use.

    Attributes:
        run: the finished run.
        target: its attacked arm.
        plan: sizes of all attacks.
        cache: the cache folder.
        scratch: an empty folder for runs of an attacker's own.
        progress: told about everything that takes long.
    """

    run: RunFolder
    target: Target
    plan: AuditPlan
    cache: Path
    scratch: Path
    progress: Progress

    def bundle(self, named: str) -> Path:
        """An encoder bundle by its path; "" is the run's own."""
        return Path(named) if named else self.run.bundle

    def texts(self, source: str, count: int, part: str) -> list[str]:
        """Texts of a labelled set, in an order of the run's seed, at most so many."""
        split = getattr(load_labelled(source, self.cache, progress=self.progress), part)
        order = generator(self.target.devices.seed, "attacked texts").permutation(len(split.texts))
        return [split.texts[place] for place in order[:count]]

    def opted_in(self, share: float) -> NDArray[np.int64]:
        """The earliest active users; any, in a world whose events have no stored times."""
        histories, world = all_events(self.target.shard()), self.target.devices.world
        if (world / "time_s.npy").is_file():
            return earliest_active(column(world, "time_s"), histories.offsets, share)
        active = np.flatnonzero(histories.lengths() > 0)
        return active[: max(1, int(len(active) * share))]


def _words(bench: Bench) -> Findings:
    attack, seed = bench.plan.words, bench.target.devices.seed
    texts = bench.texts(attack.source, attack.texts, "validation")
    student = open_student(str(bench.bundle(attack.bundle)))
    return read_typed_words(student, texts, attack, seed, bench.progress)


def _vectors(bench: Bench) -> Findings:
    attack = bench.plan.vectors
    texts = list(dict.fromkeys(bench.texts(attack.source, attack.texts, "train")))
    reader = bundle_reader("bundle", bench.bundle(attack.bundle))
    return invert_vectors(bench.target, texts, reader.read, attack, bench.progress)


def _serving(bench: Bench) -> Findings:
    comparison = bench.plan.serving
    opted_in = bench.opted_in(comparison.opted_in_share)
    num_bytes = EncoderBundle.open(bench.run.bundle).num_bytes
    return compare_serving(bench.target, comparison, opted_in, num_bytes, bench.progress)


ATTACKS: dict[str, Callable[[Bench], Findings]] = {
    "history": lambda bench: reconstruct_histories(
        bench.target, bench.plan.history, bench.progress
    ),
    "words": _words,
    "vectors": _vectors,
    "membership": lambda bench: infer_membership(
        bench.target, bench.plan.membership, bench.scratch, bench.progress
    ),
    "canaries": lambda bench: audit_in_one_run(
        bench.target, bench.plan.canaries, bench.scratch, bench.progress
    ),
    "poison": lambda bench: poison(bench.target, bench.plan.poison, bench.progress),
    "serving": _serving,
}


def audit_run(
    folder: Path,
    arm: str,
    plan: AuditPlan,
    names: Sequence[str],
    out: Path,
    cache: Path,
    progress: Progress = silent,
) -> Iterator[Findings]:
    """Make attacks one after another; yield and write what each found.

    Args:
        folder: a finished run.
        arm: a federated arm of it.
        plan: sizes.
        names: of the attacks, keys of `ATTACKS`.
        out: gets a JSON file for each attack.
        cache: the cache folder.
        progress: told about everything that takes long.

    Raises:
        SettingsError: if an attack is unknown, or cannot be made on this run.
        DataError: if the run did not end well, or texts cannot be had.
    """
    unknown = sorted(set(names) - set(ATTACKS))
    if unknown:
        raise SettingsError(
            f"there is no attack {', '.join(unknown)}: choose among {', '.join(ATTACKS)}"
        )
    run, target = RunFolder(folder.resolve()), Target.of_run(folder, arm)
    for name in names:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="pocketfleet-audit-") as scratch, fixed_threads(1):
            bench = Bench(run, target, plan, cache, Path(scratch), progress)
            found = ATTACKS[name](bench)
        sizes = json.loads(getattr(plan, name).model_dump_json())
        write_json(out / f"{name}.json", _record(found, run, arm, sizes, started))
        yield found


def _record(
    found: Findings, run: RunFolder, arm: str, sizes: dict[str, Any], started: float
) -> dict[str, Any]:
    """What was found, with what, and on what."""
    return {
        **found.as_dict(),
        "arm": arm,
        "run_commit": run.record().commit,
        "commit": git_commit(),
        "versions": versions(),
        "sizes": sizes,
        "seconds": time.perf_counter() - started,
    }
