"""The notebook runs as it stands, and its two promises about length are kept."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "your-own-model.ipynb"


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def lines_tagged(tag: str) -> int:
    """Lines of code, empty ones and comments left out."""
    sources = [cell.source for cell in read().cells if tag in cell.metadata.get("tags", [])]
    assert sources, tag
    lines = [line.strip() for source in sources for line in source.splitlines()]
    return len([line for line in lines if line and not line.startswith("#")])


@pytest.mark.parametrize(("tag", "most"), [("evaluation", 10), ("plug-in", 30)])
def test_it_takes_no_more_lines_than_promised(tag: str, most: int):
    assert lines_tagged(tag) <= most


def test_no_output_no_path_and_no_data_set_is_committed():
    for cell in read().cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "/root" not in text and "/home" not in text and "ml-100k" not in text


def test_its_links_lead_somewhere():
    for cell in read().cells:
        for target in re.findall(r"\]\(([^)#\s]+)\)", cell.source):
            assert (NOTEBOOK.parent / target).exists(), target


@pytest.mark.slow
def test_every_cell_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    book = read()
    NotebookClient(book, timeout=None, resources={"metadata": {"path": str(ROOT)}}).execute()
    printed = [
        "".join(each.text for each in cell.outputs if each.output_type == "stream")
        for cell in book.cells
        if cell.cell_type == "code"
    ]
    judged, learnt, against = printed[1], printed[-2], printed[-1]
    assert re.match(r"Interval\(mean=0\.\d+, low=0\.\d+, high=0\.\d+\)\nSliceMean\(", judged)
    hits = [float(line.split()[2]) for line in learnt.splitlines() if re.match(r"\d+ \d+ ", line)]
    assert len(hits) > 2 and hits[-1] > hits[0]  # phones have learnt something
    assert "held out for test" in learnt and "difference Interval(" in against
