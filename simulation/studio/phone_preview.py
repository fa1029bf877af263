"""A look into one phone of a finished comparison: what it shows, what that costs, what leaves it.

    run.json, settings.json          that it is whole, and shows users at all
    server-lists.npz, report/        the server teacher's lists, titles, what was measured
    world/, phones/                  tier, history, private texts, the catalogue's texts
    package/, arms/federated/        the phone itself: package, personal vector, rounds

The phone's list is made when it is asked for, as a phone makes it: by the installed package,
through onnxruntime and NumPy, from the history, the private texts and the personal vector of this
device. Everything else is read from the run. It shows choices of single users to whoever has the
run on disk, so a run that promises privacy is refused: its report shows nobody either.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.device_package import DevicePackage
from clients.shard import WorldManifest, column
from models.errors import DataError
from models.histories import NO_PRIVATE_TEXT
from simulation.experiments.arms import FEDERATED
from simulation.experiments.server_lists import NO_ITEM, ServerLists
from simulation.experiments.training import earliest_active
from simulation.reporting import formats
from simulation.reporting.html import load_report
from simulation.reporting.model import ReportData
from simulation.run_folder import RunFolder
from simulation.settings import Settings
from simulation.studio.phone_figures import sent_figures, serving_figures
from simulation.studio.phone_ledger import Ledger
from simulation.studio.phone_model import (
    MOST_ROWS,
    HistoryEvent,
    ListedItem,
    Listing,
    PhonePage,
    PhoneRow,
    PhoneView,
    TierCard,
    TierCount,
)
from simulation.studio.phone_package import InstalledPackage
from simulation.world.devices import Tier

COMPARISONS = ("quickstart", "compare")
SHOWN_HISTORY = 8


@dataclass(frozen=True, slots=True)
class PhonePreview:
    """The phones of one run.

    Attributes:
        run: its folder.
        settings: of the run.
        report: what it found.
        lists: what the server teacher recommends.
        ledger: the rounds of its federated arm.
        manifest: of its world.
        num_reports: (U,) rounds in which each phone's update was taken.
        opted_in: (U,) users whose history trained the start.
        package: what serves on all of them.
    """

    run: RunFolder
    settings: Settings
    report: ReportData
    lists: ServerLists
    ledger: Ledger
    manifest: WorldManifest
    num_reports: NDArray[np.int64]
    opted_in: NDArray[np.bool_]
    package: InstalledPackage

    @classmethod
    def open(cls, path: Path) -> "PhonePreview":
        """Open a finished comparison; its package is loaded when the first phone is asked for.

        Raises:
            DataError: if it is no whole comparison, promises privacy, or lacks one of its files.
        """
        run = RunFolder(path.resolve())
        _refuse_unfit(run, path)
        settings = run.settings()
        if settings.federation.privacy.is_private:
            raise DataError(
                f"the run in {path} promises its users differential privacy, so nobody is shown: "
                "give a run without federation.privacy"
            )
        manifest, ledger = WorldManifest.read(run.world), Ledger.read(run.arm(FEDERATED))
        opted_in = np.zeros(manifest.num_devices, dtype=np.bool_)
        times_s, offsets = column(run.world, "time_s"), np.asarray(column(run.world, "offsets"))
        opted_in[earliest_active(times_s, offsets, settings.comparison.opted_in_share)] = True
        lists = ServerLists.read(run.server_lists)
        if len(lists.items) != manifest.num_devices:
            raise DataError(
                f"{run.server_lists} has lists of {len(lists.items):,} users, the run "
                f"{manifest.num_devices:,} devices: run the comparison again"
            )
        DevicePackage.open(run.package)  # a damaged one is better known before the page is
        report = load_report(run.report)
        reports = ledger.reports()
        package = InstalledPackage(run)
        return cls(run, settings, report, lists, ledger, manifest, reports, opted_in, package)

    @property
    def name(self) -> str:
        """Of the run, for people."""
        return self.run.path.name

    def page(self, tier: str | None = None, offset: int = 0, limit: int = 20) -> PhonePage:
        """List phones, in order of their ids.

        Args:
            tier: only phones of this tier; None: of all.
            offset: phones to leave out at the beginning, >= 0.
            limit: phones on the page, 1 .. `MOST_ROWS`.

        Raises:
            DataError: if there is no such tier.
        """
        tiers = np.asarray(column(self.run.world, "tier"))
        ids = np.arange(len(tiers))
        if tier is not None:
            ids = np.flatnonzero(tiers == self._tier_index(tier))
        lengths = np.diff(column(self.run.world, "offsets"))
        shown = ids[offset : offset + min(limit, MOST_ROWS)]
        sizes = np.bincount(tiers, minlength=len(self.manifest.tiers))
        return PhonePage(
            run=self.name,
            tiers=tuple(
                TierCount(name=name, num_phones=int(size))
                for name, size in zip(self.manifest.tiers, sizes, strict=True)
            ),
            total=len(ids),
            offset=offset,
            phones=tuple(
                PhoneRow(
                    id=int(device),
                    tier=self.manifest.tiers[tiers[device]],
                    num_events=int(lengths[device]),
                    num_reports=int(self.num_reports[device]),
                )
                for device in shown
            ),
        )

    def _tier_index(self, name: str) -> int:
        if name not in self.manifest.tiers:
            known = ", ".join(self.manifest.tiers)
            raise DataError(f"there is no tier '{name}' in the run: choose one of {known}")
        return self.manifest.tiers.index(name)

    def view(self, device_id: int) -> PhoneView:
        """Look into one phone: its package serves one request for it.

        Raises:
            DataError: if there is no such phone, or the package is damaged.
        """
        self._refuse_stranger(device_id)
        tier = self._tier(device_id)
        history, texts = self._history(device_id)
        row = self.lists.items[device_id]
        on_server = row[row != NO_ITEM]
        found = int(self.lists.held_out[device_id])
        held_out = None if found == NO_ITEM else found
        taste = self._taste(device_id)
        served = self.package.serve(history, texts, taste, len(row), held_out)
        rounds = self.ledger.rounds_of(device_id)
        place = float(self.lists.place[device_id])
        return PhoneView(
            id=device_id,
            run=self.name,
            tier=self._tier_card(tier),
            num_events=len(history),
            history=tuple(
                HistoryEvent(title=self._title(history[at]), private_text=texts.get(at, ""))
                for at in range(len(history))[: -SHOWN_HISTORY - 1 : -1]
            ),
            held_out=None if held_out is None else self._title(held_out),
            server=self._listing(on_server, served.items, found, place),
            phone=self._listing(served.items, on_server, found, served.place),
            num_shared=len(np.intersect1d(on_server, served.items)),
            spent=(
                *serving_figures(served, self.report, self.settings.world, tier),
                *self.ledger.spent(rounds, self.settings.world, tier),
            ),
            sent=sent_figures(
                self.ledger,
                rounds,
                num_events=len(history),
                num_texts=len(texts),
                taste_size=len(taste),
                opted_in=bool(self.opted_in[device_id]),
                is_judged=held_out is not None,
            ),
            update=self.ledger.update(rounds),
            num_rounds=self.ledger.num_rounds,
            rounds=rounds,
        )

    def _refuse_stranger(self, device_id: int) -> None:
        if not 0 <= device_id < self.manifest.num_devices:
            raise DataError(
                f"there is no phone {device_id} in the run: give one of 0 to "
                f"{self.manifest.num_devices - 1}"
            )

    def _tier(self, device_id: int) -> Tier:
        return self.settings.world.tiers[int(column(self.run.world, "tier")[device_id])]

    def _title(self, item: int) -> str:
        return str(self.lists.titles[item])

    def _taste(self, device_id: int) -> NDArray[np.float32]:
        """The personal vector (dim,), as training left it; duals may lie behind it."""
        stored = column(self.run.arm(FEDERATED), "taste")[device_id]
        return np.array(stored[: self.settings.recommender.dim], dtype=np.float32)

    def _history(self, device_id: int) -> tuple[NDArray[np.int64], dict[int, str]]:
        """The training events (T,), oldest first, and position -> what was written with it."""
        world = self.run.world
        start, end = column(world, "offsets")[device_id : device_id + 2]
        rows = column(world, "private_row")[start:end].tolist()
        ends, texts = column(world, "private_text_offsets"), column(world, "private_text")
        written = {
            place: texts[ends[row] : ends[row + 1]].tobytes().decode("utf-8")
            for place, row in enumerate(rows)
            if row != NO_PRIVATE_TEXT
        }
        return column(world, "item")[start:end].astype(np.int64), written

    def _tier_card(self, tier: Tier) -> TierCard:
        row = next((row for row in self.report.tiers if row.tier == tier.name), None)
        return TierCard(
            name=tier.name,
            memory=formats.size(tier.memory_mb * 1e6),
            battery=f"{tier.battery_wh:g} Wh",
            can_serve=row is None or row.can_serve,
            note=row.note if row else "",
        )

    def _listing(
        self,
        items: NDArray[np.integer],
        other: NDArray[np.integer],
        held_out: int,
        place: float | None,
    ) -> Listing:
        return Listing(
            items=tuple(
                ListedItem(
                    title=self._title(item),
                    is_shared=bool(item in other),
                    is_held_out=bool(item == held_out),
                )
                for item in items
            ),
            place=None if place is None or np.isnan(place) else place,
        )


def _refuse_unfit(run: RunFolder, path: Path) -> None:
    record = run.record()
    if record.verb not in COMPARISONS:
        raise DataError(
            f"the run in {path} is a '{record.verb}', a look into its phones needs a comparison: "
            "make one with `pocketfleet quickstart` or `pocketfleet compare`"
        )
    if record.status != "complete":
        why = f" ({record.reason})" if record.reason else ""
        raise DataError(
            f"the run in {path} is {record.status}{why}, a look into its phones needs a complete "
            "one: wait for its end, or run it again"
        )
