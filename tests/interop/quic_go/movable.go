// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"net"
	"sync"
	"time"
)

// movable is a UDP socket that can change its port without a word, as a NAT does.
type movable struct {
	sync.Mutex
	current *net.UDPConn
}

func (m *movable) move() error {
	fresh, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	m.Lock()
	defer m.Unlock()
	if m.current != nil {
		_ = m.current.Close()
	}
	m.current = fresh
	return nil
}

func (m *movable) socket() *net.UDPConn {
	m.Lock()
	defer m.Unlock()
	return m.current
}

func (m *movable) ReadFrom(buffer []byte) (int, net.Addr, error) {
	for {
		socket := m.socket()
		size, from, err := socket.ReadFrom(buffer)
		if err == nil || socket == m.socket() {
			return size, from, err
		}
	}
}

func (m *movable) WriteTo(data []byte, to net.Addr) (int, error) {
	return m.socket().WriteTo(data, to)
}

func (m *movable) Close() error                           { return m.socket().Close() }
func (m *movable) LocalAddr() net.Addr                    { return m.socket().LocalAddr() }
func (m *movable) SetDeadline(until time.Time) error      { return m.socket().SetDeadline(until) }
func (m *movable) SetReadDeadline(until time.Time) error  { return m.socket().SetReadDeadline(until) }
func (m *movable) SetWriteDeadline(until time.Time) error { return m.socket().SetWriteDeadline(until) }
