"""The whole job on a made-up table with a tiny made-up teacher: every floor, every joint."""

import html
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clients.device_package import MANIFEST_RESERVE_BYTES, DevicePackage, write_package
from clients.serving import Phone
from models.bundle import EncoderBundle
from models.negatives import LeakError
from models.seeds import generator
from server.checkpoints import Checkpoint
from simulation.__main__ import run
from simulation.experiments.arms import CARDS, FEDERATED
from simulation.experiments.federation import read_arm
from simulation.experiments.materials import check_materials, prepare_materials
from simulation.experiments.rollout.recorded_rollout import LOGS, roll_out_package
from simulation.reporting.html import load_report
from simulation.run_folder import RunFolder
from simulation.settings import load_settings
from tests.models.conftest import TINY, WORDS, save_teacher, tiny_teacher_model

NUM_USERS, NUM_ITEMS = 24, 40


def toml_of(tree: dict, prefix: str) -> str:
    """A nested dictionary as TOML sections."""
    plain = [f"{k} = {json.dumps(v)}" for k, v in tree.items() if not isinstance(v, dict)]
    nested = [toml_of(v, f"{prefix}.{k}") for k, v in tree.items() if isinstance(v, dict)]
    return "\n".join([f"[{prefix}]", *plain, *nested])


def write_inputs(folder: Path) -> Path:
    """A made-up data set, a made-up teacher, and a preset for them."""
    rng = generator(1, "integration-test")
    rows = []
    for user in range(NUM_USERS):
        taste = user % 4
        likes = [item for item in range(NUM_ITEMS) if item % 4 == taste]
        others = [item for item in range(NUM_ITEMS) if item % 4 != taste]
        chosen = [*rng.permutation(likes)[: 3 + user % 6], *rng.permutation(others)[:2]]
        rows += [f"u{user:02d},i{item},{1000 + t}" for t, item in enumerate(chosen)]
    (folder / "events.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    names = [
        f"{WORDS[item % 30]} {WORDS[(7 * item + 1) % 30]} {item % 4}" for item in range(NUM_ITEMS)
    ]
    items = [f"i{item},{name}" for item, name in enumerate(names)]
    (folder / "items.csv").write_text("item,text\n" + "\n".join(items) + "\n")
    save_teacher(tiny_teacher_model(), folder / "teacher")
    preset = folder / "tiny.toml"
    preset.write_text(
        f"""extends = "quickstart"
workers = 1
[data]
source = "table"
path = "{folder / "events.csv"}"
items_path = "{folder / "items.csv"}"
[text]
teacher = "{folder / "teacher"}"
prose_sentences = 0
threads = 1
[recommender]
dim = 8
max_history = 6
[central]
epochs = 3
[static]
epochs = 3
[federation]
rounds = 4
cohort_size = 5
num_nodes = 2
evaluate_every = 2
[comparison]
replicates = 200
examples = 3
latency_requests = 10
{toml_of(TINY, "compression")}
"""
    )
    return preset


@pytest.fixture
def finished(finished_quickstart):
    """One run of the quickstart, used by all tests below."""
    return finished_quickstart


@pytest.fixture(autouse=True)
def own_cache(finished, monkeypatch):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(finished / "cache"))


def test_every_arm_is_there_with_its_intervals(finished):
    report = load_report(finished / "run" / "report")
    agreement = report.compression.parity["installed package and evaluation agree on"]
    assert agreement > 0.95  # float16 vectors may swap two items that are nearly tied
    assert [arm.key for arm in report.arms] == [card.key for card in CARDS]
    for arm in report.arms:
        for protocol in ("full", "sampled-99"):
            for interval in arm.metrics[protocol].values():
                assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert report.leak_check.passed and report.leak_check.num_devices == NUM_USERS
    assert len(report.recommendations) == 3
    page = (finished / "run" / "report" / "index.html").read_text("utf-8")
    assert all(arm.name in page for arm in report.arms)


def test_every_user_is_in_one_slice_of_each_kind_under_every_arm(finished):
    report = load_report(finished / "run" / "report")
    for arm in report.arms:
        sizes: dict[str, int] = {}
        for part in arm.slices:
            sizes[part.dimension] = sizes.get(part.dimension, 0) + part.num_users
        assert set(sizes.values()) == {NUM_USERS}
        assert {"tier", "activity", "user", "held-out item", "popularity of item"} <= set(sizes)
    assert all(contrast.p_holm is not None for contrast in report.contrasts)


def test_the_run_can_be_repeated_from_its_folder(finished):
    folder = RunFolder(finished / "run")
    record = folder.record()
    assert (record.status, record.verb) == ("complete", "quickstart")
    assert folder.settings().federation.rounds == 4


def test_the_packages_are_within_their_budgets(finished):
    bundle = EncoderBundle.open(finished / "run" / "bundle")
    package = DevicePackage.open(finished / "run" / "package")
    on_disk = sum(
        f.stat().st_size for f in (finished / "run" / "package").rglob("*") if f.is_file()
    )
    assert package.num_bytes == on_disk <= 4_000_000
    assert bundle.num_bytes == package.byte_table["encoder bundle"] <= 60_000
    assert package.num_cached == NUM_ITEMS


def test_the_phones_sums_are_the_figures_of_the_comparison(finished):
    """Two ways to the same number: sums that came back as messages, and ranks user by user."""
    report = load_report(finished / "run" / "report")
    last = read_arm(finished / "run" / "arms" / FEDERATED).history().rows()[-1]
    for protocol in ("full", "sampled-99"):
        for name, interval in report.known_arm(FEDERATED).metrics[protocol].items():
            assert last["metrics"][protocol][name] == pytest.approx(interval.mean, abs=1e-9)


def test_the_phone_in_the_report_is_the_phone_of_the_comparison(finished):
    """NumPy and onnxruntime on the phone rank as the torch evaluation did, up to int8 batches."""
    report = load_report(finished / "run" / "report")
    arm = read_arm(finished / "run" / "arms" / FEDERATED)
    items = [line.split(",")[1] for line in (finished / "items.csv").read_text().splitlines()[1:]]
    phone = Phone.load(finished / "run" / "package", items)
    shard = arm.shard()
    for example in report.recommendations:
        user = int(np.flatnonzero([f"u{u:02d}" == example.user for u in range(NUM_USERS)])[0])
        start, end = shard.events.histories.offsets[user : user + 2]
        history = np.asarray(shard.events.histories.items[start:end], dtype=np.int64)
        private = np.zeros((len(history), phone.encoder.vector_size), np.float32)
        for place, row in enumerate(shard.events.histories.private_row[start:end]):
            if row >= 0:
                private[place] = shard.events.histories.private_vectors[row]
        state = phone.ranker.state(history, private, np.asarray(shard.taste[user]))
        expected = [items[item] for item in phone.ranker.top(state, history, len(example.phone))]
        assert len(set(expected) & set(example.phone)) >= len(expected) - 1


def test_vectors_that_did_not_fit_are_encoded_on_demand(finished):
    """A package with half of the vectors serves the same catalogue: the phone encodes the rest."""
    package = DevicePackage.open(finished / "run" / "package")
    _, raw = package.cached_vectors()
    spent = package.num_bytes - package.byte_table["item vectors"]
    budget = spent + MANIFEST_RESERVE_BYTES + raw.shape[1] * 2 * NUM_ITEMS // 2
    small = write_package(
        finished / "small",
        finished / "run" / "bundle",
        package.parameters(),
        raw,
        np.arange(NUM_ITEMS),
        budget_bytes=budget,
    )
    items = [line.split(",")[1] for line in (finished / "items.csv").read_text().splitlines()[1:]]
    whole, half = (Phone.load(each.folder, items) for each in (package, small))
    assert whole.num_encoded == 0
    assert 0 < half.num_encoded < NUM_ITEMS
    np.testing.assert_allclose(half.ranker.items, whole.ranker.items, atol=5e-3)


def test_a_second_run_keeps_the_bundle_and_finds_the_same_figures(finished, capsys):
    copy = finished / "again"
    shutil.copytree(finished / "run", copy)
    before = (copy / "bundle" / "manifest.json").stat().st_mtime_ns
    arguments = ["compare", "--preset", str(finished / "tiny.toml"), "--out", str(copy), "--json"]
    assert run(arguments) == 0
    said = capsys.readouterr()
    assert "keeping the encoder bundle" in said.err
    assert (copy / "bundle" / "manifest.json").stat().st_mtime_ns == before
    found = json.loads(said.out)
    first = load_report(finished / "run" / "report")
    for arm in first.arms:
        for name, interval in arm.metrics["full"].items():
            assert found["arms"][arm.key][name] == interval.model_dump()


def test_a_damaged_bundle_is_made_again(finished, capsys):
    copy = finished / "damaged"
    shutil.copytree(finished / "run", copy)
    vocabulary = copy / "bundle" / "vocab.txt"
    good = vocabulary.read_bytes()
    vocabulary.write_bytes(good.replace(b"film", b"mlif"))
    arguments = ["compress", "--preset", str(finished / "tiny.toml"), "--out", str(copy), "--json"]
    assert run(arguments) == 0
    assert vocabulary.read_bytes() == good
    assert json.loads(capsys.readouterr().out)["bundle_bytes"] <= 60_000


def test_simulate_alone_ends_where_the_comparison_did(finished, capsys):
    copy = finished / "alone"
    shutil.copytree(finished / "run", copy)
    arguments = ["simulate", "--preset", str(finished / "tiny.toml"), "--out", str(copy), "--json"]
    assert run(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rounds"]
    assert [row["round_number"] for row in rows] == [0, 2, 4]
    first = read_arm(finished / "run" / "arms" / FEDERATED).parameters
    np.testing.assert_array_equal(read_arm(copy / "arms" / FEDERATED).parameters, first)


def test_simulate_goes_on_where_it_was_stopped(finished, capsys, monkeypatch):
    """Ctrl-C after the second round: the record says so, and --resume ends as if nothing were."""
    copy = finished / "stopped"
    shutil.copytree(finished / "run", copy)
    out = ["--out", str(copy), "--json"]
    real = Checkpoint.write

    def write(checkpoint: Checkpoint, folder: Path) -> None:
        real(checkpoint, folder)
        if checkpoint.rounds_done == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write)
        assert run(["simulate", "--preset", str(finished / "tiny.toml"), *out]) == 130
    assert RunFolder(copy).record().status == "interrupted"
    assert run(["simulate", "--resume", "--set", "seed=3", *out]) == 2
    assert "--set" in capsys.readouterr().err
    assert run(["simulate", "--resume", *out]) == 0
    first = read_arm(finished / "run" / "arms" / FEDERATED).parameters
    np.testing.assert_array_equal(read_arm(copy / "arms" / FEDERATED).parameters, first)
    assert RunFolder(copy).record().status == "complete"


def test_report_draws_the_page_again(finished):
    page = finished / "run" / "report" / "index.html"
    before = page.read_text("utf-8")
    page.unlink()
    assert run(["report", str(finished / "run")]) == 0
    assert page.read_text("utf-8") == before


def test_the_package_is_rolled_out_and_the_report_shows_it(finished):
    report = load_report(finished / "run" / "report").rollout
    package = DevicePackage.open(finished / "run" / "package")
    assert (report.num_devices, report.release_bytes) == (1000, package.num_bytes)
    page = (finished / "run" / "report" / "index.html").read_text("utf-8")
    assert '<a href="rollout.html">' in page and report.reading in html.unescape(page)
    own = finished / "run" / "rollout" / "report" / "rollout.html"
    assert (finished / "run" / "report" / "rollout.html").read_bytes() == own.read_bytes()


def test_a_rollout_that_was_killed_goes_on_and_one_of_another_package_goes(finished):
    copy = RunFolder(finished / "rolled")
    shutil.copytree(finished / "run", copy.path)
    log = copy.rollout / LOGS / "decisions.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:6]))  # killed on the third day
    first = load_report(copy.report).rollout
    again = roll_out_package(copy, 1000, "a test")
    assert log.read_bytes() == whole
    assert (again.days, again.decisions) == (first.days, first.decisions)
    (copy.package / "recommender.npz.orig").write_bytes(b"more bytes")
    other = roll_out_package(copy, 1000, "a test")
    assert other.release_bytes == first.release_bytes + len(b"more bytes")


def test_a_rollout_in_a_comparison_is_drawn_into_its_report(finished, capsys):
    copy = finished / "around"
    shutil.copytree(finished / "run", copy)
    verb = ["rollout", "--scenario", "garbage-vectors", "--devices", "1000"]
    few = ["--set", "operator.most_days=3"]
    assert run([*verb, *few, "--out", str(copy / "garbage")]) == 0
    assert "Report of the run around it" in capsys.readouterr().out
    assert load_report(copy / "report").rollout.scenario == "garbage-vectors"
    assert run(["report", str(copy), "--rollout", str(copy / "rollout")]) == 0
    assert load_report(copy / "report").rollout.scenario == "healthy"
    assert run(["report", str(copy), "--rollout", str(copy / "nothing")]) == 2
    assert "cannot read the rollout" in capsys.readouterr().err


def test_too_small_a_fleet_is_refused_before_any_work(tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["quickstart", "--rollout-devices", "12", "--out", str(out)]) == 2
    assert "give 1,000 or more, or 0" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_workers_change_nothing(finished, capsys):
    """Arms in processes of their own, and in this one: the same figures to the last bit."""
    copy = finished / "two-workers"
    shutil.copytree(finished / "run", copy)
    arguments = ["compare", "--preset", str(finished / "tiny.toml"), "--out", str(copy)]
    assert run([*arguments, "--set", "workers=2"]) == 0
    one, two = (load_report(folder / "report") for folder in (finished / "run", copy))
    assert [arm.metrics for arm in two.arms] == [arm.metrics for arm in one.arms]
    assert two.rounds[-1].metrics == one.rounds[-1].metrics


@pytest.mark.parametrize("column", ["item.npy", "held_out.npy"])
def test_a_leak_in_the_columns_the_phones_read_stops_the_run(finished, column):
    """Put a held-out item into the training events, on either side: the run must not go on."""
    settings = load_settings(str(finished / "tiny.toml"))
    copy = RunFolder(finished / f"leak-{column}")
    materials = prepare_materials(copy, settings, finished / "cache")
    check_materials(materials, settings)
    items, held_out = (np.load(copy.world / name) for name in ("item.npy", "held_out.npy"))
    if column == "item.npy":
        items[0] = held_out[0]  # event 0 is user 0's
    else:
        held_out[0] = items[0]
    np.save(copy.world / "item.npy", items)
    np.save(copy.world / "held_out.npy", held_out)
    with pytest.raises(LeakError, match="1 are in the training events"):
        check_materials(materials, settings)
