import numpy as np
import pytest

from models.errors import DataError
from server.cohorts import CohortPlan

PLAN = CohortPlan(
    offsets=np.array([0, 2, 5]),
    invited=np.array([3, 9, 1, 2, 8]),
    outcome=np.array([0, 1, 0, 0, 2], dtype=np.int8),
    version=np.array([0, 0, 1, 0, 1]),
    start_s=np.array([0.0, 4.5]),
    duration_s=np.array([4.5, 3.0]),
)


def test_a_plan_is_played_back_as_it_was_written(tmp_path):
    PLAN.write(tmp_path / "cohorts.npz")
    cohort = CohortPlan.read(tmp_path / "cohorts.npz").cohort(2)
    assert (cohort.invited.tolist(), cohort.reported.tolist()) == ([1, 2, 8], [1, 2])
    assert cohort.version.tolist() == [1, 0]
    assert (cohort.num_late, cohort.num_dropped) == (0, 1)
    assert (PLAN.cohort(1).num_late, PLAN.cohort(1).num_dropped) == (1, 0)
    assert (cohort.start_s, cohort.duration_s) == (4.5, 3.0)


@pytest.mark.parametrize("round_number", [0, 3])
def test_a_round_outside_the_plan_is_refused(round_number):
    with pytest.raises(DataError, match=r"outside the plan, 1 \.\. 2"):
        PLAN.cohort(round_number)


def test_a_damaged_plan_is_one_clear_line(tmp_path):
    (tmp_path / "cohorts.npz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot read the cohort plan"):
        CohortPlan.read(tmp_path / "cohorts.npz")
