"use strict";
// Draws the charts in the colours of the theme. Colours in figures are variables of the style sheet, as `var(--name)`,
// or as `faint(--name)`, nearly transparent.
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 600px)");

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function colored(value) {
  if (typeof value === "string") {
    const [, kind, name] = value.match(/^(var|faint)\((--[a-z0-9-]+)\)$/) ?? [];
    return name ? color(name) + (kind === "faint" ? "2e" : "") : value;
  }
  if (Array.isArray(value)) return value.map(colored);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, colored(item)]));
}

function layoutOf(layout) {
  const axis = { gridcolor: color("--grid"), linecolor: color("--line"), zeroline: false, fixedrange: narrow.matches };
  const ticks = { ticks: "outside", tickcolor: color("--line"), ticklen: 4, automargin: true, showline: true };
  const spike = { spikemode: "across", spikethickness: 1, spikedash: "dot", spikecolor: color("--muted") };
  const title = { font: { size: 12, color: color("--muted") }, standoff: 8 };
  const axes = {};
  for (const [name, own] of Object.entries({ xaxis: layout.xaxis, yaxis: layout.yaxis })) {
    axes[name] = { ...axis, ...ticks, ...(name === "xaxis" ? spike : {}), ...own, title: { ...title, ...own.title } };
  }
  axes.yaxis.title.text = axes.yaxis.title.text ?? "";
  return {
    ...layout,
    ...axes,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--text") },
    margin: { l: 48, r: 12, t: layout.annotations?.length ? 24 : 10, b: 44 },
    legend: { orientation: "h", x: 0, y: -0.2, yanchor: "top", yref: "paper", font: { size: 12 } },
    hoverlabel: { bgcolor: color("--surface"), bordercolor: color("--line"), font: { color: color("--text"), size: 12 } },
    hoverdistance: layout.hovermode === "x unified" ? -1 : 20, // -1: however far the nearest point is
    dragmode: narrow.matches ? false : "zoom",
  };
}

function draw(element) {
  const figure = colored(figures[element.dataset.figure]);
  const shown = document.getElementById("members-shown")?.checked ?? true;
  for (const trace of figure.data) if (trace.meta === "member") trace.visible = shown;
  const options = { responsive: true, displaylogo: false, displayModeBar: false };
  return Plotly.react(element, figure.data, layoutOf(figure.layout), options);
}

function drawAll() {
  for (const element of document.querySelectorAll(".chart")) if (!element.closest("[hidden]")) draw(element);
}

document.getElementById("choice")?.addEventListener("change", (event) => {
  document.querySelectorAll(".choice").forEach((panel, number) => {
    panel.hidden = number !== Number(event.target.value);
  });
  drawAll();
});
document.getElementById("members-shown")?.addEventListener("change", drawAll);
dark.addEventListener("change", drawAll);
narrow.addEventListener("change", drawAll);
drawAll();
