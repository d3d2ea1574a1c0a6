"""Where addresses lead that users name."""

from __future__ import annotations

import pytest

from scoreline.errors import AccessRefused, Forbidden, InvalidRequest, SetupError
from scoreline.network import Reach, networks
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
    with pytest.raises(SetupError, match="SCORELINE_ALLOWED_NETWORKS"):
        networks("10.0.0.0/8, example.com")


def test_what_is_connected_to_decides_whatever_was_looked_up_before():
    with fault_proxy("http://127.0.0.1:9") as proxy:
        transport = Transport("server", {}, reach=Reach())
        with pytest.raises(AccessRefused, match="private address"):
            transport.post(proxy.url, b"rows", content_type="text/csv", seconds=5, most_bytes=100)
        assert proxy.sizes == []
        transport.close()
