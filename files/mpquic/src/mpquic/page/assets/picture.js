// SPDX-License-Identifier: GPL-3.0-or-later
// The picture: from left to right where there is room, else one tunnel below the other.
"use strict";

const KINDS = ["lan", "class", "tunnel", "path", "wan", "vps"];
const TITLES = { lan: "LAN", class: "Class", tunnel: "Tunnel", path: "Path", wan: "WAN", vps: "VPS" };
const MARKS = { good: "✓", unsure: "!", bad: "✕" };
const RANK = { good: 0, unsure: 1, bad: 2 };
const LINE = 15, PAD = 7, GAP = 12, NARROW = 760;

const unit = (value, units, step) => {
  if (value === null || value === undefined) return "–";
  let at = 0;
  while (value >= step && at < units.length - 1) { value /= step; at += 1; }
  return `${at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
};
const rate = (bits) => unit(bits, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"], 1000);
const percent = (share) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(1)} %`);
const milliseconds = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)} ms`);
const duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "–";
  let left = Math.floor(seconds);
  const parts = [];
  for (const [name, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(left / length);
    left -= count * length;
    if (count || parts.length || name === "s") parts.push(`${count} ${name}`);
  }
  return parts.slice(0, 2).join(" ");
};

const svg = (name, attributes, ...children) => {
  const found = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children);
  return found;
};

// The lines of a node: [text, class], as many characters of each as fit.
const lines = (node, width, titled) => {
  const fits = Math.floor((width - 2 * PAD - 4) / 6.1);
  const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const found = [[short(titled ? `${TITLES[node.kind]} ${node.name}` : node.name, fits - 3), "name"]];
  if (node.about) for (const part of wrapped(node.about, fits, 2)) found.push([part, "quiet"]);
  if (node.state) found.push([short(`${node.state} for ${duration(node.since_s)}`, fits), ""]);
  if (node.rtt !== undefined) {
    const said = [node.rtt !== null && `RTT ${milliseconds(node.rtt)}`, node.loss !== null && node.level !== "bad" && `loss ${percent(node.loss)}`].filter(Boolean);
    if (said.join(", ").length <= fits) said.splice(0, 2, said.join(", "));
    for (const line of said) if (line) found.push([line, ""]);
  }
  if (node.tx !== null || node.rx !== null) {
    const rates = `↑ ${rate(node.tx)}  ↓ ${rate(node.rx)}`;
    if (rates.length <= fits) found.push([rates, ""]);
    else found.push([`↑ ${rate(node.tx)}`, ""], [`↓ ${rate(node.rx)}`, ""]);
  }
  if (node.fault) for (const part of wrapped(node.fault, fits, 3)) found.push([part, node.level]);
  else if (node.last) for (const part of wrapped(`${duration(node.last.ago_s)} ago: ${node.last.reason}`, fits, 2)) found.push([part, "quiet"]);
  return found;
};
const wrapped = (text, fits, most) => {
  const found = [""];
  for (const word of text.split(" ")) {
    const last = found[found.length - 1];
    if (last && last.length + word.length >= fits) found.push(word);
    else found[found.length - 1] = last ? `${last} ${word}` : word;
  }
  if (found.length > most) found[most - 1] += "…";
  return found.slice(0, most).map((part) => (part.length > fits ? `${part.slice(0, fits - 1)}…` : part));
};

const box = (node, x, y, width, titled) => {
  const text = lines(node, width, titled);
  return { node, x, y, width, text, height: text.length * LINE + 2 * PAD };
};

const mark = (level, x, y) =>
  svg("g", { class: `mark ${level}`, transform: `translate(${x} ${y})` },
    { good: svg("circle", { r: 7 }), unsure: svg("path", { d: "M0-8L9 7H-9Z" }), bad: svg("rect", { x: -7, y: -7, width: 14, height: 14 }) }[level],
    svg("text", { y: level === "unsure" ? 5 : 4 }, MARKS[level]));

const drawn = (found) => {
  const { node, x, y, width, height, text } = found;
  const group = svg("g", { "data-id": node.id, "data-level": node.level },
    svg("title", {}, [TITLES[node.kind], node.name, node.about, node.state, node.fault].filter(Boolean).join(", ")),
    svg("rect", { class: `node ${node.level}`, x, y, width, height, rx: 6 }),
    svg("rect", { class: `side ${node.level}`, x, y: y + 4, width: 4, height: height - 8, rx: 2 }),
    mark(node.level, x + width - 13, y + 14));
  text.forEach(([line, kind], at) => group.append(svg("text", { class: kind, x: x + PAD + 4, y: y + PAD + 11 + at * LINE }, line)));
  return group;
};

// Thicker for more traffic; how it is, is said by colour, dashes and a mark.
const edge = (link, d, x, y, most = 9) => {
  const busy = Math.max(link.tx || 0, link.rx || 0);
  const thick = Math.min(most, link.level === "bad" ? 3 : 1.5 + Math.max(0, Math.log10(busy + 1) - 3));
  const group = svg("g", { "data-link": `${link.from} ${link.to}`, "data-level": link.level },
    svg("path", { class: `link ${link.level}`, d, "stroke-width": thick.toFixed(1) }));
  if (link.level !== "good" && x !== null) group.append(mark(link.level, x, y));
  return group;
};

// From box to box; through those that are lanes it goes straight.
const across = (way, link) => {
  let d = "", x = 0, y = 0;
  way.slice(1).forEach((other, at) => {
    const one = way[at], x1 = one.x + one.width, y1 = one.y + one.height / 2, y2 = other.y + other.height / 2;
    const bend = Math.max(18, (other.x - x1) / 2);
    d += `${at ? "H" : "M"}${x1}${at ? "" : ` ${y1}`}C${x1 + bend} ${y1} ${other.x - bend} ${y2} ${other.x} ${y2}`;
    if (!at) [x, y] = [(x1 + other.x) / 2, (y1 + y2) / 2];
  });
  return edge(link, d, x, y);
};

// Every column in the order of the tunnels, so that little crosses; a link that skips columns has a lane in each of them.
const wide = (state, width) => {
  const kinds = KINDS.filter((kind) => state.nodes.some((node) => node.kind === kind));
  const space = Math.max(36, Math.min(90, width * 0.04));
  const size = Math.max(120, Math.min(230, (width - 2 - space * (kinds.length - 1)) / kinds.length));
  const step = kinds.length > 1 ? (width - 2 - size) / (kinds.length - 1) : 0;
  const boxes = new Map(), near = new Map(), columns = kinds.map(() => []);
  const join = (one, other) => { near.get(one).push(other); near.get(other).push(one); };
  const put = (id, at, found) => { boxes.set(id, { ...found, at, id }); near.set(id, []); columns[at].push(boxes.get(id)); };
  for (const node of state.nodes) {
    const at = kinds.indexOf(node.kind);
    put(node.id, at, box(node, 1 + at * step, 0, size));
  }
  const ways = state.links.map((link) => {
    const way = [link.from];
    for (let at = boxes.get(link.from).at + 1; at < boxes.get(link.to).at; at += 1) {
      const id = `${link.from} ${link.to} ${at}`;
      put(id, at, { x: 1 + at * step, y: 0, width: size, height: 8 });
      way.push(id);
    }
    way.push(link.to);
    way.slice(1).forEach((id, at) => join(way[at], id));
    return [link, way];
  });
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const home = Math.max(0, kinds.indexOf("tunnel"));
  const outward = [...kinds.keys()].sort((one, other) => Math.abs(one - home) - Math.abs(other - home));
  const order = new Map();
  for (const at of outward) {
    columns[at].forEach((found, index) => {
      const known = near.get(found.id).filter((id) => order.has(id) && boxes.get(id).at !== at).map((id) => order.get(id));
      order.set(found.id, at === home ? index : known.length ? mean(known) : columns[home].length);
    });
    columns[at].sort((one, other) => order.get(one.id) - order.get(other.id));
  }
  const tall = (column) => column.reduce((sum, found) => sum + found.height + GAP, -GAP);
  const height = Math.max(...columns.map(tall));
  const anchor = columns.findIndex((column) => tall(column) === height);
  const placed = new Set();
  for (const at of [...kinds.keys()].sort((one, other) => Math.abs(one - anchor) - Math.abs(other - anchor))) {
    const column = columns[at];
    const middles = column.map((found) => {
      const known = near.get(found.id).filter((id) => placed.has(id)).map((id) => boxes.get(id));
      return known.length ? mean(known.map((one) => one.y + one.height / 2)) : 24;
    });
    let top = 24, bottom = 24 + height;
    column.forEach((found, index) => { found.y = Math.max(top, middles[index] - found.height / 2); top = found.y + found.height + GAP; });
    for (const found of [...column].reverse()) { found.y = Math.min(found.y, bottom - found.height); bottom = found.y - GAP; }
    for (const found of column) placed.add(found.id);
  }
  const links = ways.sort(([one], [other]) => RANK[one.level] - RANK[other.level]);
  return [height + 32, [
    ...kinds.map((kind, at) => svg("text", { class: "column", x: 1 + at * step, y: 12 }, TITLES[kind])),
    ...links.map(([link, way]) => across(way.map((id) => boxes.get(id)), link)),
    ...[...boxes.values()].filter((found) => found.node).map(drawn),
  ]];
};

// What a tunnel has before and behind it, from top to bottom.
const narrow = (state, width) => {
  const byId = new Map(state.nodes.map((node) => [node.id, node]));
  const into = (id) => state.links.filter((link) => link.to === id);
  const out = (id) => state.links.filter((link) => link.from === id);
  // Lanes at both sides, one for each path of the tunnel that has most of them.
  const several = state.nodes.filter((node) => node.kind === "tunnel").map((node) => out(node.id).filter((link) => byId.get(link.to).kind === "path").length);
  const lanes = Math.min(5, Math.max(0, ...several)), left = 4 + 5 * lanes;
  const inner = width - 2 * left, half = (inner - 22) / 2;
  const edges = [], boxes = [];
  let y = 2;
  const down = (one, other, link) => {
    const x1 = one.x + one.width / 2, y1 = one.y + one.height, x2 = other.x + other.width / 2, y2 = other.y;
    const bend = (y2 - y1) / 2;
    edges.push(edge(link, `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`, (x1 + x2) / 2, (y1 + y2) / 2));
  };
  const row = (nodes) => {
    const found = nodes.map((node, at) => box(node, left + (nodes.length > 1 ? (at % 2) * (half + 22) : 0), 0, nodes.length > 1 ? half : inner, true));
    for (let at = 0; at < found.length; at += 2) {
      const pair = found.slice(at, at + 2);
      for (const one of pair) one.y = y;
      y += Math.max(...pair.map((one) => one.height)) + (at + 2 < found.length ? 8 : 22);
    }
    boxes.push(...found);
    return found;
  };
  for (const tunnel of state.nodes.filter((node) => node.kind === "tunnel")) {
    const before = into(tunnel.id).map((link) => byId.get(link.from));
    const classes = before.filter((node) => node.kind === "class");
    const lans = before.filter((node) => node.kind === "lan");
    for (const one of classes) for (const link of into(one.id)) if (!lans.includes(byId.get(link.from))) lans.push(byId.get(link.from));
    const top = [...row(lans), ...row(classes)];
    const [mine] = row([tunnel]);
    for (const one of top) {
      for (const link of out(one.node.id)) {
        const other = [mine, ...top].find((found) => found.node.id === link.to);
        if (other) down(one, other, link);
      }
    }
    const goals = [];
    const outside = (one, trunk) => {
      for (const link of out(one.node.id)) {
        const found = trunk.find((wan) => wan.node.id === link.to);
        if (found) {
          edges.push(across([one, found], link));
          for (const more of out(found.node.id)) goals.push([found, more]);
        } else if (byId.get(link.to).kind === "vps") goals.push([one, link]);
      }
    };
    const paths = out(tunnel.id).filter((link) => byId.get(link.to).kind === "path");
    for (const [index, link] of paths.entries()) {
      const wans = out(link.to).map((more) => byId.get(more.to)).filter((node) => node.kind === "wan");
      const pair = row([byId.get(link.to), ...wans.slice(0, 1)]);
      y -= 10;
      const [path] = pair, middle = path.y + path.height / 2;
      const lane = 4 + 5 * (index % 5), under = mine.y + mine.height;
      edges.push(edge(link, `M${left + 8 + lane} ${under}v${14 - (index % 5) * 2}H${lane}V${middle}H${path.x}`, null, null, 2.5));
      outside(path, pair.slice(1));
    }
    const direct = out(tunnel.id).filter((link) => byId.get(link.to).kind === "wan");
    for (const found of row(direct.map((link) => byId.get(link.to)))) {
      const link = direct.find((one) => one.to === found.node.id);
      down(mine, found, link);
      for (const more of out(found.node.id)) goals.push([found, more]);
    }
    if (!paths.length && !direct.length) outside(mine, []);
    if (paths.length) y += 12;
    const ends = [...new Set(goals.map(([, link]) => link.to))].map((id) => byId.get(id));
    for (const found of row(ends)) {
      for (const [index, [one, link]] of goals.filter(([, more]) => more.to === found.node.id).entries()) {
        if (!paths.length) { down(one, found, link); continue; }
        const x = one.x + one.width, middle = one.y + one.height / 2, lane = width - 4 - 5 * (index % 5);
        edges.push(edge(link, `M${x} ${middle}H${lane}V${found.y + 30 - (index % 5) * 4}H${found.x + found.width}`, null, null, 2.5));
      }
    }
    y += 18;
  }
  return [y, [...edges, ...boxes.map(drawn)]];
};

const drawPicture = (place, state) => {
  const width = Math.floor(place.clientWidth) || 360;
  const [height, parts] = state.nodes.length ? (width < NARROW ? narrow : wide)(state, width) : [0, []];
  const label = `Picture of the site: ${state.summary}. The table below says the same.`;
  place.replaceChildren(svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...parts));
};
