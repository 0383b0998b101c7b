// SPDX-License-Identifier: GPL-3.0-or-later

// The control stream of docs/protocol.md.
"use strict";

const { address } = require("./packet.js");

const HELLO = 0x6d7101;
const REGISTER = 0x6d7102;
const REGISTERED = 0x6d7103;
const REFUSED = 0x6d7104;
const CONFIRM = 0x6d7105;
const RESERVED = 0x29 * 7 + 0x17; // to try out that unknown types are skipped
const VERSION = 1;
const ID_LENGTH = 16;
const LONGEST = 16384;

function varint(number) {
  if (number < 1 << 6) return Buffer.from([number]);
  const short = number < 1 << 14;
  const bytes = Buffer.alloc(short ? 2 : 4);
  if (short) bytes.writeUInt16BE(0x4000 | number);
  else bytes.writeUInt32BE(0x80000000 + number); // nothing here is larger than 2^30
  return bytes;
}

const capsule = (kind, value) => Buffer.concat([varint(kind), varint(value.length), value]);

const hello = () => capsule(HELLO, Buffer.from([VERSION, VERSION]));

function register(id, prefixes) {
  const encoded = prefixes.map((prefix) => {
    const [host, length] = prefix.split("/");
    const bytes = address(host);
    return Buffer.from([bytes.length === 4 ? 4 : 6, ...bytes, Number(length)]);
  });
  return capsule(REGISTER, Buffer.concat([id, varint(0), varint(prefixes.length), ...encoded]));
}

const confirm = (id) => capsule(CONFIRM, id);

const skipped = (size) => capsule(RESERVED, Buffer.alloc(size));

// Takes fields off the front of some bytes; throws RangeError when there are too few.
class Fields {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  take(size) {
    if (this.at + size > this.data.length) throw new RangeError("cut off");
    this.at += size;
    return this.data.subarray(this.at - size, this.at);
  }

  varint() {
    const [first] = this.take(1);
    const rest = this.take((1 << (first >> 6)) - 1);
    return rest.reduce((number, byte) => number * 256 + byte, first & 0x3f);
  }
}

function readPrefix(fields) {
  const [version] = fields.take(1);
  const bytes = fields.take({ 4: 4, 6: 16 }[version]);
  const host =
    version === 4
      ? [...bytes].join(".")
      : new URL(`http://[${bytes.toString("hex").match(/.{4}/g).join(":")}]`).hostname.slice(1, -1);
  return `${host}/${fields.take(1)[0]}`;
}

// Reads what the server says: `take` returns {registered} or {refused} when the answer has come.
class Control {
  constructor(id) {
    this.id = id;
    this.versions = null;
    this.buffer = Buffer.alloc(0);
  }

  take(data) {
    this.buffer = Buffer.concat([this.buffer, data]);
    for (;;) {
      const fields = new Fields(this.buffer);
      let kind, value;
      try {
        kind = fields.varint();
        const length = fields.varint();
        if (length > LONGEST) throw new Error(`a capsule of ${length} bytes`);
        value = new Fields(fields.take(length));
      } catch (error) {
        if (error instanceof RangeError) return null;
        throw error;
      }
      this.buffer = this.buffer.subarray(fields.at);
      const answer = this.judge(kind, value);
      if (answer !== null) return answer;
    }
  }

  judge(kind, value) {
    if (kind === HELLO) {
      if (this.versions !== null) throw new Error("a second HELLO");
      this.versions = [value.varint(), value.varint()];
      if (this.versions[0] > VERSION || this.versions[1] < VERSION) throw new Error(`versions ${this.versions}`);
      return null;
    }
    if (kind !== REGISTERED && kind !== REFUSED) return null;
    if (this.versions === null) throw new Error(`capsule ${kind} before HELLO`);
    const id = value.take(ID_LENGTH);
    if (!id.equals(this.id) && !id.equals(Buffer.alloc(ID_LENGTH))) throw new Error("the answer to another registration");
    if (kind === REGISTERED) return { registered: Array.from({ length: value.varint() }, () => readPrefix(value)) };
    return { refused: { code: value.varint(), reason: value.take(value.varint()).toString() } };
  }
}

module.exports = { Control, Fields, ID_LENGTH, confirm, hello, register, skipped };
