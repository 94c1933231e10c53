// Publishes with nats.js: node publish.mjs <url> <messages.ndjson> <node_modules>.
//
// Each line of the file is {"subject": …, "payload": …}. Prints "<line> <sequence>" for each acknowledgement.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [url, path, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { connect } = require("@nats-io/transport-node");
const { jetstream } = require("@nats-io/jetstream");

const messages = readFileSync(path, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const connection = await connect({ servers: url });
const js = jetstream(connection);
for (let first = 0; first < messages.length; first += 100) {
  const window = messages.slice(first, first + 100);
  const acks = await Promise.all(window.map(({ subject, payload }) => js.publish(subject, payload, { timeout: 10000 })));
  acks.forEach((ack, at) => console.log(`${first + at} ${ack.seq}`));
}
await connection.drain();
