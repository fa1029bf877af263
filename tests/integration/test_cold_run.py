"""The whole job with cold items and cold users, on a made-up table with a tiny made-up teacher."""

import numpy as np
import pytest

from clients.local_evaluation import score_devices
from models.errors import SettingsError
from models.launch import OUT_OF_REACH
from models.negatives import LeakError
from simulation.__main__ import run
from simulation.data.fingerprint import data_sha256
from simulation.data.interactions import Columns
from simulation.experiments.arms import FEDERATED
from simulation.experiments.cold_evaluation import PROTOCOLS, ColdReferee
from simulation.experiments.federation import read_arm
from simulation.experiments.materials import check_materials, prepare_materials
from simulation.reporting.html import load_report
from simulation.run_folder import RunFolder
from tests.integration.test_quickstart import write_inputs

COLD = ("split.cold_items=0.15", "split.cold_users=0.3", "split.cold_user_events=2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One comparison with a share of cold items, used by all tests below."""
    folder = tmp_path_factory.mktemp("cold")
    preset = write_inputs(folder)
    words = [word for one in COLD for word in ("--set", one)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETFLEET_CACHE", str(folder / "cache"))
        out = str(folder / "run")
        assert run(["compare", "--preset", str(preset), "--out", out, *words]) == 0
    return RunFolder(folder / "run"), folder / "cache"


def test_a_run_with_cold_items_ends_with_a_report_and_can_be_asked_for_them(finished):
    folder, cache = finished
    report = load_report(folder.report)
    assert report.leak_check.passed
    materials = prepare_materials(folder, folder.settings(), cache)
    parts = materials.split
    assert folder.record().data_sha256 == data_sha256(parts.interactions)
    assert parts.cold_item.sum() == 6 and parts.cold_user.sum() == 7
    assert not parts.cold_item[materials.pool.items].any()
    assert (materials.pool.lengths()[parts.cold_user] <= 2).all()
    arm = read_arm(folder.arm(FEDERATED))
    assert (arm.parameters == np.float32(OUT_OF_REACH)).sum() == 6
    assert (arm.launched() > OUT_OF_REACH / 2).all()
    referee = ColdReferee.for_split(parts)
    assert len(referee.users) > 5
    scores = score_devices(arm.shard(), referee.users, arm.launched(), arm.job.recommender)
    values = referee.values(scores)
    assert set(values) == set(PROTOCOLS)
    assert values["cold-among-cold"]["hr@10"].mean() == 1  # there are but six


def test_the_report_has_the_cold_question_for_every_arm(finished):
    folder, cache = finished
    cold = load_report(folder.report).cold
    parts = prepare_materials(folder, folder.settings(), cache).split
    referee = ColdReferee.for_split(parts)
    assert cold is not None
    assert (cold.num_users, cold.num_items) == (len(referee.users), 6)
    assert [arm.key for arm in cold.arms] == [arm.key for arm in load_report(folder.report).arms]
    arm = read_arm(folder.arm(FEDERATED))
    scores = score_devices(arm.shard(), referee.users, arm.launched(), arm.job.recommender)
    values = referee.values(scores)
    found = next(one for one in cold.arms if one.key == FEDERATED)
    for protocol in PROTOCOLS:
        for metric, interval in found.metrics[protocol].items():
            assert interval.mean == pytest.approx(values[protocol][metric].mean())
        assert sum(part.num_users for part in found.slices[protocol]) == 3 * len(referee.users)
    assert 'id="new-items"' in (folder.report / "index.html").read_text("utf-8")


def test_synthetic_devices_and_cold_items_exclude_each_other(finished, tmp_path):
    folder, cache = finished
    settings = folder.settings()
    fleet = settings.population.model_copy(update={"devices": 50})
    with pytest.raises(SettingsError, match=r"split\.cold_items=0\.15 is for real users"):
        prepare_materials(
            RunFolder(tmp_path), settings.model_copy(update={"population": fleet}), cache
        )


def test_a_cold_item_on_a_phone_stops_the_run(finished):
    folder, cache = finished
    materials = prepare_materials(folder, folder.settings(), cache)
    items = np.load(folder.world / "item.npy")
    items[0] = np.flatnonzero(materials.split.cold_item)[0]
    np.save(folder.world / "item.npy", items)
    with pytest.raises(LeakError, match="1 training events on phones have a cold item"):
        check_materials(materials, folder.settings())
    assert Columns.ITEM in materials.split.left_out
