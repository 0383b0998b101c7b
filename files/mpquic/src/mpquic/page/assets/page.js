// SPDX-License-Identifier: GPL-3.0-or-later
// Asks the service every second how things are, and shows it. What daemons and peers say is shown as text, never as HTML.
"use strict";

const EVERY = 1000, PATIENCE = 5000, EVENTS = 5000, DAY = 60000;
const LEVELS = { good: "works", unsure: "in doubt", bad: "down" };
const $ = (id) => document.getElementById(id);
const element = (name, kind, ...children) => {
  const found = document.createElement(name);
  if (kind) found.className = kind;
  found.append(...children);
  return found;
};
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

let last = null;
let heard = 0;

const ask = async (path) => {
  const answer = await fetch(location.origin + path, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store", credentials: "same-origin" });
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
};

const marked = (level, text) => {
  const icon = element("b", "", `${MARKS[level] || "·"} `);
  icon.setAttribute("aria-hidden", "true");
  return element("span", level, icon, text);
};

const row = (node, names) => {
  const head = element("th", "", node.name);
  head.scope = "row";
  const measured = node.state !== undefined;
  const fault = node.fault ? marked(node.level, node.fault) : node.last ? `${duration(node.last.ago_s)} ago: ${node.last.reason}` : "–";
  const about = node.kind === "path" || !node.about ? "" : ` (${node.about})`;
  const found = element("tr", "",
    element("td", "", TITLES[node.kind] + (node.kind === "path" ? ` ${node.about}` : "")), head,
    element("td", "", marked(node.level, node.state || LEVELS[node.level])),
    element("td", "", measured ? duration(node.since_s) : "–"),
    element("td", "", milliseconds(node.rtt)), element("td", "", percent(node.loss)),
    element("td", "", rate(node.tx)), element("td", "", rate(node.rx)),
    element("td", "", node.queue === null || node.queue === undefined ? "–" : String(node.queue)),
    element("td", "", node.mtu ? String(node.mtu) : "–"),
    element("td", "text", fault), element("td", "", (names.get(node.id) || []).join(", ") || "–"));
  head.append(element("span", "quiet", about));
  found.dataset.id = node.id;
  found.dataset.level = node.level;
  return found;
};

const told = (state) => {
  const before = new Map(((last && last.nodes) || []).map((node) => [node.id, node]));
  const news = [];
  for (const node of state.nodes) {
    const old = before.get(node.id);
    if (!old || old.level === node.level || node.state === undefined) continue;
    const whose = node.kind === "path" ? ` ${node.about}` : "";
    news.push(`${TITLES[node.kind]} ${node.name}${whose}: ${node.state}${node.fault && node.fault !== node.state ? `, ${node.fault}` : ""}`);
  }
  if (news.length) $("told").textContent = `${clock(state.at)} ${news.slice(0, 3).join("; ")}${news.length > 3 ? `; and ${news.length - 3} more` : ""}`;
};

const show = (state) => {
  told(state);
  $("host").textContent = state.host;
  document.title = `${state.level === "good" ? "" : `${MARKS[state.level]} `}${state.host}: ${state.summary}`;
  $("summary").className = `badge ${state.level}`;
  $("summary").textContent = `${MARKS[state.level]} ${state.summary}`;
  $("clock").textContent = `as of ${clock(state.at)}`;
  showNotes(state);
  drawPicture($("picture"), state);
  const names = new Map();
  const byId = new Map(state.nodes.map((node) => [node.id, node]));
  for (const link of state.links) names.set(link.from, [...(names.get(link.from) || []), `${TITLES[byId.get(link.to).kind]} ${byId.get(link.to).name}`]);
  const order = [...state.nodes].sort((one, other) => KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind));
  document.querySelector("#ends tbody").replaceChildren(...order.map((node) => row(node, names)));
  last = state;
};

const showNotes = (state) => {
  const shown = state.notes.map((note) =>
    element("li", "", marked(note.level || "quiet", `${note.at === undefined ? "" : `${duration(Math.max(0, state.at - note.at))} ago `}${note.text}`)));
  $("notes").replaceChildren(...shown);
  $("notes").hidden = !shown.length;
};

const strip = (line, day) => {
  const found = svg("svg", { viewBox: `0 0 ${day.steps * 4} 24`, preserveAspectRatio: "none", role: "img" });
  const heights = { good: 8, unsure: 16, bad: 24 };
  line.level.forEach((level, at) => {
    if (level === null) return;
    const high = heights[level];
    const when = clock(day.since + at * day.step_s);
    found.append(svg("rect", { class: level, x: at * 4, y: 24 - high, width: 3.2, height: high }, svg("title", {}, `${when}: ${LEVELS[level]}`)));
  });
  return found;
};

const rates = (line, day) => {
  const most = Math.max(1, ...line.tx.map((value) => value || 0), ...line.rx.map((value) => value || 0));
  const y = (value) => (30 - (28 * (value || 0)) / most).toFixed(1);
  const found = svg("svg", { class: "rates", viewBox: `0 0 ${day.steps} 30`, preserveAspectRatio: "none", role: "img" });
  const points = (values) => values.map((value, at) => `${at + 0.5} ${y(value)}`).join("L");
  found.setAttribute("aria-label", `at most ${rate(most)}`);
  if (line.kind !== "class") found.append(svg("path", { class: "rx", d: `M0.5 30L${points(line.rx)}L${day.steps - 0.5} 30Z` }));
  found.append(svg("path", { class: "tx", d: `M${points(line.tx)}` }));
  return [found, most];
};

const dayLine = (line, day) => {
  const parts = [];
  if (line.kind !== "class") {
    parts.push(line.down_s ? `down for ${duration(line.down_s)}` : "never down");
    if (line.doubt_s) parts.push(`in doubt for ${duration(line.doubt_s)}`);
    if (line.rtt_max !== null) parts.push(`RTT at most ${milliseconds(line.rtt_max)}`);
    if (line.loss_max) parts.push(`loss at most ${percent(line.loss_max)}`);
  }
  const [curve, most] = rates(line, day);
  parts.push(`mean of 15 min at most ${rate(most === 1 ? 0 : most)}`);
  const found = element("div", "line",
    element("h3", "", `${TITLES[line.kind]} ${line.name}`, element("span", "quiet", line.of ? ` of ${line.of}` : "")),
    element("p", line.down_s ? "bad" : "quiet", parts.join(", ")));
  if (line.kind !== "class") {
    const bars = strip(line, day);
    bars.setAttribute("aria-label", parts.join(", "));
    found.append(element("p", "quiet", "state"), bars);
  }
  found.append(element("p", "quiet", line.kind === "class" ? "↑ line" : "↑ line, ↓ area"), curve);
  found.dataset.id = line.id;
  return found;
};

const showDay = (day) => {
  if (!day.lines.length) return $("day").replaceChildren(element("p", "quiet", day.why));
  const order = ["tunnel", "path", "class"];
  const sorted = [...day.lines].sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
  const axis = element("p", "axis quiet", element("span", "", `${clock(day.since)} yesterday`), element("span", "", "now"));
  return $("day").replaceChildren(...sorted.map((line) => dayLine(line, day)), axis);
};

const showEvents = (found) => {
  const items = found.events.map((event) => {
    const at = new Date(event.at * 1000);
    const when = element("time", "", at.toLocaleString([], { hour12: false, weekday: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" }));
    when.dateTime = at.toISOString();
    const what = [event.path && `path ${event.path}`, event.instance && `tunnel ${event.instance}`, event.peer && `peer ${event.peer}`].filter(Boolean).join(", ");
    const text = `${what ? `${what}: ` : ""}${event.kind.startsWith("path_") || event.kind.startsWith("tunnel_") ? "" : `${event.kind}: `}${event.what}`;
    return element("li", "", when, marked(event.level, text), event.reason ? ` – ${event.reason}` : "");
  });
  if (found.more) items.push(element("li", "quiet", `and ${found.more} before (mpquic history --show events)`));
  if (!items.length) items.push(element("li", "quiet", found.why || "nothing happened in the last 24 hours"));
  $("events").replaceChildren(...items);
};

const fresh = (yes) => {
  document.body.classList.toggle("old", !yes);
  $("stale").hidden = yes;
  if (yes) heard = Date.now();
  else $("stale").textContent = heard ? `No answer since ${clock(heard / 1000)}: what is shown is old.` : "No answer from the service of this page.";
};

// Again and again, but not while nobody looks.
const repeat = (path, every, use, failed) => {
  let timer = 0, busy = false;
  const go = async () => {
    clearTimeout(timer);
    if (busy || document.hidden) return;
    busy = true;
    try { use(await ask(path)); } catch (error) { failed(error); }
    busy = false;
    timer = setTimeout(go, every);
  };
  document.addEventListener("visibilitychange", go);
  go();
};

repeat("/state", EVERY, (state) => { fresh(true); show(state); }, () => fresh(false));
repeat("/events", EVENTS, showEvents, () => {});
repeat("/day", DAY, showDay, () => {});
addEventListener("resize", () => { if (last) drawPicture($("picture"), last); });
