"""API keys from the environment, and how many requests a second each of them may send.

`MLOPS_API_KEYS` and `MLOPS_ADMIN_KEYS` hold `name:key` pairs with commas between them; names are for logs, keys never.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops.base.errors import ParameterError

API_KEYS, ADMIN_KEYS = "MLOPS_API_KEYS", "MLOPS_ADMIN_KEYS"
HEADER = "x-api-key"
SHORTEST = 16  # characters of a key: a shorter one can be guessed


def named(variable: str) -> dict[str, bytes]:
    """The SHA-256 of each key in an environment variable, by the name of the key.

    Raises:
        ParameterError: an entry is no `name:key`, a name stands twice, or a key is short.
    """
    found: dict[str, bytes] = {}
    for entry in filter(None, (entry.strip() for entry in os.environ.get(variable, "").split(","))):
        name, colon, key = entry.partition(":")
        if not (colon and name) or name in found or len(key) < SHORTEST:
            raise ParameterError(
                f"{variable} has an entry that is no name:key with a name of its own and a key of at least {SHORTEST} "
                "characters: separate entries by commas, such as ada:…,batch:…"
            )
        found[name] = _digest(key)
    return found


def owner(keys: Mapping[str, bytes], given: str | None) -> str | None:
    """The name of the key that was `given`; None if there is no such key. It always compares with every key."""
    digest = _digest(given or "")
    names = [name for name, known in keys.items() if hmac.compare_digest(known, digest)]
    return names[0] if names and given else None


@dataclass
class Limit:
    """A token bucket for each key: `rate` requests a second, and as many at once. 0 is no limit."""

    rate: float
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def wait(self, name: str, now: float) -> float:
        """Seconds until the key may ask again; 0.0 if it may now, which counts as a request. `now` is in seconds."""
        if not self.rate:
            return 0.0
        most = max(self.rate, 1.0)
        tokens, before = self._left.get(name, (most, now))
        tokens = min(most, tokens + (now - before) * self.rate)
        allowed = tokens >= 1
        self._left[name] = tokens - allowed, now
        return 0.0 if allowed else (1 - tokens) / self.rate


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
