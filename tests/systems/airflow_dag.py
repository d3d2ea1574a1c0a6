"""Run in Airflow's environment: a DAG of DataRobot's provider against the server that the connection names.

Prints what the sensors' job ids were, as JSON, in its last line.
"""

import json
import sys
from datetime import UTC, datetime

from airflow.models.dag import DAG
from datarobot_provider.operators.deployment import ScorePredictionsOperator
from datarobot_provider.sensors.datarobot import ScoringCompleteSensor

settings = json.loads(sys.argv[1])

with DAG("_".join(settings), start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:  # noqa: AIR311 -- the provider takes Airflow 2
    for name, wanted in settings.items():
        score = ScorePredictionsOperator(
            task_id=f"score_{name}", deployment_id=wanted.pop("deployment_id"), score_settings=wanted
        )
        ScoringCompleteSensor(task_id=f"wait_{name}", job_id=score.output, poke_interval=1, timeout=60) << score


if __name__ == "__main__":
    run = dag.test(execution_date=datetime(2026, 11, 1, tzinfo=UTC))
    found = {
        one.task_id: {"state": one.state, "job": one.xcom_pull(task_ids=one.task_id)}
        for one in run.get_task_instances()
    }
    print(json.dumps({"state": run.state, "tasks": found}))  # noqa: T201 -- its answer
