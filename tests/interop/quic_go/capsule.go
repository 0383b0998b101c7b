// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/lucas-clemente/quic-go/quicvarint"
)

// Capsules of docs/protocol.md.
const (
	capsuleHello      = 0x6d7101
	capsuleRegister   = 0x6d7102
	capsuleRegistered = 0x6d7103
	capsuleRefused    = 0x6d7104
	capsuleConfirm    = 0x6d7105
	// A type that is reserved for trying out that unknown ones are skipped.
	capsuleReserved = 0x29*7 + 0x17

	version      = 1
	longestValue = 16384
)

type registrationID [16]byte

type refusal struct {
	Code   uint64 `json:"code"`
	Reason string `json:"reason"`
}

func capsule(kind uint64, value []byte) []byte {
	buffer := &bytes.Buffer{}
	quicvarint.Write(buffer, kind)
	quicvarint.Write(buffer, uint64(len(value)))
	buffer.Write(value)
	return buffer.Bytes()
}

func hello() []byte {
	return capsule(capsuleHello, []byte{version, version})
}

func register(id registrationID, prefixes []netip.Prefix) []byte {
	value := bytes.NewBuffer(append([]byte(nil), id[:]...))
	quicvarint.Write(value, 0) // path
	quicvarint.Write(value, uint64(len(prefixes)))
	for _, prefix := range prefixes {
		if prefix.Addr().Is4() {
			value.WriteByte(4)
		} else {
			value.WriteByte(6)
		}
		value.Write(prefix.Addr().AsSlice())
		value.WriteByte(byte(prefix.Bits()))
	}
	return capsule(capsuleRegister, value.Bytes())
}

func confirm(id registrationID) []byte {
	return capsule(capsuleConfirm, id[:])
}

// control reads what the server says on the control stream.
type control struct {
	stream quicvarint.Reader
	id     registrationID
	// Versions of the server's HELLO.
	versions []uint64
}

// answer returns what the server registered, or why it did not.
func (c *control) answer() ([]netip.Prefix, *refusal, error) {
	for {
		kind, value, err := c.next()
		if err != nil {
			return nil, nil, err
		}
		if c.versions == nil && (kind == capsuleRegistered || kind == capsuleRefused) {
			return nil, nil, fmt.Errorf("capsule %#x before HELLO", kind)
		}
		switch kind {
		case capsuleHello:
			if err := c.greet(value); err != nil {
				return nil, nil, err
			}
		case capsuleRegistered:
			if err := c.mine(value); err != nil {
				return nil, nil, err
			}
			prefixes, err := prefixes(value)
			return prefixes, nil, err
		case capsuleRefused:
			if err := c.mine(value); err != nil {
				return nil, nil, err
			}
			refusal, err := refused(value)
			return nil, refusal, err
		}
	}
}

func (c *control) next() (uint64, *bytes.Reader, error) {
	kind, err := quicvarint.Read(c.stream)
	if err != nil {
		return 0, nil, err
	}
	length, err := quicvarint.Read(c.stream)
	if err != nil {
		return 0, nil, err
	}
	if length > longestValue {
		return 0, nil, fmt.Errorf("capsule %#x of %d bytes", kind, length)
	}
	value := make([]byte, length)
	_, err = io.ReadFull(c.stream, value)
	return kind, bytes.NewReader(value), err
}

func (c *control) greet(value *bytes.Reader) error {
	if c.versions != nil {
		return fmt.Errorf("a second HELLO")
	}
	lowest, err := quicvarint.Read(value)
	if err != nil {
		return err
	}
	highest, err := quicvarint.Read(value)
	if err != nil {
		return err
	}
	c.versions = []uint64{lowest, highest}
	if lowest > version || highest < version {
		return fmt.Errorf("versions %d to %d", lowest, highest)
	}
	return nil
}

func (c *control) mine(value io.Reader) error {
	var id registrationID
	if _, err := io.ReadFull(value, id[:]); err != nil {
		return err
	}
	if id != c.id && id != (registrationID{}) {
		return fmt.Errorf("the answer to registration %x", id)
	}
	return nil
}

func prefixes(value *bytes.Reader) ([]netip.Prefix, error) {
	count, err := quicvarint.Read(value)
	if err != nil {
		return nil, err
	}
	found := make([]netip.Prefix, 0, 64)
	for ; count > 0; count-- {
		family, err := value.ReadByte()
		if err != nil {
			return nil, err
		}
		if family != 4 && family != 6 {
			return nil, fmt.Errorf("a prefix of IP version %d", family)
		}
		address := make([]byte, map[byte]int{4: 4, 6: 16}[family])
		if _, err := io.ReadFull(value, address); err != nil {
			return nil, err
		}
		bits, err := value.ReadByte()
		if err != nil {
			return nil, err
		}
		parsed, _ := netip.AddrFromSlice(address)
		prefix := netip.PrefixFrom(parsed, int(bits))
		if prefix.Masked() != prefix {
			return nil, fmt.Errorf("prefix %v", prefix)
		}
		found = append(found, prefix)
	}
	return found, nil
}

func refused(value *bytes.Reader) (*refusal, error) {
	code, err := quicvarint.Read(value)
	if err != nil {
		return nil, err
	}
	length, err := quicvarint.Read(value)
	if err != nil {
		return nil, err
	}
	reason := make([]byte, length)
	_, err = io.ReadFull(value, reason)
	return &refusal{code, string(reason)}, err
}

// say prints one line of JSON.
func say(line any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(line)
}
