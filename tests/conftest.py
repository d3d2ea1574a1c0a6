"""Fixtures for all tests; they are written and described in `tests.support`."""

import gc
import os
import signal

from hypothesis import HealthCheck, settings

from tests.support.fixtures import (
    migrated_postgres,
    migrated_sqlite,
    postgres,
    sqlite_store,
    store,
    store_url,
)

__all__ = ["migrated_postgres", "migrated_sqlite", "postgres", "sqlite_store", "store", "store_url"]

# The machine is shared, among the tests at least: how long an example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# A shell lets SIGINT be ignored in the background, `nohup` SIGHUP, and programs that the tests start inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_xdist_auto_num_workers() -> int:
    """One more process than there are cores: many tests wait for what another process does."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass by what thousands of tests and their modules hold for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
