"""The house keeps its floors, and its habits: what `make check` runs, run in the tests too."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ("lint-imports",),
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--check", "."),
        pytest.param(("mypy",), marks=pytest.mark.slow),
    ],
    ids=lambda command: " ".join(command),
)
def test_the_checks_are_clean(command: tuple[str, ...]):
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.parametrize("folder", ["models", "clients", "server", "simulation"])
def test_package_inits_import_nothing(folder: str):
    """On-device serving loads without torch only if no `__init__` pulls something in."""
    for init in (ROOT / folder).rglob("__init__.py"):
        code = init.read_text(encoding="utf-8")
        assert code.lstrip().startswith('"""'), f"{init} has no docstring"
        assert "import " not in code.split('"""')[2], f"{init} imports something"


def test_no_file_is_a_drawer_for_everything():
    names = {
        path.stem
        for folder in ("models", "clients", "server", "simulation")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_serving_on_a_phone_imports_no_torch():
    """In a fresh process: importing the serving code pulls in neither torch nor transformers."""
    code = (
        "import sys, clients.serving; "
        "print(sorted({'torch', 'transformers', 'onnx', 'flwr', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("floor", "strangers"),
    [
        ("models", ("flwr", "ray")),
        ("clients", ("server", "simulation")),
        ("server", ("simulation",)),
    ],
)
def test_a_floor_does_not_load_what_is_above_it(floor: str, strangers: tuple[str, ...]):
    """What import-linter proves on paper, seen in a running process."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / floor).rglob("*.py")
        if path.name != "__init__.py"
    ]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {modules!r}]; "
        f"print([name for name in {strangers!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
