"""A phone always has a release that works: refusals, trials, and the power cut at every step."""

import os
from pathlib import Path

import pytest

from clients.release.disk import Disk
from clients.release.pointer import Pointer
from clients.release.slots import MOST_TRIES, PhoneFacts, ReleaseSlots
from models.errors import DataError
from models.release.delta import make_delta
from models.release.folder import Release
from tests.models.release.made_up import KEY, OTHER_KEY, contents_of, files, release

PUBLIC = KEY.public_key()
FACTS = PhoneFacts("2.14.0", 400)
STEPS = {8: 0.0, 9: 0.01, 10: 0.02}


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> dict[int, Release]:
    folder = tmp_path_factory.mktemp("releases")
    return {sequence: release(folder, sequence, step) for sequence, step in STEPS.items()}


def works(folder: Path) -> None:
    assert (folder / "package.json").read_bytes()


def fails(_folder: Path) -> None:
    raise RuntimeError("does not load")


def slots(root: Path, disk: Disk | None = None, facts: PhoneFacts = FACTS) -> ReleaseSlots:
    return ReleaseSlots(root, PUBLIC, facts, disk)


def put(phone: ReleaseSlots, made: Release) -> None:
    phone.install(made.signed, made.signature, contents_of(made))


def served(folder: Path) -> int:
    """The sequence of the release whose files these are, every byte of them."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    matching = [sequence for sequence, step in STEPS.items() if found == files(step)]
    assert len(matching) == 1
    return matching[0]


def with_first(root: Path, releases) -> ReleaseSlots:
    phone = slots(root)
    put(phone, releases[8])
    assert served(phone.start(works)) == 8
    return phone


def test_the_next_release_is_tried_and_kept(tmp_path, releases):
    phone = with_first(tmp_path, releases)
    put(phone, releases[9])
    assert phone.pointer == Pointer("b", is_trial=True, tries=0, highest=9)
    assert served(phone.start(works)) == 9
    assert phone.pointer == Pointer("b", is_trial=False, tries=0, highest=9)
    put(phone, releases[10])
    assert served(slots(tmp_path).start(works)) == 10


def test_a_release_that_does_not_load_falls_back_by_itself(tmp_path, releases):
    phone = with_first(tmp_path, releases)
    put(phone, releases[9])

    def only_the_old_one(folder: Path) -> None:
        if served(folder) == 9:
            raise RuntimeError("out of memory")

    assert served(phone.start(only_the_old_one)) == 8
    assert served(phone.start(works)) == 8  # and stays there
    with pytest.raises(DataError, match="has sequence 9, this phone has had 9"):
        put(phone, releases[9])
    put(phone, releases[10])
    assert served(phone.start(works)) == 10


def test_a_self_test_that_kills_the_app_twice_falls_back(tmp_path, releases):
    phone = with_first(tmp_path, releases)
    put(phone, releases[9])
    for _ in range(MOST_TRIES):
        with pytest.raises(KeyboardInterrupt):
            phone.start(_killed)
    assert served(phone.start(works)) == 8


def _killed(_folder: Path) -> None:
    raise KeyboardInterrupt


def same(phone: ReleaseSlots, root: Path, act) -> None:
    """An act is refused, and not a byte of the phone changes."""
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    act()
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    assert served(phone.start(works)) == 8


def test_what_is_refused_changes_nothing(tmp_path, releases):
    root = tmp_path / "phone"
    phone = with_first(root, releases)
    good = releases[9]
    contents = contents_of(good)
    stranger = release(tmp_path, 11, key=OTHER_KEY)
    hungry = release(tmp_path, 12, min_memory_mb=500)
    modern = release(tmp_path, 13, min_app_version="3.0.0")
    cut_off = contents | {"recommender.npz": contents["recommender.npz"][:-1]}
    for signed, signature, told, message in (
        (good.signed[:-1], good.signature, contents, "not signed by the key"),
        (good.signed.replace(b":9", b":99"), good.signature, contents, "not signed by the key"),
        (good.signed, good.signature[:-1], contents, "not signed by the key"),
        (stranger.signed, stranger.signature, contents_of(stranger), "not signed by the key"),
        (good.signed, good.signature, cut_off, "bytes, its manifest says"),
        (good.signed, good.signature, contents | {"more": b""}, "does not have the files"),
        (releases[8].signed, releases[8].signature, contents_of(releases[8]), "has had 8"),
        (hungry.signed, hungry.signature, contents_of(hungry), "wants 500 MB of memory"),
        (modern.signed, modern.signature, contents_of(modern), "wants app 3.0.0"),
    ):

        def act(signed=signed, signature=signature, told=told, message=message):
            with pytest.raises(DataError, match=message):
                phone.install(signed, signature, told)

        same(phone, root, act)


def test_a_lower_sequence_is_refused_and_a_rollback_is_a_higher_one(tmp_path, releases):
    phone = with_first(tmp_path / "phone", releases)
    put(phone, releases[10])
    phone.start(works)
    with pytest.raises(DataError, match="a rollback is a new one with a higher sequence"):
        put(phone, releases[9])
    back = release(tmp_path, 11, step=STEPS[8])  # the files of the first one, under a new manifest
    put(phone, back)
    assert served(phone.start(works)) == 8
    assert phone.installed.manifest.sequence == 11


def test_a_delta_is_installed_and_a_bad_one_is_replaced_by_the_whole(tmp_path, releases):
    phone = with_first(tmp_path, releases)
    old, new = releases[8], releases[9]
    delta = make_delta(old.signed, contents_of(old), new.signed, new.signature, contents_of(new))
    assert phone.update(delta, _never)
    assert served(phone.start(works)) == 9
    assert not phone.update(delta, lambda: releases[10])  # from another release than the installed
    assert served(phone.start(works)) == 10


def _never() -> Release:
    raise AssertionError("the delta was enough")


def test_a_delta_that_somebody_else_signed_is_refused(tmp_path, releases):
    phone = with_first(tmp_path / "phone", releases)
    old, new = releases[8], release(tmp_path, 9, 0.01, key=OTHER_KEY)
    delta = make_delta(old.signed, contents_of(old), new.signed, new.signature, contents_of(new))
    with pytest.raises(DataError, match="not signed by the key"):
        phone.install_delta(delta)
    assert served(phone.start(works)) == 8
    with pytest.raises(DataError, match="no release to apply a delta to"):
        slots(tmp_path / "new phone").install_delta(delta)


class PowerCut(BaseException):
    """Not an Exception: nothing in the program may catch it and go on."""


class FailingDisk(Disk):
    """A disk whose n-th action is cut: before it, or in the middle of it."""

    def __init__(self, dies_at: int, half: bool) -> None:
        self.left, self.half = dies_at, half

    def _count(self) -> bool:
        self.left -= 1
        return self.left < 0

    def write(self, path: Path, content: bytes) -> None:
        if self._count():
            if self.half:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content[: len(content) // 2])
            raise PowerCut
        super().write(path, content)

    def rename(self, source: Path, target: Path) -> None:
        if self._count():
            if self.half:
                source.replace(target)  # it was done, and then the power went
            raise PowerCut
        super().rename(source, target)

    def clear(self, folder: Path) -> None:
        if self._count():
            if self.half and folder.exists():
                for path in sorted(p for p in folder.rglob("*") if p.is_file())[::2]:
                    path.unlink()
            raise PowerCut
        super().clear(folder)


def _cut_phone(root: Path, releases, dies_at: int, half: bool) -> bool:
    """Install and start with the power cut; say whether it was cut."""
    phone = with_first(root, releases)
    put(phone, releases[9])
    phone.start(works)
    failing = slots(root, FailingDisk(dies_at, half))
    try:
        put(failing, releases[10])
        failing.start(works)
    except PowerCut:
        return True
    return False


@pytest.mark.parametrize("half", [False, True])
def test_the_power_may_be_cut_at_any_step(tmp_path, releases, half):
    """At every action of installing and starting, there is a whole release that works after it."""
    seen, dies_at = set(), 0
    while _cut_phone(tmp_path / str(dies_at), releases, dies_at, half):
        root = tmp_path / str(dies_at)
        after = served(slots(root).start(works))
        assert after in (9, 10)
        seen.add(after)
        phone = slots(root)
        if after == 9:  # the new one can still be installed
            put(phone, releases[10])
            assert served(phone.start(works)) == 10
        dies_at += 1
    assert dies_at >= 10 and seen == {9, 10}


@pytest.mark.parametrize("dies_at", [0, 1, 3, 5, 7, 8, 9, 10])
def test_a_process_that_is_killed_leaves_a_release_that_works(tmp_path, releases, dies_at):
    """The same with a real end of the process: no `finally`, no buffer is written out."""
    phone = with_first(tmp_path, releases)
    put(phone, releases[9])
    phone.start(works)
    child = os.fork()
    if child == 0:
        try:
            put(slots(tmp_path, FailingDisk(dies_at, half=True)), releases[10])
        except PowerCut:
            os._exit(9)
        os._exit(0)
    os.waitpid(child, 0)
    assert served(slots(tmp_path).start(works)) in (9, 10)


def test_a_new_release_on_trial_does_not_cost_the_tested_one(tmp_path, releases):
    """10 comes while 9 is still on trial: 9's slot is written over, never 8's."""
    phone = with_first(tmp_path, releases)
    put(phone, releases[9])
    put(phone, releases[10])
    assert phone.pointer == Pointer("b", is_trial=True, tries=0, highest=10)
    assert served(phone.start(lambda folder: fails(folder) if served(folder) == 10 else None)) == 8


def test_a_damaged_pointer_is_found_anew(tmp_path, releases):
    phone = with_first(tmp_path, releases)
    put(phone, releases[9])
    phone.start(works)
    for content in (b"", b"{}", b'{"active": "c", "check": 1}', b"\xff"):
        (tmp_path / "current").write_bytes(content)
        assert served(phone.start(works)) == 9
        with pytest.raises(DataError, match="has had 9"):
            put(phone, releases[8])


def test_a_slot_that_rots_falls_back_and_nothing_at_all_says_so(tmp_path, releases):
    phone = with_first(tmp_path, releases)
    put(phone, releases[9])
    phone.start(works)
    (tmp_path / "slot-b/files/recommender.npz").write_bytes(b"rot")
    assert served(phone.start(works)) == 8
    (tmp_path / "slot-a/files/recommender.npz").write_bytes(b"rot")
    with pytest.raises(DataError, match=r"no release in .* works"):
        phone.start(works)
    put(phone, releases[9])  # the last one may come again when nothing works
    assert served(phone.start(works)) == 9


def test_a_new_phone_has_nothing_to_start(tmp_path):
    phone = slots(tmp_path)
    assert phone.installed is None
    with pytest.raises(DataError, match="no release in"):
        phone.start(works)
