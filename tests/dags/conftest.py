"""Airflow's own reading of our DAGs, in a home of its own."""

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.airflow_home import DAGS


@pytest.fixture(scope="session")
def dagbag() -> DagBag:
    """Everything that Airflow finds in dags/, as its dag-processor does."""
    return DagBag(dag_folder=str(DAGS))
