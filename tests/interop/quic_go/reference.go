// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/lucas-clemente/quic-go"
)

// What the reference implementation of mpquic does: ALPN mpquic-ip, bare IP packets in datagrams, no certificate of the
// client. A first datagram of four bytes is the client's TUN address; otherwise the source of its first packet is.
const (
	referenceALPN      = "mpquic-ip"
	referenceKeepAlive = 15 * time.Second
	referenceIdle      = 60 * time.Second
	superseded         = "superseded"
)

func referenceConfig() *quic.Config {
	return &quic.Config{
		Versions:        []quic.VersionNumber{quic.Version1},
		EnableDatagrams: true,
		MaxIdleTimeout:  referenceIdle,
		KeepAlivePeriod: referenceKeepAlive,
	}
}

// referencePlan is what a client of the reference is to do.
type referencePlan struct {
	// Sent as the first datagram if it is given.
	Register *netip.Addr `json:"register"`
	Pin      string      `json:"pin"`
	// Length of its connection ids: the reference's own depends on how it dials, 0 or 4.
	ConnectionIDs int      `json:"connection_ids"`
	Echoes        []echoes `json:"echoes"`
	Stay          bool     `json:"stay"`
}

func referenceClient(address, arguments string) error {
	var plan referencePlan
	if err := strict(arguments, &plan); err != nil {
		return err
	}
	security, err := security("", plan.Pin, referenceALPN)
	if err != nil {
		return err
	}
	config := referenceConfig()
	config.ConnectionIDLength = plan.ConnectionIDs
	connection, err := quic.DialAddr(address, security, config)
	if err != nil {
		return say(outcome{counts: newHost(nil).counts, End: end(err)})
	}
	host := newHost(connection.SendMessage)
	if plan.Register != nil {
		if err := connection.SendMessage(plan.Register.AsSlice()); err != nil {
			return err
		}
	}
	go func() {
		for {
			packet, err := connection.ReceiveMessage()
			if err != nil {
				return
			}
			host.take(packet, "bare")
		}
	}()
	if err := say(map[string]any{"connected": true}); err != nil {
		return err
	}
	for _, echoes := range plan.Echoes {
		if err := host.exchange(echoes); err != nil {
			break // the end of the connection tells why
		}
	}
	if plan.Stay {
		wait(connection.Context())
	}
	_ = connection.CloseWithError(0, "done")
	_, err = connection.ReceiveMessage()
	for err == nil {
		_, err = connection.ReceiveMessage()
	}
	host.Lock()
	defer host.Unlock()
	return say(outcome{counts: host.counts, End: end(err)})
}

// referenceServer is a server with one tunnel, which answers pings and echoes UDP itself, whatever the destination.
type referenceServer struct {
	sync.Mutex
	active quic.Connection
	report struct {
		// TUN addresses of the clients and how they were learnt, in order.
		Clients []string `json:"clients"`
		How     []string `json:"how"`
		Pings   int      `json:"pings"`
		Echoes  int      `json:"echoes"`
		// Answers to the pings that the server sends to a client that has registered.
		Answers int      `json:"answers"`
		Faults  []string `json:"faults"`
	}
}

// Pings from this address go to a client that has registered before it has sent a packet.
var ownAddress = netip.AddrFrom4([4]byte{10, 200, 9, 2})

const ownPings = 5

func serveReference(address, directory string) error {
	security, err := security(directory, "", referenceALPN)
	if err != nil {
		return err
	}
	listener, err := quic.ListenAddr(address, security, referenceConfig())
	if err != nil {
		return err
	}
	if err := say(map[string]any{"listening": listener.Addr().String()}); err != nil {
		return err
	}
	server := &referenceServer{}
	server.report.Clients, server.report.How, server.report.Faults = []string{}, []string{}, []string{}
	go func() {
		for {
			connection, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go server.serve(connection)
		}
	}()
	wait(context.Background())
	server.Lock()
	if server.active != nil {
		_ = server.active.CloseWithError(0, "server stops")
	}
	defer server.Unlock()
	_ = listener.Close()
	return say(server.report)
}

func (s *referenceServer) serve(connection quic.Connection) {
	s.Lock()
	if s.active != nil {
		_ = s.active.CloseWithError(0, superseded)
	}
	s.active = connection
	s.Unlock()
	first := true
	for {
		packet, err := connection.ReceiveMessage()
		if err != nil {
			return
		}
		s.Lock()
		if first {
			s.register(connection, packet)
		}
		if !first || len(packet) != 4 {
			s.take(connection, packet)
		}
		s.Unlock()
		first = false
	}
}

func (s *referenceServer) register(connection quic.Connection, first []byte) {
	how, client := "registration", netip.Addr{}
	if len(first) == 4 {
		client, _ = netip.AddrFromSlice(first)
	} else {
		how = "packet"
		found, err := parse(first)
		if err != nil {
			s.report.Faults = append(s.report.Faults, "first datagram: "+err.Error())
			return
		}
		client = found.source
	}
	s.report.Clients = append(s.report.Clients, client.String())
	s.report.How = append(s.report.How, how)
	if how == "packet" {
		return
	}
	for number := 0; number < ownPings; number++ {
		segment := []byte{8, 0, 0, 0, 0x23, 0x82, 0, 0}
		binary.BigEndian.PutUint16(segment[6:], uint16(number))
		ping := marshal(ownAddress, client, icmp4, segment, 2)
		go connection.SendMessage(ping)
	}
}

func (s *referenceServer) take(connection quic.Connection, packet []byte) {
	found, err := parse(packet)
	if err != nil {
		s.report.Faults = append(s.report.Faults, err.Error())
		return
	}
	if answer := found.pong(); answer != nil {
		s.report.Pings++
		go connection.SendMessage(answer)
		return
	}
	if found.protocol == icmp4 && len(found.transport) >= 8 && found.transport[0] == 0 && found.destination == ownAddress {
		s.report.Answers++
		return
	}
	if found.protocol != udp {
		return
	}
	echo, err := found.asUDP()
	if err != nil {
		s.report.Faults = append(s.report.Faults, err.Error())
		return
	}
	s.report.Echoes++
	echo.source, echo.destination = echo.destination, echo.source
	go connection.SendMessage(echo.marshal())
}
