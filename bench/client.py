"""One or more jobs through the official client; prints the seconds of each, from the call to the finished file."""

from __future__ import annotations

import json
import sys
import time
import warnings

import datarobot as dr


def main(arguments: list[str]) -> None:
    """Take url, token, deployment, source, target and how many times; print the seconds as JSON."""
    url, token, deployment, source, target, repeat = arguments
    warnings.simplefilter("ignore")
    dr.Client(endpoint=f"{url}/api/v2", token=token)
    runs = []
    for _ in range(int(repeat)):
        begun, busy = time.perf_counter(), time.process_time()
        dr.BatchPredictionJob.score(
            deployment,
            intake_settings={"type": "localFile", "file": source},
            output_settings={"type": "localFile", "path": target},
            passthrough_columns=["id"],
            column_names_remapping={"THRESHOLD": None, "POSITIVE_CLASS": None},
        )
        runs.append({"wall": time.perf_counter() - begun, "cpu": time.process_time() - busy})
    print(json.dumps(runs))


if __name__ == "__main__":
    main(sys.argv[1:])
