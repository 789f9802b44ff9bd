"use strict";
// The page of `vkdnw report`: one payload, one selected network, and the parts that show it.

const data = JSON.parse(document.getElementById("payload").textContent);
const COSTS = new Set(data.costs);
const KEPT = 6; // spectra that are shown together
const ROUNDING = 1e-16; // of the sum: shares below are not drawn
const byId = (id) => document.getElementById(id);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const state = { chosen: [], shown: null, table: null };

const place = new Map(data.architectures.map((name, index) => [name, index]));
const numeric = Object.keys(data.columns);

function layout(extra) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink }, margin: { l: 60, r: 15, t: 15, b: 50 },
    hovermode: "closest", modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink }, legend: { orientation: "h", y: -0.2 },
  };
  const made = { ...base, ...extra };
  made.xaxis = { ...axis, automargin: true, ...(extra.xaxis || {}) };
  made.yaxis = { ...axis, automargin: true, ...(extra.yaxis || {}) };
  return made;
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["sendDataToCloud"] };

function draw(id, traces, extra) {
  return Plotly.react(id, traces, layout(extra), CONFIG);
}

function cell(tag, text, number) {
  const made = document.createElement(tag);
  made.textContent = text === null || text === undefined ? "" : String(text);
  if (number) made.className = "number";
  return made;
}

function fill(table, rows, heads) {
  const body = document.createElement("tbody");
  if (heads) {
    const row = document.createElement("tr");
    row.append(...heads.map((head) => cell("th", head)));
    body.append(row);
  }
  for (const values of rows) {
    const row = document.createElement("tr");
    row.append(...values.map((value) => cell("td", value, typeof value === "number")));
    body.append(row);
  }
  table.querySelectorAll("tbody").forEach((old) => old.remove());
  table.append(body);
}

// ---- score against cost ------------------------------------------------------------------------

// Those that no other beats: cheaper (or larger, where the axis is no cost) and higher.
function front(indices, x, y, cheaper) {
  const order = indices.filter((i) => x[i] !== null && y[i] !== null);
  order.sort((a, b) => (cheaper ? x[a] - x[b] : x[b] - x[a]) || y[b] - y[a]);
  const kept = [];
  let best = -Infinity;
  for (const i of order) if (y[i] > best) { best = y[i]; kept.push(i); }
  return kept;
}

function drawScatter() {
  const nameX = byId("x").value, nameY = byId("y").value;
  const x = data.columns[nameX], y = data.columns[nameY];
  const shown = state.shown || data.architectures.map((_, index) => index);
  const trace = (indices, more) => ({
    type: "scattergl", mode: "markers", x: indices.map((i) => x[i]), y: indices.map((i) => y[i]),
    text: indices.map((i) => data.architectures[i]), customdata: indices,
    hovertemplate: "%{text}<br>" + nameX + " %{x}<br>" + nameY + " %{y}<extra></extra>", ...more,
  });
  const traces = [trace(shown, { name: "networks", marker: { size: 5, opacity: 0.55, color: "#3b82c4" } })];
  if (byId("front").checked) {
    const line = { shape: COSTS.has(nameX) ? "hv" : "vh", color: "#1a936f" };
    traces.push(trace(front(shown, x, y, COSTS.has(nameX)), {
      name: "Pareto front", mode: "lines+markers", line, marker: { size: 7, color: "#1a936f" },
    }));
  }
  traces.push(trace(state.chosen, {
    name: "selected", marker: { size: 13, symbol: "circle-open", line: { width: 3 }, color: "#d9730d" },
  }));
  const type = (name) => (byId("log").checked && COSTS.has(name) ? "log" : "linear");
  draw("scatter", traces, {
    xaxis: { title: { text: nameX }, type: type(nameX) },
    yaxis: { title: { text: nameY }, type: type(nameY) },
  });
}

// ---- the selected network ----------------------------------------------------------------------

function drawDiagram(edges) {
  const room = byId("diagram");
  room.replaceChildren();
  if (!edges || edges.length === 0) return;
  const nodes = [...new Set(edges.flatMap(([from, to]) => [from, to]))].sort((a, b) => a - b);
  const chain = edges.every(([from, to]) => to === from + 1);
  const step = chain ? 44 : 90, side = chain ? 20 : 0;
  const most = Math.max(...edges.map(([from, to]) => to - from));
  const width = chain ? 520 : 120 + nodes.length * 130;
  const height = chain ? 40 + nodes.length * step : 100 + 80 * most;
  const at = (node) => {
    const index = nodes.indexOf(node);
    return chain ? [30, side + index * step] : [60 + index * 130, height / 2];
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("width", width);
  const add = (name, attributes, text) => {
    const made = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
  };
  edges.forEach(([from, to, operation], index) => {
    const [x1, y1] = at(from), [x2, y2] = at(to);
    if (chain) {
      add("path", { d: `M${x1},${y1} L${x2},${y2}` });
      add("text", { x: x1 + 16, y: (y1 + y2) / 2 + 4 }, operation);
      return;
    }
    const bend = (to - from === 1 ? 0 : 1) * (index % 2 ? -1 : 1) * 36 * (to - from);
    const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2 + bend];  // the middle of the curve
    add("path", { d: `M${x1},${y1} Q${mx},${my + bend} ${x2},${y2}` });
    add("text", { x: mx, y: my - 6, "text-anchor": "middle" }, operation);
  });
  for (const node of nodes) {
    const [x, y] = at(node);
    add("circle", { cx: x, cy: y, r: 10 });
    add("text", { x, y: y + 4, "text-anchor": "middle" }, node);
  }
  room.append(svg);
}

function showSelected() {
  const index = state.chosen.at(-1);
  if (index === undefined) return;
  byId("name").textContent = data.architectures[index];
  drawDiagram(data.diagrams[index]);
  fill(byId("values"), numeric.map((name) => [name, data.columns[name][index]]));
}

function drawSpectra() {
  const chosen = state.chosen.length ? state.chosen : [0];
  const traces = chosen.map((index) => {
    const name = data.architectures[index];
    const whole = data.spectra[name];
    const values = (whole || data.deciles[index] || []).filter((value) => value !== null);
    const sum = values.reduce((total, value) => total + value, 0) || 1;
    const shares = [...values].sort((a, b) => b - a).map((value) => value / sum);
    const y = shares.filter((share) => share > ROUNDING);
    return {
      name: name.length > 40 ? name.slice(0, 39) + "…" : name, y, mode: whole ? "lines" : "lines+markers",
      hovertemplate: "%{x}: %{y:.3g}<extra></extra>",
    };
  });
  draw("spectrum", traces, {
    xaxis: { title: { text: "rank of the eigenvalue" } },
    yaxis: { title: { text: "share of the trace" }, type: "log", exponentformat: "power" },
    showlegend: traces.length > 1,
  });
}

function choose(index, more) {
  state.chosen = more ? [...state.chosen.filter((one) => one !== index), index].slice(-KEPT) : [index];
  showSelected();
  drawSpectra();
  drawScatter();
  if (state.table) {
    byId("networks").querySelectorAll("tbody tr").forEach((row) => mark(row));
  }
}

function mark(row) {
  row.classList.toggle("chosen", state.chosen.includes(Number(row.dataset.index)));
}

// ---- parts that do not change ------------------------------------------------------------------

function drawCourse() {
  const course = data.course;
  if (!course.aggregate) { byId("course-section").hidden = true; return; }
  const x = course.aggregate.map((_, index) => index + 1);
  draw("course", [
    { name: "each network", x, y: course.aggregate, mode: "markers", type: "scattergl", marker: { size: 4, opacity: 0.5 }, text: course.architectures },
    { name: "best so far", x, y: course.best, mode: "lines", line: { shape: "hv" } },
  ], { xaxis: { title: { text: "networks bred" } }, yaxis: { title: { text: "aggregate" } } });
}

function drawCorrelation() {
  const found = data.correlation;
  if (!found.names) { byId("correlation-section").hidden = true; return; }
  draw("correlation", [{
    type: "heatmap", x: found.names, y: found.names, z: found.tau, zmin: -1, zmax: 1, colorscale: "RdBu",
    reversescale: false, hovertemplate: "%{y}, %{x}: %{z:.2f}<extra></extra>",
  }], { yaxis: { autorange: "reversed" }, margin: { l: 110, r: 10, t: 10, b: 110 } });
}

function fillTables() {
  byId("title").textContent = data.title;
  const failed = data.tally.failures.length;
  byId("summary").textContent = `${data.tally.scored} of ${data.tally.tasks} tasks scored`
    + (failed ? `, ${failed} failed` : "") + `; ranked by ${data.by}, the mean over seeds.`;
  byId("command").textContent = data.command;
  fill(byId("settings"), Object.entries(data.settings));
  fill(byId("versions"), Object.entries(data.versions));
  byId("agreement-section").hidden = data.agreement.length === 0;
  if (data.agreement.length) {
    const heads = Object.keys(data.agreement[0]);
    fill(byId("agreement"), data.agreement.map((row) => heads.map((head) => row[head])), heads);
  }
  byId("failures-section").hidden = failed === 0;
  fill(byId("failures"), data.tally.failures.map((one) => [one.network, one.reason]), ["network", "reason"]);
}

function options(select, names, chosen) {
  select.replaceChildren(...names.map((name) => new Option(name, name, name === chosen, name === chosen)));
}

async function makeTable() {
  const source = byId("table-module").textContent;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { default: DataTable } = await import(url);
  URL.revokeObjectURL(url);
  const format = (value) => {
    if (value === null || value === undefined) return "";
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en");
    return value.toPrecision(6).replace(/\.?0+($|e)/, "$1");
  };
  const columns = [
    { title: "#", data: 0, className: "number" },
    { title: "architecture", data: 1, className: "architecture", render: DataTable.render.text() },
    ...numeric.map((name, number) => ({
      title: name, data: number + 2, className: "number",
      render: (value, kind) => (kind === "display" ? format(value) : value),
    })),
  ];
  const rows = data.architectures.map((name, index) => [index + 1, name, ...numeric.map((column) => data.columns[column][index])]);
  state.table = new DataTable("#networks", {
    data: rows, columns, deferRender: true, pageLength: 25, order: [[0, "asc"]], autoWidth: false,
    layout: { top2: { searchBuilder: { columns: true } } },
    createdRow: (row, values) => { row.dataset.index = values[0] - 1; mark(row); },
  });
  state.table.on("search.dt", () => {
    const found = state.table.rows({ search: "applied" }).indexes().toArray();
    state.shown = found.length === rows.length ? null : found;
    drawScatter();
  });
  byId("networks").addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    if (row && row.dataset.index) choose(Number(row.dataset.index), event.ctrlKey || event.metaKey);
  });
}

// The table's own style goes by a class.
function setTheme() { document.documentElement.classList.toggle("dark", dark.matches); }

async function start() {
  setTheme();
  fillTables();
  const costs = data.costs.length ? data.costs : numeric;
  options(byId("x"), numeric, costs[0]);
  options(byId("y"), numeric, data.truths[0] || (numeric.includes(data.by) ? data.by : numeric.at(-1)));
  for (const id of ["x", "y", "log", "front"]) byId(id).addEventListener("change", drawScatter);
  drawScatter();
  drawSpectra();
  drawCourse();
  drawCorrelation();
  await makeTable();
  byId("scatter").on("plotly_click", (event) => {
    choose(event.points[0].customdata, event.event.ctrlKey || event.event.metaKey);
  });
  dark.addEventListener("change", () => { setTheme(); drawScatter(); drawSpectra(); drawCourse(); drawCorrelation(); });
  choose(0, false);
  document.documentElement.dataset.ready = "true";
}

start();
