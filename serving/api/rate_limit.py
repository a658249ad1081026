"""How often one may ask: so many requests in a window of time, per token or address.

Told in the fields `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10. Counted by
the library `limits`, not by Flask-Limiter over it: that sees a request only after the cache of answers.
"""

from __future__ import annotations

import logging
import math
import re
import time
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from limits import parse
from limits.storage import MemoryStorage, StorageTypes, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from serving.layers.circuit import Circuit
from stitch.errors import StitchError
from stitch.sections import ServingSettings

LOG = logging.getLogger("stitch.access")
POLICY = "requests"
MEMORY = "memory://"
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]*)?|([0-9.]+):[0-9]*")  # or IPv6 in brackets without one
SECONDS = 0.1  # to connect to a shared storage, and for its answer


class BadStorage(StitchError):
    """Counts cannot be kept where the settings say."""


@dataclass(frozen=True)
class Hit:
    """One request that was counted."""

    allowed: bool
    remaining: int
    seconds: int  # until the window ends


class RateLimit:
    def __init__(self, said: str, storage: str, workers: int) -> None:
        """`said`: as the settings say it, `600/minute`. A storage that is away takes no counts with it: this process
        counts for itself until it is back."""
        self._limit = parse(said)
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared = None if storage == MEMORY else FixedWindowRateLimiter(_storage(storage))
        self._circuit = Circuit(failures=1, retry_after=5)
        self.policy = f'"{POLICY}";q={self._limit.amount};w={self._limit.get_expiry()}'
        if workers > 1 and not self._shared:
            LOG.warning(
                "serving.rate_limit %s is counted by each of %d workers for itself, so that up to %d times as many "
                "are let through: serving.rate_limit_storage names a storage that they share", said, workers, workers,
            )  # fmt: skip

    def hit(self, who: str) -> Hit:
        """Count a request."""
        if self._shared and self._circuit.admitted() != "open":
            try:
                found = self._hit(self._shared, who)
                self._circuit.tried(None)
                return found
            except Exception as error:  # of whatever client the storage has
                self._circuit.tried(str(error))
                LOG.warning("the storage of the rate limit does not answer, so this process counts for itself: %s",
                            error)  # fmt: skip
        return self._hit(self._own, who)

    def _hit(self, limiter: FixedWindowRateLimiter, who: str) -> Hit:
        allowed = limiter.hit(self._limit, who)
        window = limiter.get_window_stats(self._limit, who)
        return Hit(allowed, window.remaining, max(1, math.ceil(window.reset_time - time.time())))


def _storage(uri: str) -> StorageTypes:
    """A storage whose client waits for no longer than a request can; by default they wait for ever."""
    kind = uri.partition(":")[0]
    names = {"memcached": ("connect_timeout", "timeout"), "redis": ("socket_connect_timeout", "socket_timeout")}
    waits = dict.fromkeys(names.get(kind.replace("rediss", "redis"), ()), SECONDS)
    try:
        return storage_from_string(uri, **waits)
    except Exception as error:  # of whatever client the storage has
        said = re.sub(r"//[^/@]*@", "//…@", str(error))  # not the password
        raise BadStorage(
            f"serving.rate_limit_storage cannot be used: {said}. memory://, memcached://HOST:PORT or, with the package "
            "redis, redis://HOST:PORT are expected"
        ) from None


def check_storage(settings: ServingSettings) -> None:
    """Raises BadStorage. It connects to nothing."""
    if settings.rate_limit and settings.rate_limit_storage != MEMORY:
        _storage(settings.rate_limit_storage)


def told(hit: Hit) -> str:
    """The field `RateLimit`."""
    return f'"{POLICY}";r={hit.remaining};t={hit.seconds}'


def rate_limit(settings: ServingSettings) -> RateLimit | None:
    """The limit of the settings, if there is one."""
    said = settings.rate_limit
    return RateLimit(said, settings.rate_limit_storage, settings.workers) if said else None


def address(remote: str) -> str:
    """Who asks, by his address, without the port that some proxies tell with it: each connection has another. Of IPv6
    its network of 64 bits, since one household or machine has all of it."""
    with_port = _WITH_PORT.fullmatch(remote)
    try:
        found = ip_address(with_port[1] or with_port[2] if with_port else remote)
    except ValueError:
        return remote
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or f"{IPv6Address(int(found) >> 64 << 64)}/64")
    return str(found)
