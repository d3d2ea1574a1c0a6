"""The registry: every type of the API by its name, built or refused in words."""

from __future__ import annotations

import pytest

from scoreline import adapters
from scoreline.errors import InvalidRequest
from scoreline.spool import Spool, open_spool
from tests.contract.matrix import INTAKES, OUTPUTS, ticket

INTAKE = (
    "localFile s3 azure gcp http jdbc snowflake synapse bigquery dataset dss dataStage datasphere databricks trino "
    "recipe filesystem"
)
OUTPUT = "localFile s3 azure gcp http jdbc snowflake synapse bigquery datasphere databricks trino tableau filesystem"


@pytest.fixture
def spool(tmp_path) -> Spool:
    return open_spool(tmp_path)


def test_all_types_of_the_api() -> None:
    assert {name for name, entry in adapters.REGISTRY.items() if entry.read} == set(INTAKE.split())
    assert {name for name, entry in adapters.REGISTRY.items() if entry.write} == set(OUTPUT.split())


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("localFile", "localFile"),
        ("local_file", "localFile"),
        ("LOCALFILE", "localFile"),
        ("bigQuery", "bigquery"),
        ("fileSystem", "filesystem"),
        ("S3", "s3"),
        (" dss ", "dss"),
        ("datastage", "dataStage"),
    ],
)
def test_spellings(spelt: str, name: str) -> None:
    assert adapters.canonical(spelt) == name


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(InvalidRequest, match="did you mean snowflake") as caught:
        adapters.canonical("snowflaek")
    assert caught.value.field == "type"
    with pytest.raises(InvalidRequest, match="one of localFile, s3"):
        adapters.canonical("qqqq")


def test_what_is_built() -> None:
    built = ["localFile", "s3", "azure", "gcp", "http", "filesystem"]
    assert adapters.names("output") == built
    assert set(adapters.names("intake")) == {*built, "dataset"}
    assert adapters.not_built("local_file", "intake") is None
    assert "trino is not built yet" in str(adapters.not_built("Trino", "output"))
    assert "dataset is no output, only an intake" in str(adapters.not_built("dataset", "output"))
    assert "tableau is no intake, only an output" in str(adapters.not_built("tableau", "intake"))
    assert adapters.not_built("fileSystem", "intake") is None


def test_opening_what_is_not_built_is_refused(spool: Spool) -> None:
    run = ticket({"type": "trino"}, {"type": "dataset"}, spool)
    with pytest.raises(InvalidRequest, match="trino is not built"):
        adapters.open_intake(run, spool)
    with pytest.raises(InvalidRequest, match="dataset is no output"):
        adapters.open_output(run, spool)


def test_each_built_adapter_has_its_row_in_the_contract_tests() -> None:
    for side, rows in (("intake", INTAKES), ("output", OUTPUTS)):
        assert set(adapters.names(side)) == {row.name.split()[0] for row in rows}
