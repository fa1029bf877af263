import json
from pathlib import Path

import pytest

from models.bundle import (
    CONTENT_FILES,
    ENCODER_BUDGET_BYTES,
    GRAPH,
    LARGEST_BUNDLE_BYTES,
    MANIFEST,
    TOKENIZER,
    VOCABULARY,
    EncoderBundle,
    write_bundle,
)
from models.errors import BudgetError, DataError

FILES = {GRAPH: b"g" * 1000, VOCABULARY: b"v" * 200, TOKENIZER: b"t" * 30}
PARTS = {"embedding": 700, "graph structure": 300}


def write(folder, *, budget_bytes=ENCODER_BUDGET_BYTES, files=FILES):
    return write_bundle(
        folder,
        files,
        graph_parts=PARTS,
        vector_size=8,
        origin={"seed": 1},
        budget_bytes=budget_bytes,
    )


def edit_manifest(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_byte_table_adds_up_to_the_files(tmp_path):
    bundle = write(tmp_path / "b")
    on_disk = sum(path.stat().st_size for path in (tmp_path / "b").iterdir())
    assert bundle.num_bytes == on_disk == sum(row.num_bytes for row in bundle.byte_table())
    graph = sum(row.num_bytes for row in bundle.byte_table() if row.part in PARTS)
    assert graph == (tmp_path / "b" / GRAPH).stat().st_size


def test_byte_table_of_a_real_bundle_adds_up(compressed):
    bundle, report = compressed
    on_disk = sum(path.stat().st_size for path in bundle.folder.iterdir())
    assert sum(row.num_bytes for row in report.byte_table) == on_disk == report.bundle_bytes


def test_written_bundle_opens_again(tmp_path):
    written = write(tmp_path / "b")
    opened = EncoderBundle.open(tmp_path / "b")
    assert opened == written
    assert {name: opened.read(name) for name in CONTENT_FILES} == FILES


def test_over_budget_raises_and_writes_nothing(tmp_path):
    size = write(tmp_path / "b").num_bytes
    assert write(tmp_path / "fits", budget_bytes=size).num_bytes == size
    with pytest.raises(BudgetError, match=r"7 over its budget.*embedding 700.*vocabulary 200"):
        write(tmp_path / "c", budget_bytes=size - 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "fits"]


def test_a_bundle_is_replaced_but_no_other_folder(tmp_path):
    write(tmp_path / "b")
    write(tmp_path / "b", files={**FILES, VOCABULARY: b"w" * 200})
    assert EncoderBundle.open(tmp_path / "b").read(VOCABULARY) == b"w" * 200
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(DataError, match="not an encoder bundle"):
        write(precious)
    assert (precious / "cat.jpg").read_bytes() == b"meow"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "photos"]


def test_a_new_bundle_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    old = write(tmp_path / "b")
    real = Path.replace

    def replace(path, target):
        if Path(target) == tmp_path / "b" and (path / VOCABULARY).read_bytes() != FILES[VOCABULARY]:
            raise OSError("the disk went away")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="went away"):
        write(tmp_path / "b", files={**FILES, VOCABULARY: b"w" * 200})
    assert EncoderBundle.open(tmp_path / "b") == old
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("name", CONTENT_FILES)
def test_a_flipped_bit_is_found(tmp_path, name):
    write(tmp_path / "b")
    path = tmp_path / "b" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name} does not have the SHA-256"):
        EncoderBundle.open(tmp_path / "b")


@pytest.mark.parametrize("name", [*CONTENT_FILES, MANIFEST])
def test_a_truncated_file_is_found(tmp_path, name):
    write(tmp_path / "b")
    path = tmp_path / "b" / name
    path.write_bytes(path.read_bytes()[:-1][: path.stat().st_size - 3])
    with pytest.raises(DataError, match=name):
        EncoderBundle.open(tmp_path / "b")


@pytest.mark.parametrize("name", [*CONTENT_FILES, MANIFEST])
def test_a_missing_file_is_found(tmp_path, name):
    write(tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    with pytest.raises(DataError, match=f"missing.*{name}"):
        EncoderBundle.open(tmp_path / "b")


def test_an_unknown_file_is_refused(tmp_path):
    write(tmp_path / "b")
    (tmp_path / "b" / "extra.bin").write_bytes(b"?")
    with pytest.raises(DataError, match=r"unknown.*extra\.bin"):
        EncoderBundle.open(tmp_path / "b")


def test_a_link_is_refused(tmp_path):
    write(tmp_path / "b")
    (tmp_path / "elsewhere").write_bytes(FILES[GRAPH])
    (tmp_path / "b" / GRAPH).unlink()
    (tmp_path / "b" / GRAPH).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="not a plain file"):
        EncoderBundle.open(tmp_path / "b")


def test_no_folder_names_the_cure(tmp_path):
    with pytest.raises(DataError, match="pocketfleet compress"):
        EncoderBundle.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(format="other/9"),
        lambda manifest: manifest.pop("origin"),
        lambda manifest: manifest.update(more=1),
        lambda manifest: manifest["files"].update({"../escape": {"bytes": 1, "sha256": "0"}}),
        lambda manifest: manifest["files"].pop(GRAPH),
        lambda manifest: manifest["files"].update({GRAPH: 5}),
        lambda manifest: manifest["files"][GRAPH].update(bytes=-1),
        lambda manifest: manifest["files"][GRAPH].update(bytes="1000"),
        lambda manifest: manifest["graph_parts"].update(embedding=699),
        lambda manifest: manifest.update(graph_parts=[1000]),
        lambda manifest: manifest.update(vector_size=None),
        lambda manifest: manifest.update(origin="x" * 20_000),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path, change):
    write(tmp_path / "b")
    edit_manifest(tmp_path / "b", change)
    with pytest.raises(DataError, match=MANIFEST):
        EncoderBundle.open(tmp_path / "b")


def test_an_oversized_bundle_is_not_opened(tmp_path):
    large = {**FILES, VOCABULARY: b"v" * ENCODER_BUDGET_BYTES}
    write(tmp_path / "b", files=large, budget_bytes=2 * ENCODER_BUDGET_BYTES)
    with pytest.raises(BudgetError, match="over its budget of 1,910,000"):
        EncoderBundle.open(tmp_path / "b")


def test_a_larger_bundle_is_opened_for_those_who_ask(tmp_path):
    large = {**FILES, VOCABULARY: b"v" * ENCODER_BUDGET_BYTES}
    written = write(tmp_path / "b", files=large, budget_bytes=LARGEST_BUNDLE_BYTES)
    assert EncoderBundle.open(tmp_path / "b", LARGEST_BUNDLE_BYTES) == written
    with pytest.raises(BudgetError, match="1 over its budget"):
        EncoderBundle.open(tmp_path / "b", written.num_bytes - 1)
    # An ordinary one may take its place.
    assert write(tmp_path / "b").num_bytes < ENCODER_BUDGET_BYTES


def test_parts_must_add_up(tmp_path):
    with pytest.raises(ValueError, match="add up"):
        write(tmp_path / "b", files={**FILES, GRAPH: b"g"})
