// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

const (
	// Packets under way at a time; quic-go keeps 128 that nobody has taken.
	window = 32
	// A packet that is not answered for so long is sent again, so often.
	patience = 500 * time.Millisecond
	tries    = 8
	ownPort  = 40000
)

// echoes describes UDP packets to send to Target, a host with an echo service. They grow from Smallest to Largest bytes of IP packet.
type echoes struct {
	Target   netip.AddrPort `json:"target"`
	Source   netip.Addr     `json:"source"`
	Count    int            `json:"count"`
	Smallest int            `json:"smallest"`
	Largest  int            `json:"largest"`
}

// packet returns the one with this number.
func (e echoes) packet(number int) []byte {
	around := 28
	if e.Source.Is6() {
		around = 48
	}
	size := e.Smallest
	if e.Count > 1 {
		size += (e.Largest - e.Smallest) * number / (e.Count - 1)
	}
	payload := make([]byte, size-around)
	for i := range payload {
		payload[i] = byte(number*31 + i*7)
	}
	binary.BigEndian.PutUint32(payload, uint32(number))
	return udpPacket{netip.AddrPortFrom(e.Source, ownPort), e.Target, payload}.marshal()
}

// counts is what went through a tunnel.
type counts struct {
	Sent     int `json:"sent"`
	Repeated int `json:"repeated"`
	Received int `json:"received"`
	Pings    int `json:"pings"`
	Largest  int `json:"largest"`
	// How many packets came in each context.
	Contexts map[string]int `json:"contexts"`
	// What contradicts the protocol.
	Faults []string `json:"faults"`
}

// host stands behind a tunnel: it answers pings and exchanges packets with an echo service.
type host struct {
	sync.Mutex
	send    func(packet []byte) error
	counts  counts
	echoes  echoes
	waiting map[int]bool
	arrived chan struct{}
}

func newHost(send func([]byte) error) *host {
	return &host{
		send:    send,
		counts:  counts{Contexts: map[string]int{}, Faults: []string{}},
		waiting: map[int]bool{},
		arrived: make(chan struct{}, 1),
	}
}

// take handles an IP packet that came in a context.
func (h *host) take(packet []byte, context string) {
	h.Lock()
	defer h.Unlock()
	h.counts.Contexts[context]++
	found, err := parse(packet)
	if err != nil {
		h.fault(err.Error())
		return
	}
	if answer := found.pong(); answer != nil {
		h.counts.Pings++
		go h.send(answer)
		return
	}
	echo, err := found.asUDP()
	if err != nil {
		h.fault(err.Error())
		return
	}
	if echo.source != h.echoes.Target || len(echo.payload) < 4 {
		h.fault("UDP from " + echo.source.String())
		return
	}
	number := int(binary.BigEndian.Uint32(echo.payload))
	sent, err := parse(h.echoes.packet(number))
	if err != nil || string(sent.transport[8:]) != string(echo.payload) {
		h.fault("an altered echo")
		return
	}
	if h.waiting[number] {
		delete(h.waiting, number)
		h.counts.Received++
		if len(packet) > h.counts.Largest {
			h.counts.Largest = len(packet)
		}
	}
	select {
	case h.arrived <- struct{}{}:
	default:
	}
}

func (h *host) fault(what string) {
	if len(h.counts.Faults) < 20 {
		h.counts.Faults = append(h.counts.Faults, what)
	}
}

// exchange sends what echoes describes and waits for all answers.
func (h *host) exchange(echoes echoes) error {
	h.Lock()
	h.echoes = echoes
	h.Unlock()
	for number := 0; number < echoes.Count; number++ {
		h.Lock()
		h.waiting[number] = true
		h.counts.Sent++
		h.Unlock()
		if err := h.send(echoes.packet(number)); err != nil {
			return err
		}
		if err := h.drain(window - 1); err != nil {
			return err
		}
	}
	return h.drain(0)
}

// drain waits until no more than so many answers are missing, or it is pointless.
func (h *host) drain(missing int) error {
	for try := 0; ; {
		h.Lock()
		late := make([]int, 0, len(h.waiting))
		for number := range h.waiting {
			late = append(late, number)
		}
		h.Unlock()
		if len(late) <= missing || try == tries {
			return nil
		}
		select {
		case <-h.arrived:
		case <-time.After(patience):
			try++
			for _, number := range late {
				h.Lock()
				h.counts.Repeated++
				h.Unlock()
				if err := h.send(h.echoes.packet(number)); err != nil {
					return err
				}
			}
		}
	}
}
