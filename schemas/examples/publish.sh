#!/bin/sh
# From a shell, with the nats CLI. Acknowledged: prints {"stream":"INGEST", "seq":…} once a message is stored.
#   sh publish.sh
set -eu
export NATS_URL="${NATS_URL:-nats://127.0.0.1:4222}"

nats req --raw ingest.metric '{"name":"queue.depth","value":7,"source":"example-shell","tags":{"region":"fsn1"}}'
echo

# A retry with the same Nats-Msg-Id is stored once.
for attempt in 1 2; do
    nats req --raw -H "Nats-Msg-Id: backup-2026-11-20-$$" ingest.event \
        '{"name":"backup.finished","source":"example-shell","data":{"files":1204,"ok":true}}'
    echo
done
