"""The verbs of a release: keys, make, verify, delta."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from models.errors import DataError, SettingsError
from simulation.commands import options
from simulation.commands.console import Voice

if TYPE_CHECKING:
    from models.release.folder import Release

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Sign what phones install, verify it, and tell a release as the difference from another.",
)

PublicKey = Annotated[
    Path, typer.Option("--public-key", "-k", help="The public key that phones trust, PEM.")
]
PrivateKey = Annotated[
    Path, typer.Option("--key", "-k", help="The private key that signs, PEM, Ed25519.")
]
KeyFolder = Annotated[Path, typer.Option("--out", "-o", help="Gets private.pem and public.pem.")]
Content = Annotated[
    Path, typer.Argument(help="An encoder bundle or a device package: all of its files.")
]
ReleaseOut = Annotated[Path, typer.Option("--out", "-o", help="The release folder, a new one.")]
ReleaseFolder = Annotated[Path, typer.Argument(help="A release folder.")]
OldFolder = Annotated[Path, typer.Argument(help="The release that phones have.")]
NewFolder = Annotated[Path, typer.Argument(help="The release that they are to have.")]
DeltaOut = Annotated[Path, typer.Option("--out", "-o", help="The file of the delta.")]
Sequence = Annotated[
    int,
    typer.Option(help="Rises with every manifest; phones refuse what is not higher.", min=1),
]
Version = Annotated[str, typer.Option(help='For people, as "2.1.0".')]
Name = Annotated[str, typer.Option(help="Of the part that is released.")]
Replaces = Annotated[
    Path | None, typer.Option(help="The release folder that it replaces: becomes its parent.")
]
MinApp = Annotated[str, typer.Option(help="Oldest app that can run it.")]
MinMemory = Annotated[float, typer.Option(help="Memory that the app must have, megabytes.", min=0)]
Epsilon = Annotated[
    float | None, typer.Option(help="Privacy spent on its users' data by now; none: not private.")
]


@app.command()
def keys(out: KeyFolder, machine: options.Machine = False) -> None:
    """Make a pair of keys: the private one signs releases, the public one comes with the app.

    Examples:

      pocketfleet release keys --out ~/keys

    Keep private.pem where releases are made, and nowhere else: it never lies in a release.
    """
    from models.release.signing import make_keys

    voice = Voice(machine)
    private, public = out / "private.pem", out / "public.pem"
    make_keys(private, public)
    voice.show(f"Signs: {private}\nVerifies: {public}")
    voice.result({"private": private, "public": public})


@app.command()
def make(
    content: Content,
    out: ReleaseOut,
    key: PrivateKey,
    sequence: Sequence,
    version: Version,
    name: Name = "recommender",
    replaces: Replaces = None,
    min_app_version: MinApp = "0.0.0",
    min_memory_mb: MinMemory = 0.0,
    epsilon: Epsilon = None,
    machine: options.Machine = False,
) -> None:
    """Sign a bundle or a package as a release: a manifest of every file, and an Ed25519 signature.

    A rollback is made the same way: the old content under a higher sequence number.

    Examples:

      pocketfleet release make runs/quickstart/package --out releases/8 --key ~/keys/private.pem
      --sequence 8 --version 2.1.0 --replaces releases/7
    """
    from models.release.folder import Release, make_release
    from models.release.manifest import ReleaseManifest, manifest_hash
    from models.release.signing import read_private_key

    voice = Voice(machine)
    private = read_private_key(key)
    parent = ""
    if replaces is not None:
        before = Release.open(replaces, private.public_key())
        if sequence <= before.manifest.sequence:
            raise SettingsError(
                f"--sequence is {sequence}, {replaces} has {before.manifest.sequence}: phones "
                f"refuse it; take {before.manifest.sequence + 1} or more"
            )
        parent = manifest_hash(before.signed)
    about = ReleaseManifest(
        name=name,
        version=version,
        sequence=sequence,
        files={},
        min_app_version=min_app_version,
        min_memory_mb=min_memory_mb,
        vocabulary_sha256="",
        parent=parent,
        epsilon=epsilon,
    )
    _tell(voice, make_release(out, content, about, private))


@app.command()
def verify(folder: ReleaseFolder, public_key: PublicKey, machine: options.Machine = False) -> None:
    """Check a release as a phone does: signature, file set, every size, every hash.

    Examples:

      pocketfleet release verify releases/8 --public-key ~/keys/public.pem
    """
    from models.release.folder import Release
    from models.release.signing import read_public_key

    _tell(Voice(machine), Release.open(folder, read_public_key(public_key)))


@app.command()
def delta(
    old: OldFolder,
    new: NewFolder,
    out: DeltaOut,
    public_key: PublicKey,
    machine: options.Machine = False,
) -> None:
    """Tell a release as the difference from the one that phones have, and apply it once to see.

    Examples:

      pocketfleet release delta releases/7 releases/8 --out 7-to-8.delta
      --public-key ~/keys/public.pem
    """
    from models.files import write_whole
    from models.release.delta import apply_delta, make_delta
    from models.release.folder import Release
    from models.release.signing import read_public_key

    voice, trusted = Voice(machine), read_public_key(public_key)
    before, after = Release.open(old, trusted), Release.open(new, trusted)
    if after.manifest.sequence <= before.manifest.sequence:
        raise SettingsError(
            f"{new} has sequence {after.manifest.sequence}, {old} has "
            f"{before.manifest.sequence}: give the older release first"
        )
    have, want = _contents(before), _contents(after)
    told = make_delta(before.signed, have, after.signed, after.signature, want)
    if apply_delta(told, before.signed, have) != (after.signed, after.signature, want):
        raise DataError("the delta does not give the release again: this is a bug, send the whole")
    with write_whole(out) as file:
        file.write(told)
    whole = after.manifest.num_bytes
    voice.show(f"{out}: {len(told):,} bytes for {whole:,}, {len(told) / whole:.1%} of them")
    voice.result({"file": out, "delta_bytes": len(told), "whole_bytes": whole})


def _contents(release: "Release") -> dict[str, bytes]:
    return {name: release.read(name) for name in release.manifest.files}


def _tell(voice: Voice, release: "Release") -> None:
    manifest = release.manifest
    table = Table(title=f"{manifest.name} {manifest.version}, sequence {manifest.sequence}")
    for column in ("file", "bytes", "sha256"):
        table.add_column(column, justify="right" if column == "bytes" else "left")
    for name, file in sorted(manifest.files.items()):
        table.add_row(name, f"{file.num_bytes:,}", file.sha256[:16])
    voice.show(table)
    voice.show(f"Signed and whole: {release.folder}, {manifest.num_bytes:,} bytes")
    voice.result(
        {
            "folder": release.folder,
            "name": manifest.name,
            "version": manifest.version,
            "sequence": manifest.sequence,
            "num_bytes": manifest.num_bytes,
            "vocabulary_sha256": manifest.vocabulary_sha256,
            "parent": manifest.parent,
            "epsilon": manifest.epsilon,
        }
    )
