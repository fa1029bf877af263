"""What lies in run folders: a line for each run, the difference of two, a table of many.

    runs/                 a folder of runs, or of folders of runs
      quickstart/run.json         compare: report/report.json      arm/protocol/metric, cold too
      study-text/run.json         study:   summary.parquet         variant/slice/protocol/metric
      simulate/run.json           simulate: arms/NAME/history.jsonl, its last evaluated round
      tradeoff/run.json           tradeoff: tradeoff/NAME.json     arm/full/metric

A folder that cannot be read is a line that says why; it stops nobody. Settings are read as they
stand, so runs of an older version can be listed and compared too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import DataError, PocketfleetError
from models.files import write_whole
from simulation.run_folder import RunFolder, RunRecord

DEEPEST = 3
"""Folders below the one that is asked for in which runs are looked for."""

LARGEST_JSON_BYTES = 200_000_000
PREFERRED = ("federated", "teacher", "static")
"""Arms whose metric is the headline, the first one that is there."""

MAIN = "ndcg@10"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a run.

    Attributes:
        name: "arm/protocol/metric" or the like.
        value: the mean.
        low: of its interval; None without.
        high: likewise.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run folder.

    Attributes:
        path: of the folder.
        record: what `run.json` says; None if it cannot be read.
        figures: its numbers; none while it runs.
        trouble: what cannot be read, in one line; "" if all can.
    """

    path: Path
    record: RunRecord | None
    figures: tuple[Figure, ...]
    trouble: str

    @property
    def headline(self) -> Figure | None:
        """The main metric of the arm that a reader looks for first, if it was measured."""
        main = [figure for figure in self.figures if figure.name.endswith(f"full/{MAIN}")]
        for arm in PREFERRED:
            for figure in main:
                if figure.name.startswith(f"{arm}/"):
                    return figure
        return main[0] if main else None


def runs_in(folder: Path) -> list[RunLine]:
    """All runs in a folder, by path.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: name one that holds run folders")
    return [read_run(path) for path in _run_folders(folder, DEEPEST)]


def _run_folders(folder: Path, depth: int) -> list[Path]:
    if (folder / "run.json").exists():
        return [folder]
    if depth == 0:
        return []
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return [found for path in below for found in _run_folders(path, depth - 1)]


def read_run(path: Path) -> RunLine:
    """Read a run folder, as far as it can be read."""
    try:
        record = RunFolder(path.resolve()).record()
    except PocketfleetError as error:
        return RunLine(path, None, (), str(error))
    try:
        return RunLine(path, record, tuple(_figures(path, record)), "")
    except DataError as error:
        return RunLine(path, record, (), str(error))


def whole_run(path: Path) -> RunLine:
    """Read a run folder that must be readable.

    Raises:
        DataError: if it is not.
    """
    found = read_run(path)
    if found.trouble:
        raise DataError(found.trouble)
    return found


def settings_of(path: Path) -> dict[str, Any]:
    """The settings of a run, flat: "federation.rounds" -> 80.

    Raises:
        DataError: if they cannot be read.
    """
    return dict(_flat(_json(path / "settings.json")))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@dataclass(frozen=True, slots=True)
class Difference:
    """What two runs differ in.

    Attributes:
        settings: (key, value of a, value of b); "–" where one has no such key.
        figures: (name, value of a, value of b); None where one does not have it.
    """

    settings: tuple[tuple[str, str, str], ...]
    figures: tuple[tuple[str, float | None, float | None], ...]


def difference(a: Path, b: Path) -> Difference:
    """Hold two runs against each other.

    Raises:
        DataError: if one of them cannot be read.
    """
    one, other = (_told(whole_run(path)) for path in (a, b))
    keys = sorted({*one, *other})
    settings = tuple(
        (key, one.get(key, "–"), other.get(key, "–"))
        for key in keys
        if one.get(key) != other.get(key)
    )
    values_a, values_b = (
        {figure.name: figure.value for figure in read_run(path).figures} for path in (a, b)
    )
    names = list(dict.fromkeys([*values_a, *values_b]))
    figures = tuple((name, values_a.get(name), values_b.get(name)) for name in names)
    return Difference(settings, figures)


def _told(line: RunLine) -> dict[str, str]:
    """Settings and provenance of a run as text."""
    assert line.record is not None
    told = {key: json.dumps(value) for key, value in settings_of(line.path).items()}
    for name in ("verb", "commit", "data_sha256", "bundle_sha256"):
        told[f"run: {name}"] = str(getattr(line.record, name))[:64]
    return told


def table_of(lines: Sequence[RunLine]) -> pd.DataFrame:
    """A tidy table: a row per run and figure, with the settings in which the runs differ.

    Runs that cannot be read are left out.
    """
    readable = [line for line in lines if line.record is not None and not line.trouble]
    settings = {line.path: settings_of(line.path) for line in readable}
    keys = sorted({key for own in settings.values() for key in own})
    apart = [
        key for key in keys if len({json.dumps(own.get(key)) for own in settings.values()}) > 1
    ]
    rows = []
    for line in readable:
        own = settings[line.path]
        named = _named(line, own) | {f"settings.{key}": _plain(own.get(key)) for key in apart}
        figures = line.figures or (Figure("", float("nan")),)
        rows += [
            named | {"metric": f.name, "value": f.value, "low": f.low, "high": f.high}
            for f in figures
        ]
    return pd.DataFrame(rows)


def _named(line: RunLine, settings: Mapping[str, Any]) -> dict[str, Any]:
    record = line.record
    assert record is not None
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return {
        "run": str(line.path),
        "verb": record.verb,
        "seed": record.seed,
        "status": record.status,
        "created": record.created.isoformat(),
        "commit": record.commit,
        "settings_sha256": digest,
        "data_sha256": record.data_sha256,
        "bundle_sha256": record.bundle_sha256,
    }


def _plain(value: Any) -> str | None:
    """A column of settings is text: runs may have numbers and words in one place."""
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def write_table(lines: Sequence[RunLine], path: Path) -> Path:
    """Write `table_of` as Parquet or CSV, by the ending of the path.

    Raises:
        DataError: if the ending is another one, or no run can be read.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise DataError(f"cannot write {path}: name a file that ends in .parquet or .csv")
    table = table_of(lines)
    if table.empty:
        raise DataError("there is no run that can be read: name a folder that holds run folders")
    with write_whole(path) as file:
        if path.suffix == ".csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file, index=False)
    return path


def _figures(path: Path, record: RunRecord) -> list[Figure]:
    """The numbers of a run, by what its verb writes; of a run that is not complete there are none.

    Raises:
        DataError: if a file of them is damaged, or a complete run has none where it must.
    """
    if record.status != "complete":
        return []
    if record.verb in ("quickstart", "compare"):
        return _of_report(path / "report" / "report.json")
    if record.verb == "study":
        return _of_study(path / "summary.parquet")
    if record.verb == "tradeoff":
        return [f for file in sorted((path / "tradeoff").glob("*.json")) for f in _of_row(file)]
    return [f for file in sorted(path.glob("arms/*/history.jsonl")) for f in _of_history(file)]


def _of_report(path: Path) -> list[Figure]:
    content = _json(path)
    try:
        of_cold_items = content["cold"]["arms"] if content.get("cold") else []
        return [
            _figure(f"{arm['key']}/{protocol}/{metric}", found)
            for arm in (*content["arms"], *of_cold_items)
            for protocol, metrics in arm["metrics"].items()
            for metric, found in metrics.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path) from error


def _of_row(path: Path) -> list[Figure]:
    content = _json(path)
    try:
        pairs = content["quality"].items()
        return [_figure(f"{content['name']}/full/{metric}", found) for metric, found in pairs]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path) from error


def _figure(name: str, found: Mapping[str, Any]) -> Figure:
    return Figure(name, float(found["mean"]), float(found["low"]), float(found["high"]))


def _of_study(path: Path) -> list[Figure]:
    try:
        table = pd.read_parquet(path)
        names = table[["variant", "slice", "protocol", "metric"]].agg("/".join, axis=1)
        numbers = table[["value", "low", "high"]].to_numpy(float)
        return [Figure(name, *map(float, row)) for name, row in zip(names, numbers, strict=True)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error


def _of_history(path: Path) -> list[Figure]:
    """Metrics of the last evaluated round of an arm."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        evaluated = [row for row in rows if row["metrics"]]
        if not evaluated:
            return []
        return [
            Figure(f"{path.parent.name}/{protocol}/{metric}", float(value))
            for protocol, metrics in evaluated[-1]["metrics"].items()
            for metric, value in metrics.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> DataError:
    what = "damaged" if path.is_file() else "missing"
    return DataError(f"{path} is {what}: run it again, or delete the run folder")
