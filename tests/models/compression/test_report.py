import json

from models.bundle import PartBytes
from models.compression.report import CompressionReport, ParityFigures, StageClock, StageRow

REPORT = CompressionReport(
    stages=(StageRow("pruning", 1.5, {"words_after": 7}),),
    byte_table=(PartBytes("embedding", 5), PartBytes("manifest", 2)),
    bundle_bytes=7,
    budget_bytes=10,
    parity=ParityFigures(1e-7, 0.99, 0.9, 0.7, 30),
)


def test_written_report_is_plain_json(tmp_path):
    REPORT.write(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["stages"] == [
        {"stage": "pruning", "seconds": 1.5, "figures": {"words_after": 7}}
    ]
    assert content["byte_table"][0] == {"part": "embedding", "num_bytes": 5}
    assert content["parity"]["teacher_neighbour_agreement"] == 0.7
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_clock_keeps_a_row_per_stage_and_hands_on_results():
    calls = []
    clock = StageClock(lambda *call: calls.append(call), num_stages=2)
    doubled = clock.run("double", lambda x: (2 * x, {"was": x}), 4)
    assert clock.run("name", lambda: (str(doubled), {})) == "8"
    assert [(row.stage, row.figures) for row in clock.rows] == [
        ("double", {"was": 4}),
        ("name", {}),
    ]
    assert all(row.seconds >= 0 for row in clock.rows)
    assert calls == [("compress: double", 0, 2), ("compress: name", 1, 2)]
