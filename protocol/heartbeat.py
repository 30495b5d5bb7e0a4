"""Whether a silent peer is still there: it is pinged, and given up if nothing comes back in time.

A host that vanished closes no socket, and a process that was stopped answers nothing. Whatever comes from the peer is a
sign of life, and so is that it takes much that had to wait: a slow line is no dead one. It does not know who declared
`ping`, nor which transports need it: its caller does. `link` is below.
"""

from __future__ import annotations

import trio
from msgspec import Struct

from protocol.errors import LinkClosed, RemoteProtocolError
from protocol.link import Link
from protocol.methods import PING
from protocol.types import Empty


class Heartbeat(Struct, frozen=True):
    """How long a peer may be silent. One that is gone is given up within the sum of both times.

    Args:
        ping_after_s: So long without a sign of life, and it is pinged.
        ping_timeout_s: So long after the ping it is given up.
    """

    ping_after_s: float = 15.0
    ping_timeout_s: float = 30.0

    async def watch(self, link: Link) -> None:
        """Pings a peer whenever it is silent, until its link has ended; breaks the link of one that is gone.

        Cancellation:
            Leaves the link as it is.
        """
        try:
            while await self._has_life(link):
                pass
        except LinkClosed:
            return
        link.give_up(
            RemoteProtocolError(
                f"it was silent for {self.ping_after_s:g} s (limits.pingAfterMs), "
                f"and for {self.ping_timeout_s:g} s after a ping (limits.pingTimeoutMs)",
                limit="pingTimeoutMs",
                value=round(self.ping_timeout_s * 1000),
            )
        )

    async def _has_life(self, link: Link) -> bool:
        """Waits for the time when a peer could be silent for too long, or pings it if it is."""
        pinged_at, silent_at = trio.current_time(), link.alive_at + self.ping_after_s
        if silent_at > pinged_at:
            await trio.sleep_until(silent_at)
            return True
        with trio.move_on_after(self.ping_timeout_s):
            await link.call(PING, Empty())
        await trio.lowlevel.checkpoint()  # if it is we who were stopped, the answer has come, and is read now
        return link.alive_at >= pinged_at
