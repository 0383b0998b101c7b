// SPDX-License-Identifier: GPL-3.0-or-later

// IP packets: made, taken apart, their checksums completed.
"use strict";

const ICMP4 = 1;
const TCP = 6;
const UDP = 17;
const ICMP6 = 58;
const CHECKSUM = { [TCP]: 16, [UDP]: 6 }; // where it is in the transport header
const REQUEST = { [ICMP4]: 8, [ICMP6]: 128 };
const REPLY = { [ICMP4]: 0, [ICMP6]: 129 };

function address(text) {
  if (!text.includes(":")) return Buffer.from(text.split(".").map(Number));
  const groups = (part) => (part ? part.split(":") : []);
  const [head, tail] = text.split("::").map(groups);
  const zeros = tail ? Array(8 - head.length - tail.length).fill("0") : [];
  return Buffer.from([...head, ...zeros, ...(tail ?? [])].map((group) => group.padStart(4, "0")).join(""), "hex");
}

function endpoint(text) {
  const [, host, port] = /^\[?([0-9a-f.:]+?)\]?:(\d+)$/.exec(text);
  return { address: address(host), port: Number(port) };
}

function sum(...parts) {
  let total = 0;
  for (const part of parts) {
    for (let at = 0; at + 1 < part.length; at += 2) total += part.readUInt16BE(at);
    if (part.length % 2) total += part[part.length - 1] << 8;
  }
  return total;
}

function fold(total) {
  while (total > 0xffff) total = (total % 0x10000) + Math.floor(total / 0x10000);
  return total;
}

const complement = (total) => ~fold(total) & 0xffff || 0xffff;

const pseudo = (source, destination, protocol, length) => sum(source, destination) + protocol + length;

function build(source, destination, protocol, segment, checksum) {
  let header;
  if (source.length === 4) {
    header = Buffer.from([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, ...source, ...destination]);
    header.writeUInt16BE(20 + segment.length, 2);
    header.writeUInt16BE(~fold(sum(header)) & 0xffff, 10);
  } else {
    header = Buffer.from([0x60, 0, 0, 0, 0, 0, protocol, 64, ...source, ...destination]);
    header.writeUInt16BE(segment.length, 4);
  }
  segment.writeUInt16BE(0, checksum);
  const before = protocol === ICMP4 ? 0 : pseudo(source, destination, protocol, segment.length);
  segment.writeUInt16BE(complement(sum(segment) + before), checksum);
  return Buffer.concat([header, segment]);
}

function buildUdp(source, destination, payload) {
  const segment = Buffer.concat([Buffer.alloc(8), payload]);
  segment.writeUInt16BE(source.port, 0);
  segment.writeUInt16BE(destination.port, 2);
  segment.writeUInt16BE(segment.length, 4);
  return build(source.address, destination.address, UDP, segment, CHECKSUM[UDP]);
}

// Takes an IP packet apart that is exactly as long as its header says.
function parse(packet) {
  let found;
  if (packet.length >= 20 && packet[0] >> 4 === 4) {
    const header = (packet[0] & 15) * 4;
    if (packet.readUInt16BE(2) !== packet.length || header < 20 || header > packet.length)
      throw new Error("a wrong IPv4 length");
    if (packet.readUInt16BE(6) & 0x3fff) throw new Error("a fragment");
    if (fold(sum(packet.subarray(0, header))) !== 0xffff) throw new Error("a wrong IPv4 header checksum");
    found = {
      source: packet.subarray(12, 16),
      destination: packet.subarray(16, 20),
      protocol: packet[9],
      transport: packet.subarray(header),
    };
  } else if (packet.length >= 40 && packet[0] >> 4 === 6) {
    if (packet.readUInt16BE(4) + 40 !== packet.length) throw new Error("a wrong IPv6 length");
    found = {
      source: packet.subarray(8, 24),
      destination: packet.subarray(24, 40),
      protocol: packet[6],
      transport: packet.subarray(40),
    };
  } else {
    throw new Error("no IP packet");
  }
  const { protocol, transport } = found;
  if (protocol === UDP && (transport.length < 8 || transport.readUInt16BE(4) !== transport.length))
    throw new Error("a wrong UDP length");
  return found;
}

// Makes a packet of context 6 one of context 0, in place.
function complete(packet) {
  const { source, destination, protocol, transport } = parse(packet);
  const offset = CHECKSUM[protocol];
  if (offset === undefined || transport.length < offset + 2)
    throw new Error("an open checksum of neither TCP nor UDP");
  const wanted = fold(pseudo(source, destination, protocol, transport.length));
  if (transport.readUInt16BE(offset) % 0xffff !== wanted % 0xffff)
    throw new Error("an open checksum that is not the sum of the pseudo header");
  transport.writeUInt16BE(complement(sum(transport)), offset);
}

// Returns ends and payload of UDP with a right checksum.
function udp({ source, destination, protocol, transport }) {
  if (protocol !== UDP) throw new Error(`protocol ${protocol}`);
  if (fold(sum(transport) + pseudo(source, destination, UDP, transport.length)) !== 0xffff)
    throw new Error("a wrong UDP checksum");
  return {
    source: { address: source, port: transport.readUInt16BE(0) },
    destination: { address: destination, port: transport.readUInt16BE(2) },
    payload: transport.subarray(8),
  };
}

// Returns the answer to an echo request, null if this is none.
function pong({ source, destination, protocol, transport }) {
  if (transport.length < 8 || transport[0] !== REQUEST[protocol]) return null;
  const segment = Buffer.from(transport);
  segment[0] = REPLY[protocol];
  return build(destination, source, protocol, segment, 2);
}

module.exports = { address, buildUdp, complete, endpoint, parse, pong, udp };
