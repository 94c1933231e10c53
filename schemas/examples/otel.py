"""From OpenTelemetry in Python: the call becomes a step, and a usage with its cost.

pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 OTEL_SERVICE_NAME=example-otel-python python otel.py
"""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("example")

with tracer.start_as_current_span("invoke_agent planner") as agent:
    agent.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "c-7"})
    with tracer.start_as_current_span("chat gpt-4o") as call:
        call.set_attributes({
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 120})

provider.shutdown()
