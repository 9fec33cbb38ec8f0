"""A peer of py-libp2p that does what it is told, for the tests beside it.

It prints one JSON object when it listens, reads one JSON object per line from standard input, and prints one in return for each.
It ends with its input.
"""

import json
import logging
import sys

from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.discovery.rendezvous import RendezvousClient, RendezvousService
from libp2p.discovery.rendezvous import client as rendezvous_client
from libp2p.discovery.rendezvous.errors import RendezvousError
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.utils.version import get_agent_version
from multiaddr import Multiaddr
import trio

# The client refuses to ask for less than two minutes. Nothing else of it is changed: its refresher has its own 7/8 of the lifetime.
rendezvous_client.MIN_TTL = 1


class Peer:
    def __init__(self, host, nursery):
        self.host = host
        self.nursery = nursery
        self.clients = {}
        self.service = None

    def client(self, point, refresh=False):
        known = self.clients.get((point, refresh))
        if known is None:
            known = RendezvousClient(self.host, ID.from_string(point), enable_refresh=refresh)
            known.set_nursery(self.nursery)
            self.clients[(point, refresh)] = known
        return known

    async def serve(self, _):
        self.service = RendezvousService(self.host)
        return {}

    async def connect(self, command):
        await self.host.connect(info_from_p2p_addr(Multiaddr(command["address"])))
        return {}

    async def register(self, command):
        client = self.client(command["point"], command.get("refresh", False))
        return {"ttl": await client.register(command["namespace"], command["ttl"])}

    async def unregister(self, command):
        client = self.client(command["point"], command.get("refresh", False))
        await client.unregister(command["namespace"])
        return {}

    async def discover(self, command):
        cookie = bytes.fromhex(command.get("cookie", ""))
        client = self.client(command["point"])
        peers, cookie = await client.discover(command["namespace"], command.get("limit", 100), cookie)
        found = [{"peer": str(peer.peer_id), "addresses": [str(address) for address in peer.addrs]} for peer in peers]
        return {"found": found, "cookie": cookie.hex()}

    async def registered(self, command):
        """What the service here has registered in a namespace."""
        records = self.service.registrations.get(command["namespace"], {}).values()
        live = [record for record in records if not record.is_expired()]
        return {
            "found": [
                {"peer": str(record.peer_id), "addresses": [str(Multiaddr(addr)) for addr in record.addrs], "ttl": record.ttl}
                for record in live
            ]
        }


async def main():
    host = new_host(key_pair=create_new_key_pair())
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]), trio.open_nursery() as nursery:
        peer = Peer(host, nursery)
        addresses = [str(address) for address in host.get_addrs()]
        say({"peer": str(host.get_id()), "addresses": addresses, "agent": get_agent_version()})
        async for line in trio.wrap_file(sys.stdin):
            command = json.loads(line)
            try:
                say(await getattr(peer, command["do"])(command))
            except RendezvousError as error:
                say({"status": int(error.status), "text": error.message})
            except Exception as error:
                say({"error": f"{type(error).__name__}: {error}"})
        nursery.cancel_scope.cancel()


def say(answer):
    print(json.dumps(answer), flush=True)


logging.disable(logging.CRITICAL)
trio.run(main)
