"""Where addresses lead that users name."""

from __future__ import annotations

import socket

import pytest

from scoreline.errors import AccessRefused, Forbidden, InvalidRequest, SetupError
from scoreline.network import Reach, networks, place_of, split_url
from scoreline.scorers.transport import Transport
from tests.support.proxy import fault_proxy

CLOUD = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "fec0::1",
]
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "::127.0.0.1",
    "64:ff9b:1::808:808",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fd12:3456::1",
    "240.0.0.1",
    "198.18.0.1",
]
PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", CLOUD)
@pytest.mark.parametrize("anywhere", [True, False])
def test_never(address, anywhere):
    with pytest.raises(Forbidden, match="no address of a server"):
        Reach(anywhere).check_address(address, "it")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_are_for_admins_and_what_they_open(address):
    with pytest.raises(Forbidden, match="SCORELINE_ALLOWED_NETWORKS"):
        Reach().check_address(address, "it")
    Reach(anywhere=True).check_address(address, "it")
    Reach(allowed=networks("127.0.0.0/8, 10.0.0.0/8,172.16.0.0/12 192.168.0.0/16 0.0.0.0/0 ::/0")).check_address(
        address, "it"
    )


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones_are_for_all(address):
    Reach().check_address(address, "it")


def test_an_operator_may_open_anything():
    Reach(allowed=networks("169.254.0.0/16")).check_address("169.254.169.254", "it")


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_names_and_odd_numbers_are_looked_up(host):
    with pytest.raises((Forbidden, InvalidRequest)):
        Reach().check(host, "it")


def test_settings_that_are_no_networks():
    assert networks("") == ()
    assert networks("10.0.0.0/8,10.1.2.3 MinIO.internal:9000 [::1]:80") == (
        "10.0.0.0/8",
        "10.1.2.3/32",
        "minio.internal:9000",
        "[::1]:80",
    )
    for wrong in ("10.0.0.0/8, example.com", "host:0", "host:65536", ":80", "http://host:80", "::1:80:", "10.1.2.3/8"):
        with pytest.raises(SetupError, match="SCORELINE_ALLOWED_NETWORKS"):
            networks(wrong)


@pytest.mark.parametrize("field", ["allowed", "known"])
def test_a_place_is_open_at_exactly_its_address_and_port(field):
    reach = Reach(**{field: ("10.1.2.3:9000", "[fd12::1]:9000", "localhost:9001")})
    for address, port in (("10.1.2.3", 9000), ("::ffff:10.1.2.3", 9000), ("fd12::1", 9000), ("127.0.0.1", 9001)):
        reach.check_address(address, "it", port)
    for address, port in (("10.1.2.3", 9001), ("10.1.2.4", 9000), ("127.0.0.1", 9000), ("127.0.0.2", 9001)):
        with pytest.raises(Forbidden, match="private address"):
            reach.check_address(address, "it", port)
    with pytest.raises(Forbidden, match="private address"):
        reach.check_address("10.1.2.3", "it")


def test_the_installations_own_parts_are_closed_whatever_is_open():
    reach = Reach(allowed=networks("0.0.0.0/0 ::/0 127.0.0.1:8080"), own=("0.0.0.0:8080", "10.1.2.3:5432"))
    for address in ("127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"):
        with pytest.raises(Forbidden, match="port 8080, which is a part of this installation"):
            reach.check_address(address, "it", 8080)
        reach.check_address(address, "it", 8081)
    reach.check_address("10.1.2.3", "it", 8080)  # another machine
    with pytest.raises(Forbidden, match="part of this installation"):
        reach.check_address("10.1.2.3", "it", 5432)


def test_a_name_leads_to_those_of_its_addresses_that_are_within_reach(monkeypatch):
    names = {"both.test": ["10.1.2.3", "8.8.8.8", "8.8.8.8"], "none.test": ["10.1.2.3", "169.254.169.254"]}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **_: [(0, 0, 0, "", (address, 0)) for address in names[host]]
    )
    assert Reach().resolve("both.test", 80, "it") == ("8.8.8.8",)
    with pytest.raises(Forbidden):
        Reach().resolve("none.test", 80, "it")


def test_urls_that_are_none():
    assert split_url("HTTP://Host.example/x", "it") == ("http", "host.example", 80)
    assert split_url("https://[::1]:8443", "it") == ("https", "::1", 8443)
    assert place_of("http://[::1]") == "[::1]:80"
    for wrong in (
        "",
        "host/x",
        "ftp://host/x",
        "http://",
        "http://host:port",
        "http://host:0",
        "http://[::1",
        "file:///x",
    ):
        with pytest.raises(InvalidRequest, match="address like"):
            split_url(wrong, "it")
    with pytest.raises(Forbidden):
        Reach().check_url("http://127.1:9000/x", "it")


def test_what_is_connected_to_decides_whatever_was_looked_up_before():
    with fault_proxy("http://127.0.0.1:9") as proxy:
        transport = Transport("server", {}, reach=Reach())
        with pytest.raises(AccessRefused, match="private address"):
            transport.post(proxy.url, b"rows", content_type="text/csv", seconds=5, most_bytes=100)
        assert proxy.sizes == []
        transport.close()
