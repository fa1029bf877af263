"""The ServerApp: read the job, play the plan, run the rounds."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.cohorts import CohortPlan
from server.settings import ServerJob
from server.strategy import federate

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation named by `run-folder` in the run config."""
    job = ServerJob.read(Path(str(context.run_config["run-folder"])))
    federate(grid, job, CohortPlan.read(job.plan))
