"""Which addresses users may have this installation connect to, judged by the address that is really connected to.

Names, odd spellings of numbers and addresses inside of addresses all lead somewhere in the end: that is looked at.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from scoreline.errors import Forbidden, InvalidRequest, SetupError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Machines' own services in clouds. Some of them lie in ranges that are public by the book.
_CLOUD = (
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("100.100.100.200/32"),
    ipaddress.ip_network("168.63.129.16/32"),
    ipaddress.ip_network("192.0.0.192/32"),
    ipaddress.ip_network("fd00:ec2::/32"),
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fec0::/10"),
)
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an address may lead. `anywhere`: an admin named it, so it may be private, too; clouds' services never.

    allowed: networks that the installation opens for all.
    """

    anywhere: bool = False
    allowed: tuple[str, ...] = ()

    def check(self, host: str, what: str) -> None:
        """Look a name up; raise Forbidden when any of its addresses is out of reach, InvalidRequest for no address."""
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise InvalidRequest(f"{what} {host!r} cannot be found: check the name.", "hostName") from error
        for *_, address in found:
            self.check_address(str(address[0]), what)

    def check_address(self, text: str, what: str) -> None:
        """Raise Forbidden for an address, in numbers, that is out of reach."""
        address = inner(ipaddress.ip_address(text.partition("%")[0]))
        if any(address in network for network in map(ipaddress.ip_network, self.allowed)):
            return
        if address.is_multicast or address.is_unspecified or any(address in network for network in _CLOUD):
            raise Forbidden(f"{what} leads to {address}, which is no address of a server that could be asked.")
        if not self.anywhere and not address.is_global:
            raise Forbidden(
                f"{what} leads to the private address {address}: an admin may register that server "
                "(`scoreline deploy --server`), or open its network in SCORELINE_ALLOWED_NETWORKS."
            )


def networks(text: str) -> tuple[str, ...]:
    """Return the networks of a setting, separated by commas or blanks. Raises SetupError."""
    try:
        return tuple(str(ipaddress.ip_network(part)) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise SetupError(
            f"SCORELINE_ALLOWED_NETWORKS cannot be read ({error}): give networks like 10.0.0.0/8, with commas."
        ) from error


def inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64, Teredo), else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address
