// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/lucas-clemente/quic-go"
	"github.com/lucas-clemente/quic-go/quicvarint"
)

const (
	contextIP      = 0
	contextPartial = 6
	closeOrdinary  = 0
	closeRefused   = 1
	// How long the end of standard input, which ends a tunnel, or the end of the connection may take.
	stay = time.Minute
	// Between what must not overtake each other: datagrams and streams are not ordered.
	apart = 200 * time.Millisecond
)

// plan is what a client of mpq/1 is to do; see tests/interop/README.md.
type plan struct {
	Identity string         `json:"identity"`
	Pin      string         `json:"pin"`
	Prefixes []netip.Prefix `json:"prefixes"`
	Early    *echoes        `json:"early"`
	Skipped  []int          `json:"skipped"`
	Long     bool           `json:"long"`
	Echoes   []echoes       `json:"echoes"`
	Rebind   bool           `json:"rebind"`
	Stay     bool           `json:"stay"`
}

// outcome is what a client has seen.
type outcome struct {
	counts
	Retried    bool           `json:"retried"`
	Versions   []uint64       `json:"versions"`
	Registered []netip.Prefix `json:"registered"`
	Refused    *refusal       `json:"refused"`
	End        ending         `json:"end"`
}

// ending tells how a connection ended.
type ending struct {
	Kind   string `json:"kind"`
	ByPeer bool   `json:"by_peer"`
	Code   uint64 `json:"code"`
	Reason string `json:"reason"`
}

// tunnel is a client written from docs/protocol.md.
func tunnel(address, arguments string) error {
	var plan plan
	if err := strict(arguments, &plan); err != nil {
		return err
	}
	security, err := security(plan.Identity, plan.Pin, alpn)
	if err != nil {
		return err
	}
	remote, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return err
	}
	socket := &movable{}
	if err := socket.move(); err != nil {
		return err
	}
	connection, err := quic.Dial(socket, remote, address, security, &quic.Config{
		Versions:              []quic.VersionNumber{quic.Version1},
		ConnectionIDLength:    8,
		EnableDatagrams:       true,
		MaxIdleTimeout:        30 * time.Second,
		KeepAlivePeriod:       5 * time.Second,
		MaxIncomingStreams:    -1,
		MaxIncomingUniStreams: -1,
		Tracer:                tracer{},
	})
	if err != nil {
		return say(outcome{counts: newHost(nil).counts, Retried: result.Retried, End: end(err)})
	}
	host := newHost(func(packet []byte) error {
		return connection.SendMessage(append([]byte{contextIP}, packet...))
	})
	var outcome outcome
	err = outcome.run(connection, socket, host, plan)
	code, reason := quic.ApplicationErrorCode(closeOrdinary), "done"
	if err != nil && connection.Context().Err() == nil {
		code, reason = closeRefused, err.Error()
	}
	_ = connection.CloseWithError(code, reason)
	host.Lock()
	defer host.Unlock()
	outcome.counts = host.counts
	outcome.Retried = result.Retried
	_, ended := connection.ReceiveMessage()
	for ended == nil { // it hands out what had come before
		_, ended = connection.ReceiveMessage()
	}
	outcome.End = end(ended)
	return say(outcome)
}

func (o *outcome) run(connection quic.Connection, socket *movable, host *host, plan plan) error {
	if plan.Early != nil {
		time.Sleep(apart)
		for number := 0; number < plan.Early.Count; number++ {
			if err := host.send(plan.Early.packet(number)); err != nil {
				return err
			}
		}
		time.Sleep(apart)
	}
	stream, err := connection.OpenStream()
	if err != nil {
		return err
	}
	control := control{stream: quicvarint.NewReader(stream)}
	if _, err := rand.Read(control.id[:]); err != nil {
		return err
	}
	var opening []byte
	for _, size := range plan.Skipped {
		opening = append(opening, capsule(capsuleReserved, make([]byte, size))...)
	}
	opening = append(opening, hello()...)
	for _, size := range plan.Skipped {
		opening = append(opening, capsule(capsuleReserved, make([]byte, size))...)
	}
	if _, err := stream.Write(append(opening, register(control.id, plan.Prefixes)...)); err != nil {
		return err
	}
	o.Registered, o.Refused, err = control.answer()
	o.Versions = control.versions
	if err != nil || o.Refused != nil {
		return err
	}
	go receive(connection, host)
	if _, err := stream.Write(confirm(control.id)); err != nil {
		return err
	}
	if err := say(map[string]any{"registered": o.Registered}); err != nil {
		return err
	}
	for number, echoes := range plan.Echoes {
		if plan.Rebind && number == len(plan.Echoes)-1 {
			if err := socket.move(); err != nil {
				return err
			}
		}
		if err := host.exchange(echoes); err != nil {
			return err
		}
	}
	if plan.Rebind {
		if err := say(map[string]any{"rebound": true}); err != nil {
			return err
		}
	}
	if plan.Long {
		if _, err := stream.Write([]byte{0x40, 0x40, 0x80, 0x00, 0x40, 0x01}); err != nil { // a type to skip, of 16385 bytes
			return err
		}
	}
	if plan.Stay || plan.Long {
		wait(connection.Context())
	}
	return nil
}

// receive takes payloads until the connection ends.
func receive(connection quic.Connection, host *host) {
	for {
		payload, err := connection.ReceiveMessage()
		if err != nil {
			return
		}
		reader := bytes.NewReader(payload)
		number, err := quicvarint.Read(reader)
		packet := payload[len(payload)-reader.Len():]
		if err == nil && number == contextPartial {
			err = complete(packet)
		}
		if err == nil && number != contextIP && number != contextPartial {
			err = fmt.Errorf("context %d", number)
		}
		if err != nil {
			host.Lock()
			host.fault(err.Error())
			host.Unlock()
			continue
		}
		host.take(packet, fmt.Sprint(number))
	}
}

// wait waits until the connection has ended or standard input has.
func wait(connection context.Context) {
	input := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(input)
	}()
	select {
	case <-connection.Done():
	case <-input:
	case <-time.After(stay):
	}
}

func end(err error) ending {
	var application *quic.ApplicationError
	var transport *quic.TransportError
	var idle *quic.IdleTimeoutError
	switch {
	case errors.As(err, &application):
		return ending{"application", application.Remote, uint64(application.ErrorCode), application.ErrorMessage}
	case errors.As(err, &transport):
		return ending{"transport", transport.Remote, uint64(transport.ErrorCode), transport.ErrorMessage}
	case errors.As(err, &idle):
		return ending{Kind: "timeout"}
	}
	return ending{Kind: "other", Reason: err.Error()}
}

// strict reads JSON that says nothing unknown.
func strict(text string, into any) error {
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
