"""The file of API keys that a service takes: who may ask for what, and how often. It holds hashes, never a key.

A key is 256 random bits, so one round of SHA-256 hides it as well as a slow hash would hide a password.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.errors import UserError, suggest

Scope = Literal["predict", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "tk_"  # so that a leaked key can be searched for


class ApiKey(BaseModel):
    """One key: ``per_minute`` requests in the long run, at most ``burst`` at once; None is without limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = ("predict",)
    per_minute: float | None = Field(default=None, gt=0)
    burst: int | None = Field(default=None, ge=1)


class ApiKeys(BaseModel):
    """The keys of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    keys: tuple[ApiKey, ...] = ()

    def find(self, given: str) -> ApiKey | None:
        """The key that ``given`` is. Every one is compared in constant time, so the time taken tells nothing."""
        digest = _hash(given)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def read_keys(path: Path) -> ApiKeys:
    """The keys in ``path``; UserError where it is missing or is no file of keys."""
    make = "make one with `toolkit keys new`"
    try:
        keys = ApiKeys.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"keys file {path}: cannot be read ({error.strerror}); {make}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(each) for each in first["loc"]) or "the file"
        raise UserError(f"keys file {path}: {where}: {first['msg']}; {make}") from None
    names = [key.name for key in keys.keys]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"keys file {path}: two keys are named {twice[0]!r}; remove one of them")
    return keys


def add_key(
    path: Path,
    name: str,
    *,
    scopes: Sequence[str] = ("predict",),
    per_minute: float | None = None,
    burst: int | None = None,
) -> str:
    """Make a key, write its hash to ``path`` (made where it is missing, for its owner alone), and return the key.

    The key itself is nowhere kept. Raises UserError for a name that is taken and for values that no key has.
    """
    keys = read_keys(path) if path.exists() else ApiKeys()
    if any(key.name == name for key in keys.keys):
        raise UserError(f"keys file {path}: has a key {name!r} already; give another name or remove that one first")
    for scope in scopes:
        if scope not in SCOPES:
            raise UserError(f"scope {scope!r}: expected one of {', '.join(SCOPES)}{suggest(scope, SCOPES)}")
    given = _PREFIX + secrets.token_urlsafe(32)
    fields = {"name": name, "sha256": _hash(given), "scopes": tuple(dict.fromkeys(scopes))}
    try:
        key = ApiKey.model_validate({**fields, "per_minute": per_minute, "burst": burst})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"key {first['loc'][0]} {first['input']!r}: {_EXPECTED[str(first['loc'][0])]}") from None
    _write(path, ApiKeys(keys=(*keys.keys, key)))
    return given


_EXPECTED = {
    "name": "expected 1 to 64 letters, digits, '.', '_' and '-'",
    "per_minute": "expected a number over 0",
    "burst": "expected an integer from 1 up",
}


def remove_key(path: Path, name: str) -> None:
    """Take the key ``name`` out of ``path``; UserError where it is not in it."""
    keys = read_keys(path)
    kept = tuple(key for key in keys.keys if key.name != name)
    if len(kept) == len(keys.keys):
        names = [key.name for key in keys.keys]
        raise UserError(f"keys file {path}: has no key {name!r}{suggest(name, names)}; it has {', '.join(names)}")
    _write(path, ApiKeys(keys=kept))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _write(path: Path, keys: ApiKeys) -> None:
    """Replace the file in one step: a service that reads it meanwhile sees the old keys or the new ones."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(keys.model_dump(mode="json", exclude_none=True), indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise UserError(f"keys file {path}: cannot be written ({error.strerror})") from None
