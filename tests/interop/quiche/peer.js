// SPDX-License-Identifier: GPL-3.0-or-later

// A quiche endpoint that sends every datagram back; the arguments and the output are those of ../quic_go/peer.go.
// quiche follows the key updates of its peer but has no way to begin or to count them: KEY_PACKETS is not looked at.
// As a server it asks for no client certificate: it would only take one of a CA.
"use strict";

const { createHash, randomBytes, X509Certificate } = require("node:crypto");
const dgram = require("node:dgram");
const fs = require("node:fs");
const quiche = require("@matrixai/quic-linux-x64");

const ALPN = "mpq/1";
const SEND = 1350; // bytes of UDP payload; quiche's own examples use it
const RECEIVE = 1500;
const CID_LENGTH = 16;
const IDLE_TIMEOUT = 10000; // milliseconds
const QUEUE = 1024; // datagrams

function configuration(directory) {
  const pem = (name) => fs.readFileSync(`${directory}/${name}`);
  const config = quiche.Config.withBoringSslCtx(
    false, // the pin is what counts
    false,
    null,
    [pem("key.pem")],
    [pem("cert.pem")],
    "ed25519",
  );
  config.setApplicationProtos([ALPN]);
  config.setMaxIdleTimeout(IDLE_TIMEOUT);
  config.setMaxRecvUdpPayloadSize(RECEIVE);
  config.setMaxSendUdpPayloadSize(SEND);
  config.enableDgram(true, QUEUE, QUEUE);
  config.enablePacing(false);
  return config;
}

class Peer {
  constructor(role, local, remote, config, pin, socket) {
    this.result = { received: 0, repeated: 0, sent: 0, largest: 0, faults: [], end: "" };
    this.seen = new Set();
    this.local = local;
    this.config = config;
    this.pin = pin;
    this.socket = socket;
    this.buffer = Buffer.alloc(65535);
    this.trusted = role === "server";
    if (role === "client") {
      this.connection = quiche.Connection.connect(null, randomBytes(CID_LENGTH), local, remote, config);
      this.flush();
    }
  }

  take(data, from) {
    const remote = { host: from.address, port: from.port };
    this.connection ??= quiche.Connection.accept(randomBytes(CID_LENGTH), null, this.local, remote, this.config);
    try {
      this.connection.recv(data, { from: remote, to: this.local });
    } catch (error) {
      this.result.faults.push(error.message);
    }
    this.echo();
    this.flush();
  }

  echo() {
    if (!this.trusted && this.connection.isEstablished()) {
      const { publicKey } = new X509Certificate(this.connection.peerCertChain()[0]);
      const spki = publicKey.export({ type: "spki", format: "der" });
      const pin = `sha256:${createHash("sha256").update(spki).digest("hex")}`;
      if (pin !== this.pin) throw new Error("not the pinned key");
      this.trusted = true;
    }
    if (!this.trusted) return;
    let payload;
    while ((payload = this.connection.dgramRecvVec()) !== null) {
      this.result.received += 1;
      const content = Buffer.from(payload).toString("latin1");
      if (this.seen.has(content)) this.result.repeated += 1;
      this.seen.add(content);
      this.result.largest = this.connection.dgramMaxWritableLen();
      this.connection.dgramSend(payload);
      this.result.sent += 1;
    }
  }

  flush() {
    let sent;
    while ((sent = this.connection.send(this.buffer)) !== null) {
      const [length, { to }] = sent;
      this.socket.send(Buffer.from(this.buffer.subarray(0, length)), to.port, to.host);
    }
    clearTimeout(this.timer);
    if (this.connection.isClosed()) {
      this.finish();
      return;
    }
    const wait = this.connection.timeout();
    if (wait !== null) {
      this.timer = setTimeout(() => {
        this.connection.onTimeout();
        this.flush();
      }, wait);
    }
  }

  finish() {
    const error = this.connection.peerError() ?? this.connection.localError();
    if (error) this.result.end = `error ${error.errorCode}: ${Buffer.from(error.reason)}`;
    if (this.connection.isTimedOut()) this.result.end = "timeout";
    console.log(JSON.stringify(this.result));
    this.socket.close();
  }
}

function main([role, address, directory, pin]) {
  const [host, port] = address.split(":");
  const socket = dgram.createSocket({ type: "udp4", recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
  const config = configuration(directory);
  let peer;
  socket.on("message", (data, from) => peer.take(data, from));
  socket.bind(role === "server" ? Number(port) : 0, host, () => {
    const local = { host, port: socket.address().port };
    if (role === "server") console.log(JSON.stringify({ listening: `${host}:${local.port}` }));
    peer = new Peer(role, local, { host, port: Number(port) }, config, pin, socket);
    setTimeout(() => peer.connection ?? process.exit(1), IDLE_TIMEOUT).unref();
  });
}

main(process.argv.slice(2));
