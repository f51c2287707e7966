// SPDX-License-Identifier: GPL-3.0-or-later
// Asks for the state twice a second and draws it. What was received is only ever set as text or drawn as numbers.
"use strict";

const PERIOD_MS = 500;
const CHARTS = [
  { key: "snr_est_db", title: "Es/N0, estimated", unit: "dB", digits: 1 },
  { key: "psnr_db", title: "PSNR", unit: "dB", digits: 1 },
  { key: "cfo_hz", title: "Carrier frequency offset", unit: "Hz", digits: 0 },
  { key: "erased", title: "Symbols erased", unit: "%", digits: 1, scale: 100, zero: true },
  { key: "frames", title: "Frames", unit: "per second", digits: 1, rate: true, zero: true },
];
const OTHERS = { ssim: "SSIM" };  // and task results, by their names
const KNOWN = ["snr_est_db", "psnr_db", "cfo_hz", "erased", "frames", "clock_ppm", "gain_db", "ms_ssim", "lpips"];
const MINUS = "\u2212";

const byId = (id) => document.getElementById(id);
const number = (value, digits) => (value === null || value === undefined ? "\u2013" : value.toFixed(digits).replace("-", MINUS));
const whole = (value) => Math.round(value).toLocaleString("en");

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function duration(seconds) {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function showStatus(state) {
  const status = byId("status");
  let kind = "", text = `waiting for a receiver at ${state.source}`;
  if (state.problem) [kind, text] = ["bad", state.problem];
  else if (state.connected && !state.silent) [kind, text] = ["live", `receiving, for ${duration(state.elapsed_s)}`];
  else if (state.connected) [kind, text] = ["quiet", state.silent_s === null ? "connected, no frame yet" : `connected, silent for ${duration(state.silent_s)}`];
  else if (state.silent_s !== null) [kind, text] = ["quiet", `the receiver is gone since ${duration(state.silent_s)}`];
  status.className = `status ${kind}`;
  byId("status-text").textContent = text;
  byId("source").textContent = state.latest.codec ? `${state.source}, codec ${state.latest.codec}` : state.source;
}

function showCards(state) {
  const { latest, counts } = state;
  const ratio = latest.ratio ? `1/${(1 / latest.ratio).toFixed(1).replace(/\.0$/, "")}` : "\u2013";
  const cards = [
    [number(latest.snr_est_db, 1), "Es/N0 (dB)"],
    [number(latest.psnr_db, 1), "PSNR (dB)"],
    [latest.cfo_hz === undefined ? "\u2013" : whole(latest.cfo_hz).replace("-", MINUS), "CFO (Hz)"],
    [ratio, "ratio k/n"],
    [number(state.rate, 1), "frames per s"],
    [whole(counts.frames), "frames"],
    [whole(counts.tiles), "tiles"],
    [whole(counts.lost), "lost on the air", counts.lost > 0],
    [whole(counts.frames_dropped), "dropped here", counts.frames_dropped > 0],
    [whole(counts.overruns), "overruns", counts.overruns > 0],
  ];
  if (counts.refused) cards.push([whole(counts.refused), "frames refused", true]);
  if (counts.missed) cards.push([whole(counts.missed), "messages missed here"]);
  if (counts.damaged) cards.push([whole(counts.damaged), "messages damaged", true]);
  byId("cards").replaceChildren(...cards.map(([value, name, warn]) => {
    const card = element("div", undefined, warn ? "card warn" : "card");
    card.append(element("b", value), element("span", name));
    return card;
  }));
}

const shown = {};
function setPicture(image, path, version) {
  if (shown[image.id] === path + version) return;
  shown[image.id] = path + version;
  const next = new Image();  // swapped in when it is there, so that nothing flickers
  next.onload = () => { image.src = next.src; image.hidden = false; };
  next.src = `${path}?v=${version}`;
}

function showScenes(scenes) {
  byId("no-picture").hidden = scenes.length > 0;
  if (!scenes.length) return;
  const [newest, ...older] = scenes;
  const size = newest.image_size[0] ? `, image of ${newest.image_size[1]} \u00d7 ${newest.image_size[0]}` : "";
  byId("scene-note").textContent = `scene ${newest.id}, ${newest.arrived} of ${newest.tiles} tiles${size}`;
  setPicture(byId("picture"), `/picture/${newest.id}.png`, newest.version);
  setPicture(byId("map"), `/map/${newest.id}.png`, newest.version);
  const key = older.map((scene) => scene.id + scene.version).join();
  if (shown.thumbnails === key) return;
  shown.thumbnails = key;
  byId("thumbnails").replaceChildren(...older.map((scene) => {
    const figure = element("figure"), image = element("img");
    image.alt = `scene ${scene.id}`;
    image.src = `/picture/${scene.id}.png?v=${scene.version}`;
    figure.append(image, element("figcaption", `${scene.arrived} of ${scene.tiles}`));
    return figure;
  }));
}

function sharp(canvas) {  // a drawing surface in CSS pixels
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
  const draw = canvas.getContext("2d");
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.clearRect(0, 0, width, height);
  draw.font = '11px Inter, "Helvetica Neue", "Segoe UI", system-ui, sans-serif';
  return [draw, width, height];
}

function showConstellation(points) {
  const [draw, width, height] = sharp(byId("constellation"));
  const span = 3, at = (value, size) => size / 2 + (value / span) * (size / 2 - 6);
  draw.strokeStyle = "#dfe3e6";
  draw.lineWidth = 1;
  for (let tick = -span; tick <= span; tick++) {
    draw.beginPath();
    draw.moveTo(at(tick, width), 6); draw.lineTo(at(tick, width), height - 6);
    draw.moveTo(6, at(tick, height)); draw.lineTo(width - 6, at(tick, height));
    draw.stroke();
  }
  draw.strokeStyle = "#9aa4ad";
  draw.beginPath();
  draw.arc(width / 2, height / 2, at(1, width) - width / 2, 0, 2 * Math.PI);
  draw.stroke();
  draw.fillStyle = "rgba(11, 92, 143, 0.65)";
  for (const [i, q] of points) {
    if (Math.abs(i) > span || Math.abs(q) > span) continue;
    draw.beginPath();
    draw.arc(at(i, width), at(-q, height), 2.2, 0, 2 * Math.PI);
    draw.fill();
  }
  draw.fillStyle = "#616a73";
  draw.fillText("I", width - 12, height / 2 - 5);
  draw.fillText("Q", width / 2 + 5, 15);
}

function steps(low, high, most) {  // round numbers between two values
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const out = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) out.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  return [out, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))];
}

function drawChart(canvas, chart, series, history) {
  const [draw, width, height] = sharp(canvas);
  const scale = chart.scale || 1, seconds = history.width_s;
  const value = (name, i) => chart.rate ? series.count[i] / seconds : series[name][i] === null ? null : scale * series[name][i];
  const lows = [], highs = [], last = history.bins - 1;
  for (let i = 0; i <= last; i++) {
    if (value("mean", i) === null) continue;
    lows.push(value("low", i)); highs.push(value("high", i));
  }
  if (!lows.length) return;
  let low = Math.min(...lows), high = Math.max(...highs);
  if (chart.zero) low = Math.min(0, low);
  const room = Math.max(0.08 * (high - low), 1e-3 * Math.max(Math.abs(high), 1));
  low -= chart.zero ? 0 : room; high += room;
  const [ticks, digits] = steps(low, high, 4), labels = ticks.map((t) => number(t, digits));
  const left = 8 + Math.max(...labels.map((text) => draw.measureText(text).width)), right = width - 6, top = 6, bottom = height - 20;
  const total = seconds * Math.max(history.bins, 8);
  const x = (i) => left + ((i + 0.5) * seconds / total) * (right - left), y = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
  draw.fillStyle = "#616a73"; draw.strokeStyle = "#e8ebed"; draw.lineWidth = 1; draw.textAlign = "right";
  ticks.forEach((t, i) => {
    draw.beginPath(); draw.moveTo(left, y(t)); draw.lineTo(right, y(t)); draw.stroke();
    draw.fillText(labels[i], left - 5, y(t) + 4);
  });
  draw.textAlign = "center";
  const [unit, name] = total > 7200 ? [3600, "h"] : total > 240 ? [60, "min"] : [1, "s"];
  const [times, timeDigits] = steps(0, total / unit, 5);
  for (const t of times) {
    const place = left + (t * unit / total) * (right - left);
    if (place < right - 12) draw.fillText(t ? number(t, timeDigits) : `0 ${name}`, Math.max(place, left + 8), height - 5);
  }
  if (!chart.rate) {  // from the smallest to the largest value of each bin
    draw.fillStyle = "#cfe2ef";
    const step = Math.max(1.5, (right - left) * seconds / total);
    for (let i = 0; i <= last; i++) {
      if (value("mean", i) === null) continue;
      const from = y(value("high", i)), to = y(value("low", i));
      draw.fillRect(x(i) - step / 2, from, step, Math.max(1, to - from));
    }
  }
  draw.strokeStyle = "#0b5c8f"; draw.lineWidth = 1.6; draw.lineJoin = "round";
  draw.beginPath();
  let open = false, end = last - (chart.rate && last > 0 ? 1 : 0);  // the last bin is still filling
  for (let i = 0; i <= end; i++) {
    const v = value("mean", i);
    if (v === null) { open = false; continue; }
    if (open) draw.lineTo(x(i), y(v)); else { draw.moveTo(x(i), y(v)); draw.lineTo(x(i) + 0.1, y(v)); }
    open = true;
  }
  draw.stroke();
}

const charts = new Map();
function showCharts(state) {
  const { history } = state;
  const others = Object.keys(history.series).filter((key) => !KNOWN.includes(key)).map((key) => ({ key, title: OTHERS[key] || key[0].toUpperCase() + key.slice(1), unit: "", digits: 3 }));
  for (const chart of [...CHARTS, ...others]) {
    const series = history.series[chart.key];
    if (!series) continue;
    if (!charts.has(chart.key)) {
      const box = element("div", undefined, "chart"), head = element("h3"), canvas = element("canvas"), now = element("span");
      head.append(element("b", chart.title), now);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${chart.title} over time`);
      box.append(head, canvas);
      byId("charts").append(box);
      charts.set(chart.key, { canvas, now });
    }
    const { canvas, now } = charts.get(chart.key);
    const latest = chart.rate ? state.rate : state.latest[chart.key];
    now.textContent = `${number(latest === undefined ? null : latest * (chart.scale || 1), chart.digits)} ${chart.unit}`;
    drawChart(canvas, chart, series, history);
  }
}

function showTables(state) {
  byId("events").replaceChildren(...(state.events.length ? [...state.events].reverse() : [["", "none yet"]]).map(([at, text]) => {
    const line = element("li");
    line.append(element("time", at === "" ? "" : duration(at)), element("span", text));
    return line;
  }));
  const rows = state.settings.length ? state.settings : [["the receiver has told none yet", ""]];
  const key = JSON.stringify(rows);
  if (shown.settings === key) return;
  shown.settings = key;
  byId("settings").replaceChildren(...rows.map(([name, value]) => {
    const row = element("tr");
    row.append(element("td", name), element("td", value));
    return row;
  }));
}

async function refresh() {
  try {
    const state = await (await fetch("/state.json")).json();
    showStatus(state);
    showCards(state);
    showScenes(state.scenes);
    showConstellation(state.constellation);
    showCharts(state);
    showTables(state);
    document.body.dataset.frames = state.counts.frames;
  } catch (error) {
    byId("status").className = "status bad";
    byId("status-text").textContent = "the monitor does not answer; is djscc monitor still running?";
  }
  setTimeout(refresh, PERIOD_MS);
}

refresh();
