"use strict";
// The rules of WCAG 2.1 AA that a page can break by itself; `problems(window)` lists what breaks one.
// A look from a browser: colours are computed, so style sheets, themes and nesting count.
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const rgba = text => {
  const n = text.match(/[\d.]+/g).map(Number);
  return [...n.slice(0, 3), n.length > 3 ? n[3] : 1];
};
const over = ([r, g, b, a], below) => [r, g, b].map((c, k) => a * c + (1 - a) * below[k]);

function background(window, element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(window.getComputedStyle(e).backgroundColor);
    if (colour[3]) layers.push(colour);
    if (colour[3] === 1) break;
  }
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  return layers.reverse().reduce((below, layer) => over(layer, below), dark ? [18, 18, 18] : [255, 255, 255]);
}

function contrast(window, element) {
  const below = background(window, element);
  const ink = over(rgba(window.getComputedStyle(element).color), below);
  const [high, low] = [luminance(ink), luminance(below)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function problems(window) {
  const page = window.document, found = new Set();
  const all = what => [...page.querySelectorAll(what)];
  const name = e => `${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}.${e.className} "${e.textContent.trim().slice(0, 30)}"`;
  const labelled = e => (e.getAttribute("aria-label") || e.getAttribute("title") || e.textContent
    || [...(e.labels || [])].map(l => l.textContent).join("") || e.querySelector("img[alt]")?.alt || "").trim();
  for (const details of all("details")) details.open = true;

  if (!page.documentElement.lang) found.add("html has no lang");
  if (!page.title.trim()) found.add("no title");
  if (!page.querySelector('link[rel="icon"]')) found.add("no favicon");
  if (!/width=device-width/.test(page.querySelector('meta[name="viewport"]')?.content)) found.add("no viewport");
  if (all("main").length !== 1) found.add("not one main");
  if (all("h1").length !== 1) found.add(`${all("h1").length} h1`);
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const here = Number(heading.tagName[1]);
    if (here > level + 1) found.add(`heading skips a level: ${name(heading)}`);
    level = here;
  }
  for (const e of all("img")) if (!e.hasAttribute("alt")) found.add(`no alt: ${e.src.slice(-40)}`);
  for (const e of all("a[href], button, summary")) if (!labelled(e)) found.add(`no name: ${e.outerHTML.slice(0, 60)}`);
  for (const e of all("input, select, textarea")) if (!labelled(e)) found.add(`no label: ${e.outerHTML.slice(0, 60)}`);
  for (const e of all('[role="region"], nav, [role="group"]')) {
    if (!e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby")) found.add(`unnamed: ${name(e)}`);
  }
  for (const e of all("svg, canvas")) {
    if (e.closest(".js-plotly-plot") || e.closest('[aria-hidden="true"]')
      || e.getBoundingClientRect().right < 0) continue;
    if (!e.getAttribute("aria-label")) found.add(`picture without a name: ${e.outerHTML.slice(0, 60)}`);
  }
  const ids = all("[id]").filter(e => !e.closest("svg")).map(e => e.id);
  for (const id of ids.filter((id, k) => ids.indexOf(id) !== k)) found.add(`two elements #${id}`);
  for (const e of all("table")) if (!e.querySelector("th")) found.add("a table without headings");
  for (const e of all("*")) {
    const style = window.getComputedStyle(e);
    const scrolls = ["auto", "scroll"].includes(style.overflowX) && e.scrollWidth > e.clientWidth + 1;
    if (scrolls && e.tabIndex < 0) found.add(`scrolls, but not by keyboard: ${name(e)}`);
  }
  const walker = page.createTreeWalker(page.body, window.NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.offsetHeight || e.closest("svg, script, style, .js-plotly-plot, option")) continue;
    const style = window.getComputedStyle(e), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = contrast(window, e);
    if (ratio < (large ? 3 : 4.5)) found.add(`contrast ${ratio.toFixed(2)}: ${name(e)}`);
  }
  return [...found];
}
