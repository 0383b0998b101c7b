// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

const (
	icmp4 = 1
	tcp   = 6
	udp   = 17
	icmp6 = 58
)

// inner is an IP packet that was taken apart; its transport header and what follows are still part of the packet.
type inner struct {
	source, destination netip.Addr
	protocol            byte
	transport           []byte
}

// udpPacket is a UDP packet within IP.
type udpPacket struct {
	source, destination netip.AddrPort
	payload             []byte
}

func (p udpPacket) marshal() []byte {
	segment := make([]byte, 8, 8+len(p.payload))
	binary.BigEndian.PutUint16(segment, p.source.Port())
	binary.BigEndian.PutUint16(segment[2:], p.destination.Port())
	binary.BigEndian.PutUint16(segment[4:], uint16(8+len(p.payload)))
	segment = append(segment, p.payload...)
	return marshal(p.source.Addr(), p.destination.Addr(), udp, segment, 6)
}

// marshal puts an IP header before a transport segment, whose checksum at offset it completes.
func marshal(source, destination netip.Addr, protocol byte, segment []byte, offset int) []byte {
	var header []byte
	if source.Is4() {
		header = []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0}
		binary.BigEndian.PutUint16(header[2:], uint16(20+len(segment)))
		header = append(append(header, source.AsSlice()...), destination.AsSlice()...)
		binary.BigEndian.PutUint16(header[10:], ^fold(sum(0, header)))
	} else {
		header = []byte{0x60, 0, 0, 0, 0, 0, protocol, 64}
		binary.BigEndian.PutUint16(header[4:], uint16(len(segment)))
		header = append(append(header, source.AsSlice()...), destination.AsSlice()...)
	}
	binary.BigEndian.PutUint16(segment[offset:], 0)
	total := sum(0, segment)
	if protocol != icmp4 {
		total += pseudo(source, destination, protocol, len(segment))
	}
	binary.BigEndian.PutUint16(segment[offset:], complement(total))
	return append(header, segment...)
}

// parse takes an IP packet apart that is exactly as long as its header says.
func parse(packet []byte) (inner, error) {
	var found inner
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		header := int(packet[0]&15) * 4
		if int(binary.BigEndian.Uint16(packet[2:])) != len(packet) || header < 20 || header > len(packet) {
			return found, errors.New("a wrong IPv4 length")
		}
		if binary.BigEndian.Uint16(packet[6:])&0x3fff != 0 {
			return found, errors.New("a fragment")
		}
		if fold(sum(0, packet[:header])) != 0xffff {
			return found, errors.New("a wrong IPv4 header checksum")
		}
		source, _ := netip.AddrFromSlice(packet[12:16])
		destination, _ := netip.AddrFromSlice(packet[16:20])
		found = inner{source, destination, packet[9], packet[header:]}
	case len(packet) >= 40 && packet[0]>>4 == 6:
		if int(binary.BigEndian.Uint16(packet[4:]))+40 != len(packet) {
			return found, errors.New("a wrong IPv6 length")
		}
		source, _ := netip.AddrFromSlice(packet[8:24])
		destination, _ := netip.AddrFromSlice(packet[24:40])
		found = inner{source, destination, packet[6], packet[40:]}
	default:
		return found, errors.New("no IP packet")
	}
	if found.protocol == udp && (len(found.transport) < 8 ||
		int(binary.BigEndian.Uint16(found.transport[4:])) != len(found.transport)) {
		return found, errors.New("a wrong UDP length")
	}
	return found, nil
}

// complete makes a packet of context 6 one of context 0.
func complete(packet []byte) error {
	found, err := parse(packet)
	if err != nil {
		return err
	}
	offset, ok := map[byte]int{tcp: 16, udp: 6}[found.protocol]
	if !ok || len(found.transport) < offset+2 {
		return errors.New("an open checksum of neither TCP nor UDP")
	}
	open := binary.BigEndian.Uint16(found.transport[offset:])
	if open%0xffff != fold(pseudo(found.source, found.destination, found.protocol, len(found.transport)))%0xffff {
		return errors.New("an open checksum that is not the sum of the pseudo header")
	}
	binary.BigEndian.PutUint16(found.transport[offset:], complement(sum(0, found.transport)))
	return nil
}

// asUDP returns what an IP packet carries, if that is UDP with a right checksum.
func (p inner) asUDP() (udpPacket, error) {
	var found udpPacket
	if p.protocol != udp {
		return found, fmt.Errorf("protocol %d", p.protocol)
	}
	if fold(sum(pseudo(p.source, p.destination, udp, len(p.transport)), p.transport)) != 0xffff {
		return found, errors.New("a wrong UDP checksum")
	}
	return udpPacket{
		netip.AddrPortFrom(p.source, binary.BigEndian.Uint16(p.transport)),
		netip.AddrPortFrom(p.destination, binary.BigEndian.Uint16(p.transport[2:])),
		p.transport[8:],
	}, nil
}

// pong returns the answer to an echo request, nil if this is none.
func (p inner) pong() []byte {
	request := map[byte]byte{icmp4: 8, icmp6: 128}
	answer := map[byte]byte{icmp4: 0, icmp6: 129}
	if len(p.transport) < 8 || request[p.protocol] == 0 || p.transport[0] != request[p.protocol] {
		return nil
	}
	segment := append([]byte(nil), p.transport...)
	segment[0] = answer[p.protocol]
	return marshal(p.destination, p.source, p.protocol, segment, 2)
}

// pseudo returns the sum of the pseudo header.
func pseudo(source, destination netip.Addr, protocol byte, length int) uint32 {
	return sum(sum(uint32(protocol)+uint32(length), source.AsSlice()), destination.AsSlice())
}

func sum(total uint32, data []byte) uint32 {
	for ; len(data) > 1; data = data[2:] {
		total += uint32(data[0])<<8 | uint32(data[1])
	}
	if len(data) == 1 {
		total += uint32(data[0]) << 8
	}
	return total
}

func fold(total uint32) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

func complement(total uint32) uint16 {
	if checksum := ^fold(total); checksum != 0 {
		return checksum
	}
	return 0xffff
}
