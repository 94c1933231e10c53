// From OpenTelemetry in Node: the call becomes a step, and a usage with its cost.
//   npm install @opentelemetry/api @opentelemetry/sdk-node
//   OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_SERVICE_NAME=example-otel-node node otel.mjs

import { trace } from "@opentelemetry/api";
import { NodeSDK } from "@opentelemetry/sdk-node";

const sdk = new NodeSDK();
sdk.start();
const tracer = trace.getTracer("example");

await tracer.startActiveSpan("chat claude-sonnet-4-5", async (call) => {
  call.setAttributes({
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.conversation.id": "c-8",
    "gen_ai.usage.input_tokens": 2000,
    "gen_ai.usage.cache_read.input_tokens": 1500,
    "gen_ai.usage.output_tokens": 64,
  });
  call.end();
});

await sdk.shutdown();
