// SPDX-License-Identifier: GPL-3.0-or-later

// A client of mpq/1 made with quiche, written from docs/protocol.md:
//
//   node tunnel.js ADDRESS PLAN
//
// PLAN and what is printed are those of `peer tunnel` in ../quic_go; see ../README.md.
"use strict";

const { createHash, randomBytes, X509Certificate } = require("node:crypto");
const dgram = require("node:dgram");
const fs = require("node:fs");
const { setTimeout: pause } = require("node:timers/promises");
const quiche = require("@matrixai/quic-linux-x64");
const { Control, Fields, ID_LENGTH, confirm, hello, register, skipped } = require("./capsule.js");
const { address, buildUdp, complete, endpoint, parse, pong, udp } = require("./packet.js");

const ALPN = "mpq/1";
const SEND = 1350; // bytes of UDP payload
const RECEIVE = 65527;
const CID_LENGTH = 8;
const IDLE_TIMEOUT = 30000; // milliseconds
const KEEPALIVE = 5000;
const QUEUE = 1024; // datagrams
const CONTROL = 0; // stream
const CONTEXT_IP = 0;
const CONTEXT_PARTIAL = 6;
const CLOSE_ORDINARY = 0;
const CLOSE_REFUSED = 1;
const WINDOW = 32; // packets under way
const PATIENCE = 500; // milliseconds until a packet that is not answered is sent again
const TRIES = 8;
const APART = 200; // milliseconds between what must not overtake each other
const OWN_PORT = 40000;
const TOO_LONG = Buffer.from([0x40, 0x40, 0x80, 0x00, 0x40, 0x01]); // a type to skip, of 16385 bytes

function configuration(folder) {
  const pem = (name) => (folder ? [fs.readFileSync(`${folder}/${name}`)] : null);
  // Neither chain nor name are verified: the pin is what counts.
  const config = quiche.Config.withBoringSslCtx(false, false, null, pem("key.pem"), pem("cert.pem"), "ed25519");
  config.setApplicationProtos([ALPN]);
  config.setMaxIdleTimeout(IDLE_TIMEOUT);
  config.setMaxRecvUdpPayloadSize(RECEIVE);
  config.setMaxSendUdpPayloadSize(SEND);
  config.setInitialMaxData(65536);
  config.setInitialMaxStreamDataBidiLocal(65536);
  config.enableDgram(true, QUEUE, QUEUE);
  config.enablePacing(false);
  return config;
}

function packets(echoes) {
  const source = { address: address(echoes.source), port: OWN_PORT };
  const target = endpoint(echoes.target);
  const around = source.address.length === 4 ? 28 : 48;
  const spread = echoes.largest - echoes.smallest;
  return (number) => {
    const size = echoes.smallest + (echoes.count > 1 ? Math.floor((spread * number) / (echoes.count - 1)) : 0);
    const payload = Buffer.alloc(size - around).map((_, at) => number * 31 + at * 7);
    payload.writeUInt32BE(number);
    return buildUdp(source, target, payload);
  };
}

class Client {
  constructor(plan, local, remote, socket) {
    this.plan = plan;
    this.local = local;
    this.socket = socket;
    this.buffer = Buffer.alloc(65535);
    this.id = randomBytes(ID_LENGTH);
    this.control = new Control(this.id);
    this.state = "handshake";
    this.unsent = Buffer.alloc(0);
    this.waiting = new Set();
    this.wake = () => {};
    this.input = new Promise((resolve) => process.stdin.on("end", resolve).resume());
    this.outcome = {
      sent: 0, repeated: 0, received: 0, pings: 0, largest: 0, contexts: {}, faults: [],
      retried: false, versions: null, registered: null, refused: null, end: null,
    };
    const config = configuration(plan.identity);
    this.connection = quiche.Connection.connect(null, randomBytes(CID_LENGTH), local, remote, config);
    this.keepalive = setInterval(() => {
      if (this.state === "up") this.act(() => this.connection.sendAckEliciting());
    }, KEEPALIVE);
    this.flush();
  }

  fault(what) {
    if (this.outcome.faults.length < 20) this.outcome.faults.push(what);
  }

  // Does something with the connection and sends what follows from it.
  act(what) {
    if (this.state === "over") return;
    what();
    this.flush();
  }

  arrived(data, from) {
    const remote = { host: from.address, port: from.port };
    if ((data[0] & 0xf0) === 0xf0 && data.readUInt32BE(1) === quiche.PROTOCOL_VERSION) this.outcome.retried = true;
    this.act(() => {
      try {
        this.connection.recv(data, { from: remote, to: this.local });
      } catch (error) {
        this.fault(error.message);
      }
      try {
        this.advance();
      } catch (error) {
        this.fault(error.message);
        this.close(CLOSE_REFUSED, error.message);
      }
    });
  }

  advance() {
    if (this.state === "handshake" && this.connection.isEstablished()) this.established();
    if (this.state === "handshake") return;
    this.say(Buffer.alloc(0));
    while (this.connection.streamReadable(CONTROL)) {
      const read = this.connection.streamRecv(CONTROL, this.buffer);
      if (read === null) break;
      const answer = this.control.take(Buffer.from(this.buffer.subarray(0, read[0])));
      this.outcome.versions = this.control.versions;
      Object.assign(this.outcome, answer);
      if (answer?.refused) this.close(CLOSE_ORDINARY, "done");
      if (answer?.registered) this.registered();
    }
    let payload;
    while ((payload = this.connection.dgramRecvVec()) !== null) if (this.state === "up") this.take(Buffer.from(payload));
  }

  established() {
    const { publicKey } = new X509Certificate(this.connection.peerCertChain()[0]);
    const pin = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("hex");
    if (`sha256:${pin}` !== this.plan.pin) throw new Error("not the pinned key");
    this.state = "registering";
    this.register();
  }

  async register() {
    const { early, skipped: sizes = [], prefixes } = this.plan;
    if (early) {
      // Datagrams and streams are not ordered.
      await pause(APART);
      const packet = packets(early);
      for (let number = 0; number < early.count; number++) this.act(() => this.sendPacket(packet(number)));
      await pause(APART);
    }
    const unknown = sizes.map(skipped);
    this.act(() => this.say(Buffer.concat([...unknown, hello(), ...unknown, register(this.id, prefixes)])));
  }

  registered() {
    this.say(confirm(this.id));
    this.state = "up";
    console.log(JSON.stringify({ registered: this.outcome.registered }));
    this.exchangeAll();
  }

  // Writes to the control stream; what does not fit the window of flow control waits.
  say(data) {
    this.unsent = Buffer.concat([this.unsent, data]);
    if (this.unsent.length === 0) return;
    const written = this.connection.streamSend(CONTROL, this.unsent, false) ?? 0;
    this.unsent = this.unsent.subarray(written);
  }

  sendPacket(packet) {
    this.connection.dgramSend(Buffer.concat([Buffer.from([CONTEXT_IP]), packet]));
  }

  take(payload) {
    const fields = new Fields(payload);
    try {
      const context = fields.varint();
      const packet = payload.subarray(fields.at);
      if (context === CONTEXT_PARTIAL) complete(packet);
      else if (context !== CONTEXT_IP) throw new Error(`context ${context}`);
      this.outcome.contexts[context] = (this.outcome.contexts[context] ?? 0) + 1;
      this.takePacket(packet);
    } catch (error) {
      this.fault(error.message);
    }
  }

  takePacket(packet) {
    const found = parse(packet);
    const answer = pong(found);
    if (answer !== null) {
      this.outcome.pings += 1;
      this.sendPacket(answer);
      return;
    }
    const { payload } = udp(found);
    const number = payload.length < 4 ? -1 : payload.readUInt32BE(0);
    const sent = this.packet?.(number);
    if (!sent || !parse(sent).transport.subarray(8).equals(payload)) throw new Error("an altered echo");
    if (this.waiting.delete(number)) {
      this.outcome.received += 1;
      this.outcome.largest = Math.max(this.outcome.largest, packet.length);
    }
    this.wake();
  }

  async exchangeAll() {
    const { echoes: all = [], rebind } = this.plan;
    for (const [number, echoes] of all.entries()) {
      if (rebind && number === all.length - 1) await this.move();
      await this.exchange(echoes);
    }
    if (rebind) console.log(JSON.stringify({ rebound: true }));
    if (this.plan.long) this.act(() => this.say(TOO_LONG));
    if (this.plan.stay || this.plan.long) await this.input;
    this.act(() => this.close(CLOSE_ORDINARY, "done"));
  }

  // Changes the port without a word to quiche, as a NAT does.
  async move() {
    const former = this.socket;
    const { port, address: host } = former.remoteAddress();
    this.socket = await open(host, port, (data, from) => this.arrived(data, from));
    former.close();
  }

  async exchange(echoes) {
    this.packet = packets(echoes);
    for (let number = 0; number < echoes.count && this.state === "up"; number++) {
      this.waiting.add(number);
      this.outcome.sent += 1;
      this.act(() => this.sendPacket(this.packet(number)));
      await this.drain(WINDOW - 1);
    }
    await this.drain(0);
  }

  async drain(missing) {
    for (let left = TRIES; this.waiting.size > missing && left > 0 && this.state === "up"; ) {
      const answered = await new Promise((resolve) => {
        const timer = setTimeout(resolve, PATIENCE, false);
        this.wake = () => {
          clearTimeout(timer);
          resolve(true);
        };
      });
      if (answered) continue;
      left -= 1;
      for (const number of this.waiting) {
        this.outcome.repeated += 1;
        this.act(() => this.sendPacket(this.packet(number)));
      }
    }
  }

  close(code, reason) {
    if (this.state === "closing") return;
    this.state = "closing";
    this.connection.close(true, code, Buffer.from(reason));
  }

  flush() {
    let sent;
    while ((sent = this.connection.send(this.buffer)) !== null) {
      this.socket.send(Buffer.from(this.buffer.subarray(0, sent[0])));
    }
    clearTimeout(this.timer);
    if (this.connection.isClosed()) {
      this.finish();
      return;
    }
    const wait = this.connection.timeout();
    if (wait !== null) this.timer = setTimeout(() => this.act(() => this.connection.onTimeout()), wait);
  }

  finish() {
    if (this.state === "over") return;
    this.state = "over";
    clearInterval(this.keepalive);
    const error = this.connection.peerError() ?? this.connection.localError();
    this.outcome.end = {
      kind: this.connection.isTimedOut() ? "timeout" : error?.isApp ? "application" : error ? "transport" : "other",
      by_peer: this.connection.peerError() !== null,
      code: error?.errorCode ?? 0,
      reason: error ? Buffer.from(error.reason).toString() : "",
    };
    console.log(JSON.stringify(this.outcome));
    this.socket.close();
    process.stdin.destroy();
    this.wake();
  }
}

function open(host, port, arrived) {
  const socket = dgram.createSocket({ type: "udp4", recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
  socket.on("message", arrived);
  return new Promise((resolve) => socket.connect(port, host, () => resolve(socket)));
}

async function main([where, plan]) {
  const [host, port] = where.split(":");
  let client;
  const socket = await open(host, Number(port), (data, from) => client.arrived(data, from));
  const own = socket.address();
  client = new Client(JSON.parse(plan), { host: own.address, port: own.port }, { host, port: Number(port) }, socket);
}

main(process.argv.slice(2));
