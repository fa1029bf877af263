"""Results for other tools to look at: TensorBoard's event files, or an MLflow store.

    tensorboard/VARIANT/   a line per metric, over seeds, in the folder of the study
    mlflow                 where MLFLOW_TRACKING_URI says, else mlruns/ in the folder of the study

Nothing is logged that is not in the folder already; with each run go its settings, the hashes of
data and encoder bundle, and the commit.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import EngineError, SettingsError
from simulation.experiments.studies.study_cells import CellHeader
from simulation.experiments.studies.study_summary import StudySummary, VariantSummary

LOGGERS = ("tensorboard", "mlflow")
EXPERIMENT = "pocketfleet"


def check_loggers(names: Sequence[str]) -> None:
    """Refuse what cannot be logged to, before anything starts.

    Raises:
        SettingsError: if there is no such logger.
        EngineError: if its package is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise SettingsError(f"--log {name}: choose {' or '.join(LOGGERS)}")
        _writer() if name == "tensorboard" else _mlflow()


def log_study(names: Sequence[str], folder: Path, summary: StudySummary) -> None:
    """Log a study: a run for each variant, a step for each seed.

    Args:
        names: of `LOGGERS`.
        folder: of the study.
        summary: what it found.
    """
    if "tensorboard" in names:
        _to_tensorboard(folder, summary)
    if "mlflow" in names:
        _to_mlflow(folder, summary)


def values_by_seed(row: VariantSummary) -> list[tuple[str, tuple[float, ...]]]:
    """Name of a metric, and its mean over users under each seed."""
    return [
        (f"{part}/{protocol}/{metric}".replace("@", "_at_"), estimate.found.by_seed)
        for (part, protocol, metric), estimate in row.estimates.items()
    ]


def provenance(summary: StudySummary, row: VariantSummary) -> dict[str, str]:
    """What a row was made from."""
    cells = [cell for cell in summary.cells if cell.variant == row.variant.name]

    def told(field: str) -> str:
        return " ".join(dict.fromkeys(str(getattr(cell, field)) for cell in cells))

    fields = [name for name in CellHeader.model_fields if name.endswith("sha256")]
    return {name: told(name) for name in (*fields, "commit", "study", "variant")}


def _to_tensorboard(folder: Path, summary: StudySummary) -> None:
    for number, row in enumerate(summary.rows):
        own = f"{number:03d}-{row.variant.arm}"
        writer: Any = _writer()(str(folder / "tensorboard" / own))
        try:
            writer.add_text("provenance", str(provenance(summary, row)))
            writer.add_text("settings", " ".join(row.variant.overrides) or "none changed")
            for name, values in values_by_seed(row):
                for seed, value in zip(summary.plan.seeds, values, strict=True):
                    writer.add_scalar(name, value, seed)
        finally:
            writer.close()


def _to_mlflow(folder: Path, summary: StudySummary) -> None:
    mlflow = _mlflow()
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        # A database needs more than mlflow-skinny, and a folder must be asked for by name.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri((folder / "mlruns").resolve().as_uri())
    mlflow.set_experiment(EXPERIMENT)
    for row in summary.rows:
        with mlflow.start_run(run_name=row.variant.name):
            mlflow.set_tags(provenance(summary, row))
            mlflow.log_params(dict(word.split("=", 1) for word in row.variant.overrides))
            for name, values in values_by_seed(row):
                for seed, value in zip(summary.plan.seeds, values, strict=True):
                    mlflow.log_metric(name, value, step=seed)


def _writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise EngineError(
            "--log tensorboard needs the package tensorboard: pip install "
            "'pocketfleet[tensorboard]'"
        ) from error
    return SummaryWriter


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise EngineError(
            "--log mlflow needs the package mlflow-skinny: pip install 'pocketfleet[mlflow]'"
        ) from error
    return mlflow
