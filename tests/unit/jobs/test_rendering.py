"""Times in the settings of a job: where they may stand, and what they are in its runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scoreline.access.outside import Outside
from scoreline.errors import InvalidRequest
from scoreline.jobs import checks, keyring, rendering, service
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.templates import Moments
from scoreline.redact import MASK
from scoreline.settings import Settings

NOW = datetime(2026, 11, 26, 7, 30, 5, 987654, tzinfo=UTC)
DAY = "{{ current_run_time.strftime('%Y-%m-%d') }}"
KINDS = {
    "s3": "s3://bucket/",
    "azure": "https://a.blob.core.windows.net/box/",
    "gcp": "gs://bucket/",
    "http": "http://h/",
}


def spec(side="outputSettings", **settings):
    return JobSpec.from_document({"deploymentId": "d", side: settings})


def refused(given, **more):
    with pytest.raises(InvalidRequest) as caught:
        checks.check_built(given, files_open=True, **more)
    return caught.value.field, caught.value.message


@pytest.mark.parametrize("side", ["intakeSettings", "outputSettings"])
@pytest.mark.parametrize("kind", KINDS)
def test_behind_host_and_bucket(side, kind):
    method = {"method": "PUT"} if (kind, side) == ("http", "outputSettings") else {}
    given = spec(side, type=kind, url=f"{KINDS[kind]}{DAY}/o-{{{{ current_run_timestamp }}}}.csv", **method)
    checks.check_built(given)
    done = rendering.rendered(given, Moments(NOW))
    assert rendering.values(given, Moments(NOW)) == {f"{side}.url": f"{KINDS[kind]}2026-11-26/o-1795678205987.csv"}
    assert getattr(done, side.removesuffix("Settings"))["url"] == f"{KINDS[kind]}2026-11-26/o-1795678205987.csv"
    assert rendering.rendered(given, None) is given


@pytest.mark.parametrize(
    ("kind", "url", "at"),
    [
        ("s3", DAY, 1),
        ("s3", f"s3://b{DAY}/key", 7),
        ("s3", f"{DAY}://bucket/key", 1),
        ("s3", f"s3://{DAY}/key", 6),
        ("azure", f"https://a.blob.core.windows.net/{DAY}/blob", 33),
        ("azure", f"https://{DAY}.blob.core.windows.net/box/blob", 9),
        ("azure", f"https://a.blob.core.windows.net/box{DAY}/b", 36),
        ("azure", f"abfss://box@a{DAY}.dfs.core.windows.net/b", 14),
        ("gcp", f"gs://buck{DAY}/b", 10),
        ("gcp", f"https://storage.googleapis.com/buck{DAY}/b", 36),
        ("http", f"http://{DAY}/", 8),
        ("http", f"http://host{DAY}/", 12),
        ("http", f"http://host:8{DAY}/", 14),
        ("http", f"http://host?{DAY}/", 13),
        ("http", f"http://host\\@{DAY}/", 14),
    ],
)
def test_not_in_host_or_bucket(kind, url, at):
    field, message = refused(spec("intakeSettings", type=kind, url=url))
    assert field == "intakeSettings.url"
    assert f"a template in the wrong place, at character {at}:" in message


def test_in_a_query_of_a_web_server():
    url = "https://host/a?since={{ last_completed_run_time }}"
    given = spec("intakeSettings", type="http", url=url)
    checks.check_built(given)
    assert rendering.rendered(given, Moments(NOW)).intake["url"] == "https://host/a?since=1900-01-01T00:00:00"


def test_what_is_rendered_is_judged():
    blank = "{{ current_run_time.isoformat(' ') }}"
    assert refused(spec("intakeSettings", type="http", url=f"https://host/{blank}"))[0] == "intakeSettings.url"
    folder = "out/{{ current_run_time.strftime('%Y/') }}"
    field, message = refused(spec(type="filesystem", path=folder))
    assert (field, "names a folder" in message) == ("outputSettings.partitionColumns", True)
    field, message = refused(spec(type="filesystem", path="a/{{ now }}.csv"))
    assert (field, "at character 6: 'now' is none" in message) == ("outputSettings.path", True)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (spec(type="s3", url="s3://b/k", credentialId="{{ current_run_timestamp }}"), "outputSettings.credentialId"),
        (spec(type="s3", url="s3://b/k", endpointUrl=f"https://h/{DAY}"), "outputSettings.endpointUrl"),
        (
            spec(type="s3", url="s3://b/k", serverSideEncryption={"kmsKeyId": "{{current_run_time}}"}),
            "outputSettings.serverSideEncryption.kmsKeyId",
        ),
        (spec(type="http", url="http://h/", method="PUT", headers={"X-Day": DAY}), "outputSettings.headers.X-Day"),
        (
            JobSpec.from_document({"deploymentId": "d", "predictionInstance": {"hostName": "h{{ current_run_time }}"}}),
            "predictionInstance.hostName",
        ),
    ],
)
def test_nowhere_else(given, field):
    where, message = refused(given)
    assert where == field
    assert "cannot have a time in it: only path, query, url of intakeSettings and " in message


def test_columns_may_be_called_anything():
    name = "{{ current_run_time }}"
    given = spec(type="filesystem", path="out/", partitionColumns=[name])
    checks.check_built(replace(given, passthrough_columns=(name,)), files_open=True)
    assert not rendering.has_templates(given)


def test_a_job_keeps_its_moments_and_what_it_was_given(world, tmp_path):
    outside = Outside.of(world.store, Settings(data_dir=tmp_path))
    moments = Moments(NOW, last_scheduled=datetime(2026, 11, 25, tzinfo=UTC))
    text = (
        "out/{{ last_scheduled_run_time.strftime('%d') }}-{{ current_run_time.day }}-{{ next_scheduled_run_time.year }}"
    )

    def make(path, moments=None):
        body = {"deploymentId": world.deployment_id, "outputSettings": {"type": "filesystem", "path": path}}
        given = JobSpec.from_document(body)
        return service.create(world.store, world.caller, given, files_open=True, moments=moments)

    job = make(text, moments)
    assert job.moments == moments
    assert job.spec.output["path"] == text
    assert rendering.values(job.spec, job.moments) == {"outputSettings.path": "out/25-26-1900"}
    assert keyring.ends_of(job, outside).output["path"] == "out/25-26-1900"
    assert service.repeated(world.store, world.caller, job.id, outside).output["path"] == text
    own = make("{{ current_run_timestamp }}")
    assert abs(own.moments.current - own.created_at).total_seconds() < 60
    plain = make("plain", moments)
    assert (plain.moments, rendering.values(plain.spec, plain.moments)) == (None, {})
    # One that was made before there were templates keeps its braces.
    world.set(job.id, moments=None)
    assert keyring.ends_of(world.get(job.id), outside).output["path"] == text


def test_what_a_url_hides_is_rendered_and_stays_hidden(world, tmp_path):
    outside = Outside.of(world.store, Settings(data_dir=tmp_path))
    url = "https://host/{{ current_run_time.day }}.csv?sig=abc123&at={{ current_run_timestamp }}"
    body = {"deploymentId": world.deployment_id, "intakeSettings": {"type": "http", "url": url}}
    job = service.create(world.store, world.caller, JobSpec.from_document(body), outside=outside, moments=Moments(NOW))
    assert job.spec.intake["url"] == f"https://host/{{{{ current_run_time.day }}}}.csv?{MASK}"
    assert rendering.values(job.spec, job.moments) == {"intakeSettings.url": f"https://host/26.csv?{MASK}"}
    assert keyring.ends_of(job, outside).intake["url"] == "https://host/26.csv?sig=abc123&at=1795678205987"
    assert service.repeated(world.store, world.caller, job.id, outside).intake["url"] == url
