from __future__ import annotations

import pytest

from tests.support.api import running_api


@pytest.fixture(scope="module")
def module_api(tmp_path_factory, migrated_sqlite):
    with running_api(tmp_path_factory.mktemp("api"), migrated_sqlite) as api:
        yield api


@pytest.fixture
def api(module_api):
    """The module's running API; no job of an earlier test is alive."""
    yield module_api
    module_api.end_all()
