"""Passwords of a shared studio: compared in constant time, and guessed only slowly."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

LEAST = 8  # characters of a password
_FREE = 5  # wrong passwords from one address before it has to wait
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 900.0  # seconds, doubled with each further one
_REMEMBERED = 900.0  # seconds
_TOTAL = 100  # wrong ones within that time from all addresses together
_ADDRESSES = 10_000


class Passwords:
    """Who may log in. Neither a name nor a password is told by how long an answer takes."""

    def __init__(self, users: Sequence[tuple[str, str]]) -> None:
        self._key = secrets.token_bytes(32)
        self._known = [(self._mark(name), self._mark(password)) for name, password in users]

    def __call__(self, user: str, password: str) -> bool:
        """Whether that is somebody's name and password."""
        name, given = self._mark(user), self._mark(password)
        right = False
        for known, expected in self._known:  # all of them, whether or not the first one fits
            right |= hmac.compare_digest(name, known) & hmac.compare_digest(given, expected)
        return right

    def _mark(self, text: str) -> bytes:
        # All of one length, so that comparing says nothing of the length either.
        return hmac.digest(self._key, text.encode(errors="replace"), hashlib.sha256)


class Attempts:
    """Counts wrong passwords by address and in all; only what came lately counts.

    There is a bound for all addresses together because an address can be made up where a proxy
    stands in front. Who is logged in notices nothing of it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque()

    def wait(self, address: str) -> float:
        """Seconds until somebody from there may try again; 0 is at once."""
        now = self._clock()
        own = self._by_address.get(_network(address), deque())
        _forget(own, now)
        _forget(self._all, now)
        until = 0.0
        if len(own) >= _FREE:
            until = own[-1] + min(_FIRST_WAIT * 2 ** (len(own) - _FREE), _LONGEST_WAIT)
        if len(self._all) >= _TOTAL:
            until = max(until, self._all[0] + _REMEMBERED)
        return max(0.0, until - now)

    def begin(self, address: str) -> float:
        """Count a try as wrong until `right` takes it back, so that many at once gain nothing."""
        now, network = self._clock(), _network(address)
        self._by_address.setdefault(network, deque()).append(now)
        self._by_address.move_to_end(network)
        while len(self._by_address) > _ADDRESSES:
            self._by_address.popitem(last=False)
        self._all.append(now)
        return now

    def right(self, address: str, begun: float) -> None:
        """The try that `begin` counted was right."""
        for counted in (self._by_address.get(_network(address), deque()), self._all):
            if begun in counted:
                counted.remove(begun)


def basic(header: str) -> tuple[str, str] | None:
    """User and password in an Authorization header of the kind Basic, if it is one."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


def _forget(times: deque[float], now: float) -> None:
    while times and now - times[0] > _REMEMBERED:
        times.popleft()


def _network(address: str) -> str:
    """What one person has: an IPv4 address, or the half of IPv6 that a house gets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
