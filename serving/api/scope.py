"""What a request may read. Pure: it knows neither Flask nor where a token came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from stitch.grants import BadToken, Grant, read
from stitch.sections import ServingSettings


@dataclass(frozen=True)
class Scope:
    """What may be read, and by whom; None is all of it.

    token:            who asks (None: nobody said)
    counters:         the counters that may be read, the public ones among them
    keys, key_prefix: the keys of counters that are not public, where the token names some
    list_keys:        whether it may be asked which keys there are
    signed:           the token is a link that many may have, and no caller
    """

    token: str | None = None
    counters: frozenset[str] | None = None
    keys: frozenset[str] | None = None
    key_prefix: str | None = None
    list_keys: bool = True
    public: frozenset[str] = frozenset()
    list_public_keys: bool = False
    signed: bool = False

    @property
    def of_everything(self) -> bool:
        return self.counters is None and self.keys is None and self.key_prefix is None

    def sees(self, counter: str) -> bool:
        return self.counters is None or counter in self.counters

    def of_all_keys(self, counter: str) -> bool:
        return self.sees(counter) and (counter in self.public or (self.keys is None and self.key_prefix is None))

    def reads(self, counter: str, key: str) -> bool:
        if self.of_all_keys(counter):
            return True
        named = key in (self.keys or ()) or (self.key_prefix is not None and key.startswith(self.key_prefix))
        return self.sees(counter) and named

    def lists(self, counter: str, prefix: str) -> bool:
        """Whether it may be asked which keys of the counter begin so."""
        if counter in self.public and self.list_public_keys:
            return True
        if not self.list_keys or not self.sees(counter):
            return False
        own = self.keys is None and self.key_prefix is None
        return own or (self.key_prefix is not None and prefix.startswith(self.key_prefix))


EVERYTHING = Scope()


class Scopes:
    """Which scope a caller has: by the tokens of the settings, known by their SHA-256 alone, and by signed ones."""

    def __init__(self, settings: ServingSettings) -> None:
        self._public = frozenset(settings.public)
        self._list_public = settings.list_public_keys
        self._secrets = settings.signing_secrets
        self._known = {
            token.sha256: self._scope(
                Grant(name, _tuple(token.counters), _tuple(token.keys), token.key_prefix, token.list_keys), False
            )
            for name, token in settings.tokens.items()
        }
        self.open = not settings.tokens and not self._secrets
        self.nobody = EVERYTHING if self.open else Scope(
            None, self._public, list_keys=False, public=self._public, list_public_keys=self._list_public
        )  # fmt: skip

    def of(self, authorization: str) -> Scope:
        """The scope of a request with this Authorization header. Raises BadToken."""
        if self.open or not authorization:
            return self.nobody
        kind, _, token = authorization.partition(" ")
        token = token.strip()
        if kind.lower() != "bearer" or not token:
            raise BadToken("the Authorization header is not `Bearer TOKEN`")
        if known := self._known.get(hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()):
            return known
        if self._secrets and token.count(".") == 2:
            return self._scope(read(token, self._secrets), True)
        raise BadToken("the token is not known")

    def _scope(self, grant: Grant, signed: bool) -> Scope:
        counters = None if grant.counters is None else frozenset(grant.counters) | self._public
        keys = None if grant.keys is None else frozenset(grant.keys)
        return Scope(
            grant.name, counters, keys, grant.key_prefix, grant.list_keys, self._public, self._list_public, signed
        )


def _tuple(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
