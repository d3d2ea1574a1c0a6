"""Kinds of credentials: what is accepted of each, what adapters get, and what is never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline import adapters, credentials, redact
from scoreline.credentials import (
    KINDS,
    AzureSecret,
    BasicSecret,
    GcpSecret,
    KeyPairSecret,
    S3Secret,
    hidden,
    parts,
    read,
    secret_of,
)
from scoreline.errors import InvalidRequest

PEM = """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASC
BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
-----END PRIVATE KEY-----
"""
AZURE = (
    "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=c2VjcmV0LWtleS1vZi1henVyZQ==;"
    "EndpointSuffix=core.windows.net"
)
SAS = "BlobEndpoint=https://acc.blob.core.windows.net;SharedAccessSignature=sv=2022-11-02&ss=b&sig=c2lnbmF0dXJl%3D"

WHOLE = {
    "basic": {"user": "scott", "password": "tiger-secret"},
    "s3": {"awsAccessKeyId": "AKIDEXAMPLE12", "awsSecretAccessKey": "wJalrXUtnFEMI", "awsSessionToken": "FwoGZXIvYXdz"},
    "azure": {"azureConnectionString": AZURE},
    "gcp": {"gcpKey": {"type": "service_account", "project_id": "p_1", "private_key_id": "0a1b2c", "private_key": PEM}},
    "oauth": {"token": "tok-secret", "refreshToken": "ref-secret"},
    "snowflake_key_pair_user_account": {"user": "u", "privateKeyStr": PEM, "passphrase": "pass-secret"},
    "databricks_access_token_account": {"databricksAccessToken": "dapi-secret"},
    "databricks_service_principal_account": {"clientId": "cid", "clientSecret": "cs-secret"},
    "azure_service_principal": {"clientId": "cid", "clientSecret": "cs-secret", "azureTenantId": "tenant"},
    "adls_gen2_oauth": {"clientId": "cid", "clientSecret": "cs-secret", "oauthScopes": ["a", "b"]},
    "external_oauth_provider": {"authenticationId": "auth-secret"},
    "box_jwt": {
        "clientId": "cid",
        "clientSecret": "cs-secret",
        "enterpriseId": "e1",
        "publicKeyId": "pk1",
        "privateKeyStr": PEM,
        "passphrase": "pass-secret",
    },
}
OPEN = {"scott", "u", "cid", "tenant", "e1", "pk1", "p_1", "service_account", "a", "b", "DefaultEndpointsProtocol"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_reaches_adapters_whole_and_prints_no_secret(kind):
    secret = secret_of(kind, read(kind, WHOLE[kind]))
    assert type(secret) is KINDS[kind]
    texts = [text for text in redact.texts(WHOLE[kind]) if text not in OPEN]
    assert texts
    shown = repr(secret) + str(secret)
    with redact.hiding(hidden(secret)):
        for text in texts:
            assert text not in shown
            assert redact.mask(f"it said {text} and {text!r}").count(redact.MASK) == 2


def test_what_adapters_get_of_the_kinds_they_use_most():
    assert secret_of("basic", {"user": "a", "password": ""}) == BasicSecret("a", "")
    assert secret_of("s3", {"awsAccessKeyId": "i", "awsSecretAccessKey": "s"}) == S3Secret("i", "s", None)
    assert secret_of("s3", WHOLE["s3"]) == S3Secret("AKIDEXAMPLE12", "wJalrXUtnFEMI", "FwoGZXIvYXdz")
    assert secret_of("gcp", WHOLE["gcp"]) == GcpSecret(WHOLE["gcp"]["gcpKey"])
    found = secret_of("azure", {"azureConnectionString": f"{AZURE};...; "})
    assert isinstance(found, AzureSecret)
    assert (found.parts["AccountName"], found.parts["AccountKey"]) == ("acc", "c2VjcmV0LWtleS1vZi1henVyZQ==")
    signed = AzureSecret(SAS)
    assert signed.parts["SharedAccessSignature"] == "sv=2022-11-02&ss=b&sig=c2lnbmF0dXJl%3D"
    assert {AZURE, "c2VjcmV0LWtleS1vZi1henVyZQ=="} <= set(hidden(AzureSecret(AZURE)))
    assert {"c2lnbmF0dXJl%3D", "c2lnbmF0dXJl="} <= set(hidden(signed))
    pair = {"username": "u", "privateKeyStr": PEM}
    assert secret_of("snowflake_key_pair_user_account", pair) == KeyPairSecret("u", PEM)
    # A library that quotes one line of a key gives nothing away, either.
    assert "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" in set(hidden(KeyPairSecret("u", PEM)))


def test_both_spellings_of_a_user_and_of_a_service_account_mean_the_same():
    assert read("basic", {"username": "a", "password": "p"}) == {"user": "a", "password": "p"}
    camel = {"type": "service_account", "projectId": "p", "privateKeyId": "i", "authProviderX509CertUrl": "https://x"}
    assert read("gcp", {"gcpKey": camel})["gcpKey"] == {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "i",
        "auth_provider_x509_cert_url": "https://x",
    }


REFUSED = [
    ("basic", {"user": "a"}, "password", "required for a credential of type basic"),
    ("basic", {"user": "", "password": "p"}, "user", "not empty"),
    ("basic", {"user": "a", "username": "b", "password": "p"}, "username", "mean the same"),
    ("basic", {"user": "a", "password": 1}, "password", "must be a text"),
    ("basic", {"user": "a\0", "password": "p"}, "user", "NUL"),
    ("basic", {"user": "a", "password": "\ud800"}, "password", "surrogate"),
    ("basic", {"user": "a", "password": "p" * 70_000}, "password", "too long"),
    ("basic", {"user": "a", "password": "p", "token": "t"}, "token", "it has user, username, password"),
    ("basic", {"user": "a", "password": "p", "configId": "c"}, "configId", "no field 'configId'"),
    ("s3", {}, "awsAccessKeyId", "required"),
    ("s3", {"configId": "c"}, "configId", "no shared configurations are kept here"),
    ("gcp", {"gcpKey": "text"}, "gcpKey", "object in Google's file"),
    ("gcp", {"gcpKey": {}}, "gcpKey", "object in Google's file"),
    ("gcp", {"gcpKey": {"type": "external_account", "credential_source": {"file": "/etc/passwd"}}}, "gcpKey", "texts"),
    ("gcp", {"gcpKey": {"type": "authorized_user"}}, "gcpKey", "service account"),
    ("adls_gen2_oauth", {"clientId": "c", "clientSecret": "s", "oauthScopes": "a"}, "oauthScopes", "list"),
    ("adls_gen2_oauth", {"clientId": "c", "clientSecret": "s", "oauthScopes": []}, "oauthScopes", "list"),
    ("jdbc", {}, "credentialType", "is not known: it is one of basic, s3,"),
]


@pytest.mark.parametrize(("kind", "document", "field", "words"), REFUSED)
def test_what_makes_no_credential_is_refused_by_its_field(kind, document, field, words):
    with pytest.raises(InvalidRequest) as refused:
        read(kind, document)
    assert refused.value.field == field
    assert words in refused.value.message


def test_no_message_repeats_a_value():
    for kind, document, _, _ in REFUSED:
        with pytest.raises(InvalidRequest) as refused:
            read(kind, document)
        assert "/etc/passwd" not in refused.value.message


def test_a_change_keeps_what_it_does_not_name():
    before = read("s3", WHOLE["s3"])
    after = read("s3", {"awsSessionToken": "new", "awsAccessKeyId": None}, before)
    assert after == {**WHOLE["s3"], "awsSessionToken": "new"}
    assert before == WHOLE["s3"]


def test_an_empty_text_takes_away_what_need_not_be_there():
    lasting = {"awsAccessKeyId": "AKID", "awsSecretAccessKey": "s"}
    assert read("s3", {**lasting, "awsSessionToken": ""}) == lasting
    assert read("s3", {**lasting, "awsSessionToken": ""}, WHOLE["s3"]) == lasting


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip)


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_any_text_survives_from_the_wire_to_the_adapter(kind, data):
    forms = {
        "text": texts,
        "texts": st.lists(texts, min_size=1),
        "object": st.dictionaries(st.sampled_from(["client_email", "private_key", "token_uri"]), texts, min_size=1),
    }
    document = {part.name: data.draw(forms[part.form], label=part.name) for part in parts(kind)}
    secret = secret_of(kind, read(kind, document))
    values = [getattr(secret, name) for name in secret.__dataclass_fields__]
    assert values == [tuple(value) if isinstance(value, list) else value for value in document.values()]


def test_adapters_take_kinds_that_exist():
    for name, entry in adapters.REGISTRY.items():
        for field, kinds in entry.can.credentials.items():
            assert field in {"credentialId", "cloudStorageCredentialId"}, name
            assert kinds, name
            assert set(kinds) <= set(KINDS), name
    assert credentials.no_keys("credentialId") is None
