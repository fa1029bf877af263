"""Installing a release on a phone so that there is always one that works.

    phone/
      slot-a/  slot-b/     a release each: manifest, signature, files
      current              which one is served from (clients.release.pointer)

    install    verify signature, sequence, needs -> clear the *other* slot -> write its files
               -> read them back -> replace the pointer: the new one is on trial
    start      on trial: count the try -> self-test -> replace the pointer: it is kept
               it fails, or was cut off twice: replace the pointer: back to the old one

The slot that is served from is never written, and the pointer is replaced in one step, so a power
cut at any moment leaves a release that works (a test cuts at every step). A release is refused if
the trusted key did not sign it, a byte differs, the phone is too old or too small for it, or its
sequence number is not above the highest that was installed; the phone keeps what it has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from clients.release.disk import Disk
from clients.release.pointer import NOWHERE, SLOTS, Pointer
from models.errors import DataError
from models.release.delta import apply_delta
from models.release.folder import Release
from models.release.manifest import (
    FILES,
    MANIFEST,
    SIGNATURE,
    ReleaseManifest,
    version_numbers,
)
from models.release.signing import verify

CURRENT = "current"
MOST_TRIES = 2
"""Self-tests that a new release may begin: one more than a power cut costs."""

SelfTest = Callable[[Path], None]
"""Takes the folder of a release's files; raises anything if it does not work."""


@dataclass(frozen=True, slots=True)
class PhoneFacts:
    """What a release may ask of a phone.

    Attributes:
        app_version: "2.14.0".
        memory_mb: memory that the app may use, megabytes (1e6 bytes).
    """

    app_version: str
    memory_mb: float


class ReleaseSlots:
    """The two slots of a phone.

    Args:
        root: folder of the phone's releases.
        key: public key that is trusted; it comes with the app.
        facts: of the phone.
        disk: what is written to.
    """

    def __init__(
        self, root: Path, key: Ed25519PublicKey, facts: PhoneFacts, disk: Disk | None = None
    ) -> None:
        self._root, self._key, self._facts = root, key, facts
        self._disk = disk or Disk()

    @property
    def pointer(self) -> Pointer:
        """Where the phone stands; found anew in the slots where the file is damaged."""
        try:
            content = (self._root / CURRENT).read_bytes()
        except OSError:
            return self._found_anew()
        return Pointer.from_bytes(content) or self._found_anew()

    @property
    def installed(self) -> Release | None:
        """The release that is served from, whole and verified; None if there is none."""
        return self._open(self.pointer.active)

    def install(self, signed: bytes, signature: bytes, contents: Mapping[str, bytes]) -> None:
        """Install a release; it is on trial until `start` has tested it.

        Args:
            signed: bytes of its manifest.
            signature: of them.
            contents: its files by name.

        Raises:
            DataError: if it is refused; nothing was changed then.
        """
        manifest = self._accepted(signed, signature)
        if set(contents) != set(manifest.files):
            raise DataError("the release does not have the files of its manifest: fetch it again")
        for name, expected in manifest.files.items():
            expected.check(name, contents[name])
        pointer = self._without_trial()
        slot = pointer.other
        folder = self._folder(slot)
        self._disk.clear(folder)
        for name in sorted(manifest.files):
            self._disk.write(folder / FILES / name, contents[name])
        self._disk.write(folder / SIGNATURE, signature)
        self._disk.write(folder / MANIFEST, signed)
        Release.open(folder, self._key)  # as it lies on the disk, not as it was in memory
        self._point(Pointer(slot, is_trial=True, tries=0, highest=manifest.sequence))

    def install_delta(self, delta: bytes) -> None:
        """Install a release that is told as a difference from the installed one.

        Raises:
            DataError: if it is refused, or is from another release; fetch the whole one then.
        """
        installed = self.installed
        if installed is None:
            raise DataError("there is no release to apply a delta to: fetch the whole one")
        old = {name: installed.read(name) for name in installed.manifest.files}
        self.install(*apply_delta(delta, installed.signed, old))

    def update(self, delta: bytes | None, whole: Callable[[], Release]) -> bool:
        """Install by the delta, or by the whole release where that fails.

        Args:
            delta: if there is one.
            whole: fetches the release; called only when it is needed.

        Returns:
            whether the delta was enough.

        Raises:
            DataError: if the whole release is refused too.
        """
        if delta is not None:
            try:
                self.install_delta(delta)
            except DataError:
                pass
            else:
                return True
        release = whole()
        contents = {name: release.read(name) for name in release.manifest.files}
        self.install(release.signed, release.signature, contents)
        return False

    def start(self, self_test: SelfTest) -> Path:
        """Return the folder of files to serve from, after testing it.

        Args:
            self_test: loads the release and tries it.

        Raises:
            DataError: if no slot holds a release that works.
        """
        pointer = self.pointer
        if pointer.is_trial and pointer.tries >= MOST_TRIES:
            return self._fall_back(pointer, self_test)
        if pointer.is_trial:
            pointer = replace(pointer, tries=pointer.tries + 1)
            self._point(pointer)
        if not self._works(pointer.active, self_test):
            return self._fall_back(pointer, self_test)
        if pointer.is_trial:
            self._point(replace(pointer, is_trial=False, tries=0))
        return self._folder(pointer.active) / FILES

    def _accepted(self, signed: bytes, signature: bytes) -> ReleaseManifest:
        """Refuse what this phone must not install."""
        verify(signed, signature, self._key)
        manifest = ReleaseManifest.from_bytes(signed)
        highest = self.pointer.highest
        # A phone whose slots are both broken may have its last release again.
        lowest = highest + 1 if any(self._open(slot) for slot in SLOTS) else highest
        if manifest.sequence < lowest:
            raise DataError(
                f"the release has sequence {manifest.sequence}, this phone has had {highest}: an "
                "older manifest is refused; a rollback is a new one with a higher sequence"
            )
        if version_numbers(self._facts.app_version) < version_numbers(manifest.min_app_version):
            raise DataError(
                f"the release wants app {manifest.min_app_version}, this is "
                f"{self._facts.app_version}: update the app first"
            )
        if self._facts.memory_mb < manifest.min_memory_mb:
            raise DataError(
                f"the release wants {manifest.min_memory_mb:g} MB of memory, the app may use "
                f"{self._facts.memory_mb:g}: this phone keeps what it has"
            )
        return manifest

    def _without_trial(self) -> Pointer:
        """The pointer, back on the tested release if the active one is on trial."""
        pointer = self.pointer
        if pointer.is_trial and self._open(pointer.other):
            pointer = replace(pointer, active=pointer.other, is_trial=False, tries=0)
            self._point(pointer)
        return pointer

    def _fall_back(self, pointer: Pointer, self_test: SelfTest) -> Path:
        if not self._works(pointer.other, self_test):
            raise DataError(
                f"no release in {self._root} works: fetch one whole; the app goes on without"
            )
        self._point(replace(pointer, active=pointer.other, is_trial=False, tries=0))
        return self._folder(pointer.other) / FILES

    def _works(self, slot: str, self_test: SelfTest) -> bool:
        if self._open(slot) is None:
            return False
        try:
            self_test(self._folder(slot) / FILES)
        except Exception:  # whatever it raises: it does not work
            return False
        return True

    def _open(self, slot: str) -> Release | None:
        if not slot:
            return None
        try:
            return Release.open(self._folder(slot), self._key)
        except (DataError, OSError):
            return None

    def _found_anew(self) -> Pointer:
        """Without a pointer: the whole release with the highest sequence, on trial."""
        found = {slot: release for slot in SLOTS if (release := self._open(slot))}
        if not found:
            return NOWHERE
        best = max(found, key=lambda slot: found[slot].manifest.sequence)
        return Pointer(best, is_trial=True, tries=0, highest=found[best].manifest.sequence)

    def _point(self, pointer: Pointer) -> None:
        self._disk.replace(self._root / CURRENT, pointer.to_bytes())

    def _folder(self, slot: str) -> Path:
        return self._root / f"slot-{slot}"
