"""Signed tokens: a JWT says by itself what may be read with it and until when, so that no settings have to name it.

The first of the secrets signs, and what any of them signed is accepted: to change the secret, put the new one in front
and take the old one out when what it signed has expired. One token alone cannot be revoked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import jwt

from stitch.errors import ExitStatus, StitchError
from stitch.settings import Settings

ALGORITHM = "HS256"
AUDIENCE = "stitch"
REQUIRED = ["exp", "aud", "sub"]


class BadToken(Exception):
    """A signed token that cannot be accepted; the message says why, for whoever sent it."""


class GrantError(StitchError):
    """A token that cannot be made; the message says what to do."""

    exit_status = ExitStatus.USAGE


@dataclass(frozen=True)
class Grant:
    """What a token lets read: all counters and keys, but for what is said. `name` is for the reader's log."""

    name: str
    counters: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    key_prefix: str | None = None
    list_keys: bool = False

    def __post_init__(self) -> None:
        if self.key_prefix == "":
            raise GrantError("key_prefix: every key begins with an empty one; leave it out where all are meant")


@dataclass(frozen=True)
class Link:
    """Addresses that open the page of one key, and the count in a frame, until they expire. The token comes after the
    #: browsers send it to no server, so it is in no log and no Referer."""

    page: str
    frame: str
    expires: datetime


def sign(grant: Grant, expires: datetime, secrets: Sequence[str]) -> str:
    """The grant as a token."""
    said = {"counters": grant.counters, "keys": grant.keys, "key_prefix": grant.key_prefix}
    claims: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if grant.list_keys:
        claims["list_keys"] = True
    return jwt.encode({"sub": grant.name, "aud": AUDIENCE, "exp": expires, **claims}, secrets[0], ALGORITHM)


def read(token: str, secrets: Sequence[str]) -> Grant:
    """What the token grants. Raises BadToken."""
    for secret in secrets:
        try:
            claims = jwt.decode(token, secret, [ALGORITHM], audience=AUDIENCE, options={"require": REQUIRED})
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise BadToken("the token has expired: ask for a new one") from None
        except jwt.InvalidAlgorithmError:
            raise BadToken(f"the token is not signed by {ALGORITHM}") from None
        except jwt.InvalidTokenError:
            raise BadToken("the token is not one of this reader's") from None
        return _grant(claims)
    raise BadToken("the token was not signed by this reader, or its secret was changed: ask for a new one")


def signed(settings: Settings, grant: Grant, lasting: timedelta) -> tuple[str, datetime]:
    """The grant as a token, and when it expires. Raises GrantError where nothing can sign it."""
    if not settings.serving.signing_secrets:
        raise GrantError(
            "nothing to sign it with: set STITCH_SERVING__TOKEN_SECRETS (or …_FILE), here and for the reader; "
            "`openssl rand -base64 32` makes a secret"
        )
    expires = datetime.now(UTC) + lasting
    return sign(grant, expires, settings.serving.signing_secrets), expires


def link_of(settings: Settings, counter: str, key: str, lasting: timedelta, site: str | None) -> Link:
    """A link to one key's page, with a token for it alone. Raises GrantError."""
    if counter not in (names := [one.name for one in settings.counters]):
        raise GrantError(f"no counter {counter!r}; there are {', '.join(names)}")
    token, expires = signed(settings, Grant(f"link:{counter}/{key}", (counter,), (key,)), lasting)
    host = f"[{settings.serving.host}]" if ":" in settings.serving.host else settings.serving.host
    base = (site or f"http://{host}:{settings.serving.port}").rstrip("/")
    page, frame = (f"{base}/{kind}/{counter}?key={quote(key, safe='')}#token={token}" for kind in ("stats", "embed"))
    return Link(page, frame, expires)


def lines(grant: Grant, secret: str) -> str:
    """What the settings say of a token that is not signed: its SHA-256, and what it grants."""
    found = [f"[serving.tokens.{grant.name}]", f'sha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"']
    said = ((name, getattr(grant, name)) for name in ("counters", "keys", "key_prefix", "list_keys"))
    return "\n".join([*found, *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in said if value)])


def _grant(claims: dict[str, Any]) -> Grant:
    """Strict, so that a claim of another form does not grant more than was meant by it."""
    counters, keys, prefix = _texts(claims, "counters"), _texts(claims, "keys"), claims.get("key_prefix")
    if prefix is not None and not (isinstance(prefix, str) and prefix):
        raise BadToken("the token's key_prefix is not a text")
    return Grant(claims["sub"], counters, keys, prefix, claims.get("list_keys") is True)


def _texts(claims: dict[str, Any], name: str) -> tuple[str, ...] | None:
    if name not in claims:
        return None
    values = claims[name]
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise BadToken(f"the token's {name} are not a list of texts")
    return tuple(values)
