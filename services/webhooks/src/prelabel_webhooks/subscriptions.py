"""Subscriptions as they are: read from the compacted topic, changed by writing there."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from prelabel_contract import names
from prelabel_contract.events import AnyEvent, Sealed, SubscriptionChanged, SubscriptionDisabled, event
from prelabel_runtime.bus.base import Bus
from prelabel_runtime.clock import Clock
from prelabel_runtime.loop import messages
from prelabel_runtime.tables import Table

from .signing import new_secret
from .vault import Vault

SOURCE = "/webhooks"
MAX_SECRETS = 11
"""Active at a time: the newest, and at most ten old ones."""
ACTIVE, DISABLED = "active", "disabled"


def table(bus: Bus, rng: random.Random) -> Table[SubscriptionChanged]:
    """The topic's newest rows."""
    return Table(bus, names.ACCESS, SubscriptionChanged, rng=rng)


def header_purpose(subscription: str, name: str) -> str:
    """What the value of a header is sealed for."""
    return f"{subscription} header {name.lower()}"


def secret_purpose(subscription: str) -> str:
    """What a signing secret is sealed for."""
    return f"{subscription} secret"


@dataclass(slots=True)
class Subscriptions:
    """All subscriptions, and the ways to change one."""

    bus: Bus
    rows: Table[SubscriptionChanged]
    vault: Vault
    clock: Clock
    random_bytes: Callable[[int], bytes]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def all(self) -> Mapping[str, SubscriptionChanged]:
        """Those that are not deleted, by id."""
        return {row.id: row for row in self.rows.rows().values() if not row.deleted}

    def get(self, subscription: str) -> SubscriptionChanged | None:
        """One, as far as this process has read."""
        row = self.rows.get(f"subscription/{subscription}")
        return None if row is None or row.deleted else row

    async def add(self, row: SubscriptionChanged, headers: Mapping[str, str]) -> tuple[SubscriptionChanged, str]:
        """A new one with a secret of its own, which is returned beside it."""
        secret = new_secret(row.signing, self.random_bytes)
        sealed = self.vault.seal(secret, purpose=secret_purpose(row.id))
        row = row.model_copy(update={"secrets": (sealed,), "headers": self.seal_headers(row.id, headers)})
        await self._publish(row)
        return row, secret

    async def change(self, subscription: str, **changes: object) -> SubscriptionChanged | None:
        """Change some fields. None if there is no such subscription."""
        async with self._turn:
            await self.rows.catch_up()
            row = self.get(subscription)
            if row is None:
                return None
            changed = row.model_copy(update={**changes, "version": row.version + 1})
            await self._publish(changed)
            return changed

    async def rotate(self, subscription: str, overlap_seconds: float) -> str | None:
        """A new secret, beside which the old ones sign until the overlap is over. None if there is no such one."""
        async with self._turn:
            await self.rows.catch_up()
            row = self.get(subscription)
            if row is None:
                return None
            secret = new_secret(row.signing, self.random_bytes)
            now_ms = self.clock.now_ms()
            ends_ms = now_ms + round(1000 * overlap_seconds)
            old = [
                one.model_copy(update={"expires_ms": min(one.expires_ms or ends_ms, ends_ms)})
                for one in active(row.secrets, now_ms)
            ]
            sealed = self.vault.seal(secret, purpose=secret_purpose(row.id))
            kept = (sealed, *active(old, now_ms))[:MAX_SECRETS]
            await self._publish(row.model_copy(update={"secrets": kept, "version": row.version + 1}))
            return secret

    async def disable(self, subscription: str, reason: str, since_ms: int | None) -> None:
        """Stop delivering, and tell why on the audit topic. Nothing happens if that was done already."""
        async with self._turn:
            await self.rows.catch_up()
            row = self.get(subscription)
            if row is None or row.state != ACTIVE:
                return
            changed = row.model_copy(update={"state": DISABLED, "reason": reason, "version": row.version + 1})
            told = SubscriptionDisabled(
                subscription=row.id, url=row.url.partition("?")[0], reason=reason, since_ms=since_ms,
                projects=row.projects,
            )  # fmt: skip
            await self._publish(changed, told)

    async def reseal(self, row: SubscriptionChanged) -> None:
        """Encrypt a subscription's secrets under the newest key. Raises `Unopenable`."""
        async with self._turn:
            await self.rows.catch_up()
            current = self.get(row.id)
            if current is None or self.newest(current):
                return
            headers = {
                name: self.vault.anew(value, purpose=header_purpose(row.id, name))
                for name, value in current.headers.items()
            }
            secrets = tuple(self.vault.anew(one, purpose=secret_purpose(row.id)) for one in current.secrets)
            update = {"headers": headers, "secrets": secrets, "version": current.version + 1}
            await self._publish(current.model_copy(update=update))

    def newest(self, row: SubscriptionChanged) -> bool:
        """Whether everything secret in it is under the newest key."""
        return all(self.vault.newest(one) for one in (*row.secrets, *row.headers.values()))

    async def delete(self, subscription: str) -> bool:
        """Forget it, secrets included. False if there is no such subscription."""
        gone = {"deleted": True, "secrets": (), "headers": {}, "url": "", "description": ""}
        return await self.change(subscription, **gone) is not None

    def seal_headers(self, subscription: str, headers: Mapping[str, str]) -> dict[str, Sealed]:
        """Values of headers, encrypted."""
        return {
            name: self.vault.seal(value, purpose=header_purpose(subscription, name)) for name, value in headers.items()
        }

    async def _publish(self, row: SubscriptionChanged, *also: SubscriptionDisabled) -> None:
        now_ms = self.clock.now_ms()
        changed: list[AnyEvent] = [
            event(
                data,
                id=names.derived("subscription", data.TYPE, row.id, row.version),
                source=SOURCE,
                time_ms=now_ms,
            )
            for data in (row, *also)
        ]
        await self.bus.publish(messages(changed))
        await self.rows.catch_up()


def active(secrets: Sequence[Sealed], now_ms: int) -> list[Sealed]:
    """Secrets that sign now."""
    return [one for one in secrets if one.expires_ms is None or one.expires_ms > now_ms]
