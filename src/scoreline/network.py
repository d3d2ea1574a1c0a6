"""Which addresses users may have this installation connect to, judged by the address that is really connected to.

Names, odd spellings of numbers and addresses inside of addresses all lead somewhere in the end: that is looked at.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

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
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
# Networks that were made to stand for private ones, which `is_global` does not know of in every version of Python.
_LOCAL = (ipaddress.ip_network("64:ff9b:1::/48"),)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an address may lead. `anywhere`: an admin named it, so it may be private, too; clouds' services never.

    allowed: what the installation opens for all: networks, and places like `host:port`. own: places of the
    installation's own parts, which are closed to users whatever is open. known: places of servers that an admin has
    registered, open at exactly that address and port.
    """

    anywhere: bool = False
    allowed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def check(self, host: str, what: str, port: int | None = None) -> None:
        """Look a name up. Raises Forbidden when it leads nowhere within reach, InvalidRequest when it cannot be found.

        It says what can be said in advance; who connects does it to what `resolve` returns.
        """
        try:
            self.resolve(host, port, what)
        except OSError as error:
            raise InvalidRequest(f"{what} cannot be found: check the name {host!r}.", "hostName") from error

    def check_url(self, url: str, what: str) -> None:
        """Do the same for a URL. Raises InvalidRequest for one that is not of http or https, or names no host."""
        _, host, port = split_url(url, what)
        self.check(host, what, port)

    def resolve(self, host: str, port: int | None, what: str) -> tuple[str, ...]:
        """Look a name up once and return its addresses within reach: connect to one of these, not to the name.

        Raises Forbidden when there is none, OSError for a name that cannot be found.
        """
        refused: Forbidden | None = None
        found = []
        for address in _addresses(host):
            try:
                self.check_address(address, what, port)
            except Forbidden as error:
                refused = error
            else:
                found.append(address)
        if found:
            return tuple(found)
        raise refused or OSError(f"{host} has no address")

    def check_address(self, text: str, what: str, port: int | None = None) -> None:
        """Raise Forbidden for an address, in numbers, that is out of reach."""
        given = ipaddress.ip_address(text.partition("%")[0])
        address = inner(given)
        if port is not None and not self.anywhere and _is_at(address, port, self.own, here=True):
            raise Forbidden(f"{what} leads to {address}, port {port}, which is a part of this installation itself.")
        places = [place for place in self.allowed if not _is_network(place)]
        if port is not None and _is_at(address, port, (*self.known, *places)):
            return
        if any(address in ipaddress.ip_network(network) for network in self.allowed if _is_network(network)):
            return
        if address.is_multicast or address.is_unspecified or any(address in network for network in _CLOUD):
            raise Forbidden(f"{what} leads to {address}, which is no address of a server that could be asked.")
        local = any(given in network for network in _LOCAL)
        if not self.anywhere and (local or not address.is_global):
            raise Forbidden(
                f"{what} leads to the private address {address}: an admin may register that server "
                "(`scoreline deploy --server`), or open its network in SCORELINE_ALLOWED_NETWORKS."
            )


def split_url(url: str, what: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL. Raises InvalidRequest for one that is not of http or https."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in _PORTS or not host or port == 0:
        raise InvalidRequest(f"{what} must be an address like `https://host/path` or `http://host:port/path`.")
    return scheme, host, port or _PORTS[scheme]


def place_of(url: str) -> str:
    """Return `host:port` of a URL that is known to be good."""
    _, host, port = split_url(url, "The address")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def networks(text: str) -> tuple[str, ...]:
    """Return the networks and places of a setting, separated by commas or blanks. Raises SetupError."""
    found = []
    for part in text.replace(",", " ").split():
        try:
            found.append(str(ipaddress.ip_network(part)))
        except ValueError as error:
            if not _PLACE.fullmatch(part) or int(part.rpartition(":")[2]) not in range(1, 1 << 16):
                raise SetupError(
                    f"SCORELINE_ALLOWED_NETWORKS cannot be read ({error}): give networks like 10.0.0.0/8 and places "
                    "like minio.internal:9000, with commas."
                ) from error
            found.append(part.lower())
    return tuple(found)


def _addresses(host: str) -> list[str]:
    """Return all addresses of a host, which may be a name or a number in any spelling, each once."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} is no name of a host") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_network(entry: str) -> bool:
    return "/" in entry


def _is_at(address: Address, port: int, places: Iterable[str], *, here: bool = False) -> bool:
    """Tell whether one of the places is at this address and port. here: all addresses of this machine are one."""
    for place in places:
        host, _, own_port = place.rpartition(":")
        if int(own_port) != port:
            continue
        try:
            found = [inner(ipaddress.ip_address(text.partition("%")[0])) for text in _addresses(host.strip("[]"))]
        except OSError:
            continue  # a name that nobody knows is nowhere
        if address in found:
            return True
        if here and _is_here(address) and any(one.is_unspecified or _is_here(one) for one in found):
            return True
    return False


def _is_here(address: Address) -> bool:
    """Tell whether an address is one of this machine's: only these can be bound to."""
    family = socket.AF_INET if isinstance(address, ipaddress.IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True


def inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64, Teredo), else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if 1 < int(address) < 1 << 32:  # the oldest form, `::127.0.0.1`
        return ipaddress.IPv4Address(int(address))
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address
