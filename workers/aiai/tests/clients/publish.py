"""Publishes with nats-py: publish.py <url> <messages.ndjson>.

Each line of the file is {"subject": …, "payload": …}. Prints "<line> <sequence>" for each acknowledgement.
"""

import asyncio
import json
import sys

import nats


async def main(url, path):
    with open(path, encoding="utf-8") as file:
        messages = [json.loads(line) for line in file]
    client = await nats.connect(url)
    jetstream = client.jetstream()

    async def publish(number, message):
        ack = await jetstream.publish(message["subject"], message["payload"].encode(), timeout=10)
        print(number, ack.seq, flush=True)

    for first in range(0, len(messages), 100):
        window = enumerate(messages[first : first + 100], first)
        await asyncio.gather(*(publish(number, message) for number, message in window))
    await client.drain()


asyncio.run(main(*sys.argv[1:]))
