"""`scoreline apply`: files against a running API."""

from __future__ import annotations

import io
import json

import pytest
import yaml

from tests.api.test_definitions import NIGHTLY, OUT, PATH, S3, create, credential

FILE = """
definitions:
  - name: nightly
    deployment: flights
    schedule: {minute: [0], hour: [2], dayOfMonth: ["*"], month: ["*"], dayOfWeek: [mon]}
    enabled: true
    disableAfterFailures: 3
    intakeSettings: {type: s3, url: s3://bucket/in.csv}
    outputSettings: {type: s3, url: "s3://bucket/{{ current_run_timestamp }}.csv"}
"""


@pytest.fixture
def apply(cli, monkeypatch):
    """Apply a text, or what dumps to one; return what is printed and said."""

    def go(document, *words: str, code: int = 0):
        text = document if isinstance(document, str) else yaml.safe_dump(document)
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return cli("apply", "-f", "-", *words, code=code)

    return go


def get(client, name):
    return next(each for each in client.get(f"{PATH}/").json()["data"] if each["name"] == name)


def test_it_creates_shows_and_comes_to_rest(api, client, apply):
    create(api, client, name="another")
    out, err = apply(FILE, "--dry-run")
    assert out.startswith("+ definition 'nightly'\n    enabled: True\n")
    assert "    deploymentId: 'flights'\n" in out
    assert "1 would be created, 0 would be changed, 0 as wanted already." in err
    assert client.get(f"{PATH}/").json()["totalCount"] == 1, "a dry run changes nothing"
    out, err = apply(FILE)
    assert out.startswith("+ definition 'nightly'")
    assert "Left alone, because no file names them: definitions 'another'." in err
    made = get(client, "nightly")
    assert (made["enabled"], made["disableAfterFailures"]) == (True, 3)
    assert made["batchPredictionJob"]["deploymentId"] == api.deployment_id
    assert made["batchPredictionJob"]["outputSettings"]["url"] == "s3://bucket/{{ current_run_timestamp }}.csv"
    for words in ((), ("--dry-run",)):
        out, err = apply(FILE, *words)
        assert out == "= definition 'nightly'\n"
        assert "0 changed, 1 as wanted already." in err.replace("would be", "is").replace("is ", "")
    assert get(client, "nightly") == made, "it is not even written again"


def test_what_differs_is_shown_and_changed_alone(api, client, apply):
    apply(FILE)
    before = get(client, "nightly")
    changed = FILE.replace("hour: [2]", "hour: [3]").replace("bucket/in", "other/in") + "    passthroughColumns: [id]\n"
    out, err = apply(changed)
    assert out.splitlines() == [
        "~ definition 'nightly'",
        "    schedule.hour: [2] -> [3]",
        "    intakeSettings.url: 's3://bucket/in.csv' -> 's3://other/in.csv'",
        "    passthroughColumns: none -> ['id']",
    ]
    assert err.startswith("0 is created, 1 is changed, 0 as wanted already.")
    after = get(client, "nightly")
    assert {name for name in before if before[name] != after[name]} == {
        "schedule", "batchPredictionJob", "updated", "nextScheduledRunTime", "nextRunTimes",
    }  # fmt: skip
    out, _ = apply(FILE)
    assert "    passthroughColumns: ['id'] -> none" in out, "what the file does not say goes back to its default"
    assert get(client, "nightly")["batchPredictionJob"] == before["batchPredictionJob"]


def test_the_same_in_other_words_is_the_same(api, client, apply):
    apply(FILE)
    other = FILE.replace("dayOfWeek: [mon]", 'dayOfWeek: ["1"]').replace("[2]", '["02"]') + "    chunkSize: auto\n"
    other += "    columnNamesRemapping: [{inputName: THRESHOLD}, {inputName: a, outputName: b}]\n"
    apply(FILE + "    columnNamesRemapping: {THRESHOLD: null, a: b}\n")
    out, _ = apply(other.replace("deployment: flights", f"deploymentId: {api.deployment_id}"))
    assert out == "= definition 'nightly'\n"


def test_who_pauses_a_definition_by_hand_is_respected_where_the_file_says_nothing(api, client, apply):
    silent = FILE.replace("    enabled: true\n", "")
    apply(silent)
    assert not get(client, "nightly")["enabled"]
    client.patch(f"{PATH}/{get(client, 'nightly')['id']}", json={"enabled": True})
    assert apply(silent)[0] == "= definition 'nightly'\n"
    client.patch(f"{PATH}/{get(client, 'nightly')['id']}", json={"enabled": False})
    assert apply(FILE)[0] == "~ definition 'nightly'\n    enabled: False -> True\n"


def test_what_is_exported_is_as_wanted(api, client, cli, apply):
    key = credential(client, "night keys")
    url = "https://files.example.com/in.csv?sig=secretsecret"
    create(api, client, name="web", intakeSettings={"type": "http", "url": url}, schedule=NIGHTLY, numConcurrent=2)
    create(api, client, name="keys", intakeSettings=S3 | {"credentialId": key}, outputSettings=OUT)
    out, _ = cli("definitions", "export")
    shown, err = apply(out)
    assert shown.splitlines() == ["= definition 'keys'", "= definition 'web' (left alone: its keys)"]
    assert "2 as wanted already" in err


def test_credentials_by_name_made_on_the_way(api, client, apply, monkeypatch):
    document = {
        "credentials": [
            {
                "name": "night keys",
                "credentialType": "s3",
                "description": "for the night",
                "awsAccessKeyId": {"fromEnv": "NIGHT_ID"},
                "awsSecretAccessKey": {"fromEnv": "NIGHT_SECRET"},
            }
        ],
        "definitions": [
            {
                "name": "nightly",
                "deployment": "flights",
                "intakeSettings": S3 | {"credential": "night keys"},
                "outputSettings": OUT,
            }
        ],
    }
    assert "There is no variable 'NIGHT_ID'" in apply(document, code=1)[1]
    monkeypatch.setenv("NIGHT_ID", "AKID")
    monkeypatch.setenv("NIGHT_SECRET", "hushhush")
    out, _ = apply(document)
    assert "hushhush" not in out
    assert "    awsSecretAccessKey: '[redacted]'" in out
    stored = client.get("credentials/").json()["data"][0]
    assert (stored["name"], stored["description"]) == ("night keys", "for the night")
    used = get(client, "nightly")["batchPredictionJob"]["intakeSettings"]["credentialId"]
    assert used == stored["credentialId"]
    document["credentials"][0]["description"] = "for every night"
    out, _ = apply(document)
    assert out.splitlines() == [
        "~ credential 'night keys' (left alone: its keys)",
        "    description: 'for the night' -> 'for every night'",
        "= definition 'nightly'",
    ]
    document["credentials"][0]["awsSecretAccessKey"] = "hushhush"
    _, err = apply(document, code=1)
    assert "name a variable" in err
    assert "hushhush" not in err
    document["credentials"] = [{"name": "none", "credentialType": "s3"}]
    assert "scoreline credentials add 'none' --type s3" in apply(document, code=1)[1]
    document["credentials"] = [{"name": "night keys", "credentialType": "basic"}]
    assert "is of type s3, not basic" in apply(document, code=1)[1]


def test_keys_in_settings_come_from_the_environment_and_are_sent_when_asked(api, client, apply, monkeypatch):
    document = {
        "definitions": [
            {
                "name": "web",
                "deployment": "flights",
                "intakeSettings": {"type": "http", "url": {"fromEnv": "SIGNED"}},
                "outputSettings": OUT,
            }
        ]
    }
    monkeypatch.setenv("SIGNED", "https://files.example.com/in.csv?sig=first-secret")
    out, _ = apply(document)
    assert "first-secret" not in out
    monkeypatch.setenv("SIGNED", "https://files.example.com/in.csv?sig=second-secret")
    assert apply(document)[0] == "= definition 'web' (left alone: its keys)\n"
    before = get(client, "web")
    out, _ = apply(document, "--send-keys")
    assert out == "~ definition 'web'\n    intakeSettings: '[redacted]' -> '[redacted] (sent again)'\n"
    assert get(client, "web")["updated"] > before["updated"]
    monkeypatch.setenv("SIGNED", "https://files.example.com/other.csv?sig=second-secret")
    out, _ = apply(document)
    assert out == "~ definition 'web' (left alone: its keys)\n    intakeSettings.url: '[redacted]' -> '[redacted]'\n"
    assert get(client, "web")["batchPredictionJob"]["intakeSettings"]["url"].startswith(
        "https://files.example.com/other"
    )


def test_what_comes_from_the_environment_is_not_shown(api, client, apply, monkeypatch):
    hook = {"url": {"fromEnv": "HOOK"}, "secret": {"fromEnv": "SIGNS"}}
    document = {"definitions": [{"name": "told", "deployment": "flights", "webhooks": [hook]}]}
    monkeypatch.setenv("HOOK", "http://192.0.2.7/services/hidden-path")
    monkeypatch.setenv("SIGNS", "whsec_" + 43 * "A" + "=")
    out, _ = apply(document, "--dry-run")
    assert "    webhooks: [{'secret': '[redacted]', 'url': '[redacted]'}]\n" in out
    document["definitions"][0]["intakeSettings"] = {"type": "http", "url": {"fromEnv": "HOOK"}}
    out, _ = apply(document, "--dry-run")
    assert "hidden-path" not in out
    create(api, client, name="told", intakeSettings={"type": "http", "url": "https://files.example.com/hidden-path"})
    out, _ = apply(document, "--dry-run", "--json")
    assert "hidden-path" not in out
    assert "services" not in out


def test_settings_of_deployments(api, client, apply):
    deployment = api.deploy("tuned")[1]
    document = {
        "deployments": [
            {
                "label": "tuned",
                "importance": "HIGH",
                "settings": {"associationId": {"columnNames": ["id"]}, "targetDrift": {"enabled": True}},
            }
        ]
    }
    out, _ = apply(document)
    assert out.splitlines()[0] == "~ deployment 'tuned' (left alone: settings that the file does not name)"
    assert set(out.splitlines()[1:]) == {
        "    importance: none -> 'HIGH'",
        "    settings.associationId.columnNames: [] -> ['id']",
        "    settings.targetDrift.enabled: False -> True",
    }
    settings = client.get(f"deployments/{deployment}/settings/").json()
    assert settings["associationId"] == {"columnNames": ["id"], "requiredInPredictionRequests": False}
    assert settings["targetDrift"] == {"enabled": True}
    assert client.get(f"deployments/{deployment}/").json()["importance"] == "HIGH"
    assert "1 as wanted already" in apply(document)[1]
    document["deployments"][0] |= {"status": "inactive", "description": "rests"}
    out, _ = apply(document)
    assert set(out.splitlines()[1:]) == {"    description: none -> 'rests'", "    status: 'active' -> 'inactive'"}
    assert client.get(f"deployments/{deployment}/").json()["status"] == "inactive"
    assert "1 as wanted already" in apply(document)[1]


def test_settings_of_deployments_that_are_null_are_left_alone(api, client, apply):
    api.deploy("nulls")
    settings = {
        "associationId": None,
        "targetDrift": {"enabled": None},
        "predictionWarning": {"customBoundaries": None},
    }
    out, _ = apply({"deployments": [{"label": "nulls", "settings": settings}]})
    assert out == "= deployment 'nulls' (left alone: settings that the file does not name)\n"


def test_nothing_is_changed_before_all_is_read(client, apply, monkeypatch):
    monkeypatch.setenv("THERE", "hushhush")
    first, second = ({"name": name, "credentialType": "basic", "user": "ann"} for name in ("first", "second"))
    first["password"], second["password"] = {"fromEnv": "THERE"}, {"fromEnv": "NOT_THERE"}
    _, err = apply({"credentials": [first, second]}, code=1)
    assert "Credential 'second': There is no variable 'NOT_THERE'" in err
    assert client.get("credentials/").json()["totalCount"] == 0


def test_parts_of_files_are_repeated_by_their_names(client, apply):
    text = """
definitions:
  - &night {name: first, deployment: flights, timeZone: Europe/Berlin}
  - &other {<<: *night, name: second}
  - {<<: *other, name: third, timeZone: UTC}
"""
    apply(text)
    assert [get(client, name)["timeZone"] for name in ("first", "second", "third")] == 2 * ["Europe/Berlin"] + ["UTC"]
    assert "3 as wanted already" in apply(text)[1]


def test_what_looks_like_a_date_is_a_text(api, client, apply):
    deployment = api.deploy("dated")[1]
    apply("deployments: [{label: dated, description: 2026-01-01}]")
    assert client.get(f"deployments/{deployment}/").json()["description"] == "2026-01-01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("definitions: 3", "definitions must be a list"),
        ("jobs: []", "there is no section 'jobs'"),
        ("definitions: [{deployment: flights}]", "has no name"),
        ("definitions: [{name: a, deployment: flights}, {name: a}]", "has 'a' twice"),
        ("definitions: [{name: a, name: b}]", "'name' is there twice"),
        ("definitions: [{", "is not YAML"),
        ("", "Nothing is declared"),
        ("definitions: [{name: a, deployment: nowhere}]", "Job definition 'a': There is no deployment 'nowhere'"),
        ("definitions: [{name: a, deployment: flights, chunksize: 3}]", "did you mean 'chunkSize'?"),
        ("definitions: [{name: a, deployment: flights, enabled: true}]", "schedule is required"),
        ("definitions: [{name: a, deployment: flights, deploymentId: x}]", "give one"),
        ("definitions: [{name: a, intakeSettings: {type: s3, credential: none}}]", "no credential 'none' of yours"),
        ("deployments: [{label: flights, model: x}]", "has 'model'; there are"),
        ("deployments: [{label: flights, settings: [1]}]", "settings must be an object, with some of associationId"),
        ("deployments: [{label: flights, settings: {drift: {}}}]", "settings has 'drift'; there are associationId"),
        (
            "deployments: [{label: flights, settings: {associationId: {columns: [id]}}}]",
            "Deployment 'flights': settings.associationId has 'columns'; there are columnNames",
        ),
        ("credentials: [{name: k, credentialType: basic, usr: a}]", "has 'usr'; one of type basic has user"),
        ("credentials: [{name: k, credentialType: basic, user: a}]", "Credential 'k': password is required"),
        ("definitions: [&a {name: a, deployment: flights, intakeSettings: *a}]", "is nested too deeply"),
        (f"definitions: {3000 * '['}{3000 * ']'}", "is nested too deeply"),
        ("definitions: [{name: a, numConcurrent: .nan}]", "nan is neither text nor number"),
        ("definitions: [{name: a, numConcurrent: !!binary aGk=}]", "is neither text nor number"),
        ("definitions: [{name: a, csvSettings: {1: 2}}]", "the key 1 is no text"),
        ("definitions: [{name: a, <<: [{name: b}], name: c}]", "'name' is there twice"),
        (
            "definitions: [{name: a, x: ["
            f"&a0 [{30 * '1,'}]" + "".join(f", &a{n} [{30 * f'*a{n - 1},'}]" for n in range(1, 9)) + "]}]",
            "has more than 1,000,000 values",
        ),
    ],
)
def test_what_cannot_be_meant_changes_nothing(client, apply, text, message):
    _, err = apply(text, code=1)
    assert message in err
    assert client.get(f"{PATH}/").json()["totalCount"] == 0


def test_what_the_server_refuses_is_told_with_how_far_it_came(client, apply):
    two = {
        "definitions": [
            {"name": "good", "deployment": "flights"},
            {"name": "bad", "deployment": "flights", "maxExplanations": 3},
        ]
    }
    _, err = apply(two, code=1)
    assert "Applying definition 'bad' failed, after 1 of 2 changes: maxExplanations is not supported yet" in err
    two["definitions"][1]["maxExplanations"] = 0
    assert apply(two)[0].startswith("= definition 'good'\n+ definition 'bad'\n"), "and it goes on from there"


def test_json_for_programs(client, cli, tmp_path):
    file = tmp_path / "jobs.yaml"
    file.write_text(FILE)
    (tmp_path / "more.yaml").write_text("definitions: [{name: more, deployment: flights}]")
    words = ("apply", "-f", str(file), "-f", str(tmp_path / "more.yaml"), "--json")
    found = json.loads(cli(*words, "--dry-run")[0])
    assert [(each["name"], each["action"], each["applied"]) for each in found] == [
        ("nightly", "create", False), ("more", "create", False),
    ]  # fmt: skip
    assert [each["applied"] for each in json.loads(cli(*words)[0])] == [True, True]
    assert [each["action"] for each in json.loads(cli(*words)[0])] == ["none", "none"]
