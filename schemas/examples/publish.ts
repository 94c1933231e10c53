// From TypeScript: a tool call as a step, in the trace that the request's traceparent names.
//   npm install @nats-io/transport-node @nats-io/jetstream; npx tsx publish.ts

import { jetstream, type PubAck } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";

const connection = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
const traced = headers();
traced.set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

const start = new Date();
const step = {
  name: "execute_tool web_search",
  operation: "execute_tool",
  span_id: "00f067aa0ba902b7",
  start: start.toISOString(),
  end: new Date(start.getTime() + 85).toISOString(),
  attributes: { "gen_ai.tool.name": "web_search", results: 12 },
  source: "example-typescript",
};
const ack: PubAck = await jetstream(connection).publish("ingest.step", JSON.stringify(step), { headers: traced });
console.log("stored at", ack.seq);
await connection.drain();
