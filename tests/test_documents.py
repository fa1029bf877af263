"""The documents say what is there: links resolve, named files exist, nothing is left open."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("benchmarks/*.md")]
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve_and_no_blank_is_left(document: Path):
    text = document.read_text(encoding="utf-8")
    assert "@@" not in text and "TODO" not in text
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_file_tree_of_the_readme_is_the_tree():
    """Every module of the four floors stands in the README's tree, and nothing else does."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.split("## The house")[1].split("```")[1]
    for floor in ("models", "clients", "server"):
        section = tree.split(f"{floor}/ ")[1]
        section = re.split(r"\n(?=\w)", section)[0]
        named = set(re.findall(r"([\w]+)\.py", section)) - {"pipeline"}
        found = {path.stem for path in (ROOT / floor).glob("*.py")} - {"__init__"}
        assert named == found, floor
    section = re.split(r"\n(?=\w)", tree.split("simulation/ ")[1])[0]
    folders = {path.parent.name for path in (ROOT / "simulation").glob("*/__init__.py")}
    assert folders == set(re.findall(r"^  (\w+)/", section, re.MULTILINE))


def test_the_readme_begins_with_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = text.split("```bash")[1].split("```")[0]
    assert re.findall(r"^make [\w-]+", first, re.MULTILINE) == ["make run", "make test"]
