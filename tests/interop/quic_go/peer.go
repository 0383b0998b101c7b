// SPDX-License-Identifier: GPL-3.0-or-later

// Endpoints made with quic-go.
//
//	peer server|client ADDRESS DIRECTORY PIN KEY_PACKETS
//
// sends every datagram back. DIRECTORY holds this end's cert.pem and key.pem, PIN is sha256:<hex> of the other end's public
// key, KEY_PACKETS is after how many packets under one key it begins a key update. A server takes one connection and demands
// a client certificate. One line of JSON says where a server listens, one more at the end of the connection what happened.
//
//	peer tunnel ADDRESS PLAN
//	peer reference-client ADDRESS PLAN
//	peer reference-server ADDRESS DIRECTORY
//
// are a client of mpq/1, written from docs/protocol.md, and both ends as the reference implementation has them; for these see
// tests/interop/README.md.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lucas-clemente/quic-go"
	"github.com/lucas-clemente/quic-go/internal/handshake"
	"github.com/lucas-clemente/quic-go/logging"
)

const (
	alpn  = "mpq/1"
	usage = `usage: peer server|client ADDRESS DIRECTORY PIN KEY_PACKETS
       peer tunnel|reference-client ADDRESS PLAN
       peer reference-server ADDRESS DIRECTORY`
)

type report struct {
	Received      int64  `json:"received"`
	Repeated      int64  `json:"repeated"`
	Sent          int64  `json:"sent"`
	OwnUpdates    int64  `json:"own_updates"`
	PeersUpdates  int64  `json:"peers_updates"`
	Undecryptable int64  `json:"undecryptable"`
	Duplicates    int64  `json:"duplicates"`
	Retried       bool   `json:"retried"`
	End           string `json:"end"`
}

var result report

type tracer struct {
	logging.NullTracer
}

func (tracer) TracerForConnection(context.Context, logging.Perspective, logging.ConnectionID) logging.ConnectionTracer {
	return counter{}
}

type counter struct {
	logging.NullConnectionTracer
}

func (counter) UpdatedKey(_ logging.KeyPhase, remote bool) {
	if remote {
		atomic.AddInt64(&result.PeersUpdates, 1)
	} else {
		atomic.AddInt64(&result.OwnUpdates, 1)
	}
}

func (counter) ReceivedRetry(*logging.Header) {
	result.Retried = true
}

func (counter) DroppedPacket(kind logging.PacketType, _ logging.ByteCount, reason logging.PacketDropReason) {
	if kind != logging.PacketType1RTT {
		return // keys of the handshake are gone early, by design
	}
	switch reason {
	case logging.PacketDropDuplicate:
		atomic.AddInt64(&result.Duplicates, 1)
	case logging.PacketDropPayloadDecryptError, logging.PacketDropKeyUnavailable:
		atomic.AddInt64(&result.Undecryptable, 1)
	}
}

func main() {
	arguments := os.Args[1:]
	var err error
	switch {
	case len(arguments) == 5 && (arguments[0] == "server" || arguments[0] == "client"):
		err = run(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4])
	case len(arguments) == 3 && arguments[0] == "tunnel":
		err = tunnel(arguments[1], arguments[2])
	case len(arguments) == 3 && arguments[0] == "reference-client":
		err = referenceClient(arguments[1], arguments[2])
	case len(arguments) == 3 && arguments[0] == "reference-server":
		err = serveReference(arguments[1], arguments[2])
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(64)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(role, address, directory, pin, packets string) error {
	var err error
	if handshake.KeyUpdateInterval, err = strconv.ParseUint(packets, 10, 64); err != nil {
		return err
	}
	security, err := security(directory, pin, alpn)
	if err != nil {
		return err
	}
	security.ClientAuth = tls.RequireAnyClientCert
	config := &quic.Config{EnableDatagrams: true, MaxIdleTimeout: 10 * time.Second, Tracer: tracer{}}
	var connection quic.Connection
	if role == "server" {
		connection, err = accept(address, security, config)
	} else {
		connection, err = quic.DialAddr(address, security, config)
	}
	if err != nil {
		return err
	}
	result.End = echo(connection).Error()
	return json.NewEncoder(os.Stdout).Encode(result)
}

// security returns how to recognise the peer: by its pin. Without a directory this end has no certificate, without a pin it
// takes any peer.
func security(directory, pin, alpn string) (*tls.Config, error) {
	config := &tls.Config{
		InsecureSkipVerify: true, // the pin is what counts
		NextProtos:         []string{alpn},
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if pin == "" {
				return nil
			}
			certificate, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			digest := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
			if "sha256:"+hex.EncodeToString(digest[:]) != pin {
				return errors.New("not the pinned key")
			}
			return nil
		},
	}
	if directory == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(directory+"/cert.pem", directory+"/key.pem")
	config.Certificates = []tls.Certificate{pair}
	return config, err
}

func accept(address string, security *tls.Config, config *quic.Config) (quic.Connection, error) {
	listener, err := quic.ListenAddr(address, security, config)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Printf("{\"listening\": %q}\n", listener.Addr()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return listener.Accept(ctx)
}

// echo sends datagrams back until the connection ends, and returns why it ended.
func echo(connection quic.Connection) error {
	seen := make(map[string]bool)
	for {
		payload, err := connection.ReceiveMessage()
		if err != nil {
			return err
		}
		result.Received++
		if seen[string(payload)] {
			result.Repeated++
		}
		seen[string(payload)] = true
		if err := connection.SendMessage(payload); err != nil {
			return err
		}
		result.Sent++
	}
}
