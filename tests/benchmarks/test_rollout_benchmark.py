"""Rollouts that are repeated: rows that are done are kept, and only those of the same settings."""

import json

from benchmarks import rollout
from benchmarks.kept_rows import KeptRows


def test_a_killed_measurement_goes_on_with_the_rows_it_has(tmp_path):
    path = tmp_path / "rows.jsonl"
    cases = rollout.Cases(KeptRows(path), 1000, 2)
    assert cases.known("healthy", 3) is None
    first, second = (rollout.ending("healthy", 1000, 2, 1, seed) for seed in (3, 4))
    cases.keep("healthy", 3, first)
    cases.keep("healthy", 4, second)
    path.write_bytes(path.read_bytes()[:-20])  # killed in the middle of a line
    again = rollout.Cases(KeptRows(path), 1000, 2)
    assert again.known("healthy", 3) == first and again.known("healthy", 4) is None
    again.keep("healthy", 4, second)
    whole = rollout.Cases(KeptRows(path), 1000, 2)
    assert whole.known("healthy", 4) == second
    for devices, days, name in ((2000, 2, "healthy"), (1000, 3, "healthy"), (1000, 2, "quality-2")):
        assert rollout.Cases(KeptRows(path), devices, days).known(name, 3) is None
    assert json.loads(path.read_text().splitlines()[0])["scenario"] == "healthy"
