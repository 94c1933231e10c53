// Publishes with nats.go: publish <url> <messages.ndjson>.
//
// Each line of the file is {"subject": …, "payload": …}. Prints "<line> <sequence>" for each acknowledgement.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type message struct {
	Subject string `json:"subject"`
	Payload string `json:"payload"`
}

func main() {
	url, path := os.Args[1], os.Args[2]
	file, err := os.Open(path)
	check(err)
	connection, err := nats.Connect(url)
	check(err)
	defer connection.Close()
	js, err := jetstream.New(connection)
	check(err)

	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1024*1024)
	var acks []jetstream.PubAckFuture
	for lines.Scan() {
		var m message
		check(json.Unmarshal(lines.Bytes(), &m))
		ack, err := js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Data: []byte(m.Payload)})
		check(err)
		acks = append(acks, ack)
	}
	check(lines.Err())

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for number, ack := range acks {
		select {
		case stored := <-ack.Ok():
			fmt.Println(number, stored.Sequence)
		case err := <-ack.Err():
			check(err)
		case <-ctx.Done():
			check(ctx.Err())
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
