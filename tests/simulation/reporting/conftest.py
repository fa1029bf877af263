import pytest

from simulation.reporting.model import ReportData
from tests.simulation.reporting.synthetic import bare_report, synthetic_report


@pytest.fixture
def report() -> ReportData:
    return synthetic_report()


@pytest.fixture
def bare() -> ReportData:
    return bare_report()
