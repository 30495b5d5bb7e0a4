"""Which addresses deliveries may go to: none that only we can reach, unless the configuration allows it (FAULTS 41).

Pure. Names are resolved by who asks, and every address that a name stands for is judged, at each connection anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED: Final[tuple[Network, ...]] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; some clouds' metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
"""IPv4 networks that are not the public internet."""

PUBLIC_IPV6: Final = IPv6Network("2000::/3")
"""All that is routed publicly. What lies outside is loopback, local, multicast, or no destination."""

REFUSED_IPV6: Final = (
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: an IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing
)

NAT64: Final = IPv6Network("64:ff9b::/96")


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks as a configuration writes them, such as `10.1.0.0/16` or `::1`.

    Raises:
        ValueError: One is none; the message says which.
    """
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError:
            raise ValueError(f"{text!r} is not a network; write it like 10.1.0.0/16") from None
    return tuple(networks)


def may_reach(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a delivery may go to an address.

    Args:
        address: As a resolver gives it.
        allowed: Private networks that may be reached all the same.
    """
    parsed = _unwrap(ip_address(address.partition("%")[0]))
    if any(parsed in network for network in allowed if network.version == parsed.version):
        return True
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in REFUSED)
    return parsed in PUBLIC_IPV6 and not any(parsed in network for network in REFUSED_IPV6)


def _unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 one is another way to write, or to reach."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
