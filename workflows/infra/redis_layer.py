"""The channel layer of an installation with Redis, with fewer round trips per message.

Channels' own layer needs four round trips to send a message to a group, one after another, and
four to receive it. Each costs both processes more than what Redis does. Here it is two and one.
Its keys and messages are the same, so that processes with either layer notify each other.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from channels_redis.core import RedisChannelLayer

Base: Any = RedisChannelLayer  # Channels publishes no types

FULL_PAUSE_SECONDS: Final = 60.0  # between two log lines about full channels

logger = logging.getLogger(__name__)

# For each channel: drop old messages, and add this one unless the channel is full. Returns the
# number of full ones.
_SEND: Final = """
    local full = 0
    for i = 1, #KEYS do
        redis.call('ZREMRANGEBYSCORE', KEYS[i], 0, ARGV[#ARGV])
        if redis.call('ZCARD', KEYS[i]) < tonumber(ARGV[i + #KEYS]) then
            redis.call('ZADD', KEYS[i], ARGV[#ARGV - 2], ARGV[i])
            redis.call('EXPIRE', KEYS[i], ARGV[#ARGV - 1])
        else
            full = full + 1
        end
    end
    return full
"""


class FewRoundTripsLayer(Base):  # type: ignore[misc]
    """A Redis layer whose messages may be lost if their receiver is cancelled meanwhile.

    A lost message delays an update (`notifications.py`).
    """

    _logged_full_at = -FULL_PAUSE_SECONDS  # on the monotonic clock

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to each member of a group; a full channel does not receive it.

        Raises TypeError for an invalid name.
        """
        self.require_valid_group_name(group)
        full = 0
        for index, keys, arguments in await self._addressed(group, message):
            now = time.time()
            ages = now, int(self.expiry), int(now) - int(self.expiry)
            full += await self.connection(index).eval(
                _SEND, len(keys), *keys, *arguments, *ages
            )
        if full:
            self._report_full(full, group)

    def _report_full(self, full: int, group: str) -> None:
        """Log it once per FULL_PAUSE_SECONDS: a page that does not read has many messages."""
        now = time.monotonic()
        if now - self._logged_full_at >= FULL_PAUSE_SECONDS:
            self._logged_full_at = now
            logger.warning(
                "%s channels of group %s are full and missed a message", full, group
            )

    async def _addressed(
        self, group: str, message: dict[str, Any]
    ) -> list[tuple[int, list[str], list[Any]]]:
        """Return the keys of the members' channels by server, with their messages and sizes."""
        key = self._group_key(group)
        members = self.connection(self.consistent_hash(group)).pipeline(
            transaction=False
        )
        members.zremrangebyscore(key, min=0, max=int(time.time()) - self.group_expiry)
        members.zrange(key, 0, -1)
        _, names = await members.execute()
        by_server, messages, sizes = self._map_channel_keys_to_connection(
            [name.decode() for name in names], message
        )
        return [
            (
                index,
                keys,
                [*(messages[key] for key in keys), *(sizes[key] for key in keys)],
            )
            for index, keys in by_server.items()
        ]

    async def _brpop_with_clean(
        self,
        index: int,
        channel: str,
        timeout: int,  # noqa: ASYNC109 - Channels' signature
    ) -> bytes | None:
        """Return the next message of a channel, None after `timeout` seconds.

        Channels keeps a copy until the message is delivered. It is written after the message
        was taken, and deleted at once, so that it protects from a cancellation in between only.
        """
        found = await self.connection(index).bzpopmin(channel, timeout=timeout)
        return None if found is None else found[1]

    async def _clean_receive_backup(self, index: int, channel: str) -> None:
        """Do nothing: there is no copy."""
