// From Go: many measurements in one message, one a line: go run .
package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

func main() {
	connection, err := nats.Connect(os.Getenv("NATS_URL")) // without: this machine
	check(err)
	jetstream, err := connection.JetStream()
	check(err)
	var lines string
	for tokens := range 100 {
		lines += fmt.Sprintf(`{"name":"tokens.per_turn","value":%d,"metric_type":"histogram","source":"example-go"}`+"\n", tokens)
	}
	ack, err := jetstream.Publish("ingest.metric", []byte(lines))
	check(err)
	fmt.Println("stored at", ack.Sequence)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
