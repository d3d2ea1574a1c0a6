"""`scoreline definitions` against a running API."""

from __future__ import annotations

import json

import yaml

from tests.api.test_definitions import NIGHTLY, OUT, PATH, S3, create, credential


def test_list_and_show(api, client, cli):
    first = create(api, client, name="nightly", schedule=NIGHTLY, enabled=True, disableAfterFailures=3)
    create(api, client, name="by hand")
    out, _ = cli("definitions", "list")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["ID", "NAME", "ENABLED"]
    assert [line.split()[1:3] for line in lines[1:]] == [["by", "hand"], ["nightly", "yes"]]
    assert [each["name"] for each in json.loads(cli("definitions", "list", "--search", "NIGHT", "--json")[0])] == [
        "nightly"
    ]
    assert len(json.loads(cli("definitions", "list", "--deployment", "flights", "--json")[0])) == 2
    for which in ("nightly", first["id"]):
        out, _ = cli("definitions", "show", which)
        facts = dict(line.split(":", 1) for line in out.splitlines())
        assert facts["schedule"].strip() == "minute 0; hour 2 (UTC)"
        assert facts["disabled after"].strip() == "3 failed runs in a row"
        assert facts["from"].strip() == "s3 s3://bucket/in.csv"
        assert facts["next runs"].count("02:00:00") == 5
        assert json.loads(cli("definitions", "show", which, "--json")[0]) == first
    _, err = cli("definitions", "show", "yearly", code=1)
    assert err == "Error: There is no job definition 'yearly': see `scoreline definitions list`.\n"


def test_run_enable_and_disable(api, client, cli):
    made = create(api, client, name="nightly", schedule=NIGHTLY)
    _, err = cli("definitions", "enable", "nightly")
    assert err.startswith("Job definition 'nightly' is enabled; its next run is due at 20")
    assert client.get(f"{PATH}/{made['id']}/").json()["enabled"]
    _, err = cli("definitions", "disable", made["id"])
    assert err == "Job definition 'nightly' is disabled.\n"
    out, _ = cli("definitions", "run", "nightly")
    assert api.status(out.strip())["batchPredictionJobDefinition"]["id"] == made["id"]
    api.job()
    listed = json.loads(cli("jobs", "list", "--definition", "nightly", "--json")[0])
    assert [each["id"] for each in listed] == [out.strip()]
    assert "definition: nightly" in cli("jobs", "show", out.strip())[0]
    for words, wrong in ((("--input", "x"), "leave --input out"), (("-o", "x"), "leave --output out")):
        assert wrong in cli("definitions", "run", "nightly", *words, code=1)[1]
    create(api, client, name="upload", intakeSettings=..., outputSettings=...)
    out, err = cli("definitions", "run", "upload")
    assert f"{out.strip()}/csvUpload/" in err
    assert "give it with --input FILE" in cli("definitions", "run", "upload", "--wait", code=1)[1]
    _, err = cli("definitions", "enable", "upload", code=1)
    assert "schedule is required" in err


def test_export(api, client, cli):
    key = credential(client, "night keys")
    url = "https://files.example.com/in.csv?sig=secretsecret"
    create(api, client, name="nightly", schedule=NIGHTLY, intakeSettings=S3 | {"credentialId": key})
    create(api, client, name="web", intakeSettings={"type": "http", "url": url})
    out, _ = cli("definitions", "export")
    assert out.startswith("# Keys are not exported: give those that are [redacted] here.\ndefinitions:\n- name: web\n")
    assert "secretsecret" not in out
    found = yaml.safe_load(out)["definitions"]
    assert [each["name"] for each in found] == ["web", "nightly"]
    assert found[1]["intakeSettings"] == S3 | {"credential": "night keys"}
    assert (found[1]["deployment"], found[1]["outputSettings"]) == ("flights", OUT)
    out, _ = cli("definitions", "export", "nightly")
    assert yaml.safe_load(out)["definitions"] == found[1:]
