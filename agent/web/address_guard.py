"""The guard: which addresses this process may talk to on behalf of a model.

What stays true: it judges addresses, never names or spellings. The network backend asks it about every
address that a name stands for, after the name was resolved, and connects to one that was judged
(`guarded_backend.py`). So decimal and octal spellings, internal names, redirects and names whose
address changes between two lookups all end here.

The lists are the special-purpose registries of IANA, kept here because `ipaddress` answers
differently from one patch release of Python to the next. Of IPv6 only what is handed out as
global unicast counts as public. Addresses that carry an IPv4 address inside (mapped, NAT64, 6to4, Teredo) are
refused whatever they carry: no public site needs them, and a translator would reach inside. A
network's own NAT64 prefix cannot be known here; a firewall has to hold that one.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")

#: More telling words stand first: a metadata service is link-local too.
_REFUSED_NETWORKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a cloud metadata service", ("169.254.169.254/32", "fd00:ec2::254/128")),
    # Public by its number, yet each virtual machine of Azure finds its host behind it.
    ("a cloud metadata service", ("168.63.129.16/32",)),
    ("a loopback address", ("127.0.0.0/8", "::1/128")),
    ("an unspecified address", ("0.0.0.0/8", "::/128")),
    ("a private address", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("a link-local address", ("169.254.0.0/16", "fe80::/10")),
    ("an address of a carrier's inner network", ("100.64.0.0/10",)),
    ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
    (
        "an IPv4 address within IPv6",
        ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"),
    ),
    (
        "a reserved address",
        (
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
            *("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
        ),
    ),
)
_KIND_BY_NETWORK: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), kind) for kind, networks in _REFUSED_NETWORKS for network in networks
)


class AddressGuard:
    """The guard that lets public addresses pass, and those that the operator allows."""

    def __init__(self, allow_networks: Iterable[str | Network] = ()) -> None:
        self._allowed_networks = tuple(ip_network(network) for network in allow_networks)

    def objection(self, address: str) -> str | None:
        """The kind of an address that may not be talked to; None if it may."""
        parsed_address = _parse_address(address)
        if parsed_address is None:
            return "an address that cannot be read"
        if any(parsed_address in network for network in self._allowed_networks):
            return None
        return _find_special_kind(parsed_address)


def _parse_address(address: str) -> Address | None:
    try:
        # A zone (`%eth0`) says through which interface, not where to.
        return ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _find_special_kind(address: Address) -> str | None:
    for network, kind in _KIND_BY_NETWORK:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "a reserved address"
    return None
