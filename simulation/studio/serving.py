"""Opening a studio on a port of this machine, and closing it."""

import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from models.errors import DataError, SettingsError
from simulation.studio.driver import Studio
from simulation.studio.rollout_setup import RolloutSetup, load_setup
from simulation.studio.store import Saved, Store
from simulation.studio.web import make_app

if TYPE_CHECKING:
    from simulation.studio.phone_preview import PhonePreview

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the first rollout of a folder is to be; None: not said.

    Attributes:
        scenario: a name or a .toml file.
        plan: likewise.
        devices: of the fleet.
        seed: of all draws.
        overrides: each "section.key=value".
    """

    scenario: str | None
    plan: str | None
    devices: int | None
    seed: int | None
    overrides: tuple[str, ...]

    @property
    def is_said(self) -> bool:
        """Whether anything is."""
        asked = (self.scenario, self.plan, self.devices, self.seed)
        return bool(self.overrides) or any(each is not None for each in asked)

    def setup(self) -> RolloutSetup:
        """The rollout that is wanted, what is not said as it usually is.

        Raises:
            SettingsError: if there is no such preset, or a value is wrong.
        """
        devices = 100_000 if self.devices is None else self.devices
        return load_setup(
            self.scenario or "healthy",
            self.plan or "standard",
            devices,
            self.seed or 0,
            self.overrides,
        )


def serve(
    folder: Path,
    port: int,
    wanted: Wanted,
    note: Callable[[str], None],
    *,
    workers: int = 1,
    opens: bool = False,
    run: Path | None = None,
) -> None:
    """Serve a studio until Ctrl-C or SIGTERM.

    Args:
        folder: of the studio; what is in it goes on.
        port: of the loopback address; 0: any free one.
        wanted: the first rollout of the folder.
        note: told the address.
        workers: threads of the fleet.
        opens: whether to open the page in a browser.
        run: a finished comparison whose phones the page looks into.

    Raises:
        SettingsError: if the port is taken, or a preset is wrong.
        DataError: if the folder holds another rollout, or what no studio wrote; or the run is none
            that can be looked into.
    """
    phones = _phones(run)
    with _bound(port) as bound:
        port = bound.getsockname()[1]
        store = Store.open(folder)
        try:
            first = _first(store.current(), wanted, folder)
        except BaseException:
            store.close()
            raise
        studio = Studio(store, workers)
        if first:
            studio.begin(first)
        studio.start()
        address = f"http://{LOOPBACK}:{port}"
        note(f"The studio is open: {address}   (Ctrl-C closes it)")
        try:
            config = uvicorn.Config(
                make_app(studio, port, phones),
                log_level="warning",
                timeout_graceful_shutdown=2,
                server_header=False,
            )
            if opens:
                webbrowser.open(address)
            _Server(config, studio).run(sockets=[bound])
        except KeyboardInterrupt:
            pass  # it is how a studio ends
        finally:
            studio.close()


class _Server(uvicorn.Server):
    """Lets go of its listeners as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self._studio = studio

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._studio.say_goodbye()
        super().handle_exit(sig, frame)


def _phones(run: Path | None) -> "PhonePreview | None":
    if run is None:
        return None
    from simulation.studio.phone_preview import PhonePreview  # with torch: only who asks waits

    return PhonePreview.open(run)


def _first(saved: Saved | None, wanted: Wanted, folder: Path) -> RolloutSetup | None:
    """The rollout to begin with; None: the folder's goes on."""
    if saved is None:
        return wanted.setup()
    if not wanted.is_said:
        return None
    there, asked = saved.setup, wanted.setup()
    names = [
        name for name in RolloutSetup.model_fields if getattr(there, name) != getattr(asked, name)
    ]
    if names:
        raise DataError(
            f"{folder} holds a rollout with another {names[0]}: leave these options out to go on "
            "with it and start a new one on the page, or name another folder"
        )
    return None


def _bound(port: int) -> socket.socket:
    """A socket of the loopback address."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
        bound.listen()  # at once: bound alone, somebody else may still bind it too
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"port {port} cannot be served ({error.strerror}): is a studio open already? Take "
            "another with --port"
        ) from error
    return bound
