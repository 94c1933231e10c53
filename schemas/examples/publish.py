"""From Python: one agent's session, and what its model call used.

pip install nats-py; python publish.py
"""

import asyncio
import json
import os

import nats


async def main():
    client = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    jetstream = client.jetstream()

    async def publish(kind, event):
        event = {"source": "example-python", "session": "s-1", **event}
        ack = await jetstream.publish(f"ingest.{kind}", json.dumps(event).encode())
        print("stored at", ack.seq)

    await publish("session", {"state": "started", "title": "tidy the backlog"})
    await publish("usage", {"model": "claude-sonnet-4-5", "provider": "anthropic", "tokens_in": 1200,
                            "tokens_cache_read": 1000, "tokens_out": 340, "latency_ms": 2150.5})
    await publish("session", {"state": "ended"})
    await client.drain()


asyncio.run(main())
