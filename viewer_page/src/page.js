// The parts of the page around the faces: buttons, labels, notes, the scale, what time it is.

import { scaleGradient } from "./colour_scale.js";

const RESULT_COLOURS = [
  "#1f77b4",
  "#d1662a",
  "#2f8f4e",
  "#9257b8",
  "#b5892b",
  "#c0486e",
  "#3a9ca6",
  "#6b6f76",
  "#8a5a44",
];

export const element = (id) => document.getElementById(id);
export const resultColour = (index) => RESULT_COLOURS[index % RESULT_COLOURS.length];

/** What a result is, in a line. */
export function resultFacts(described) {
  const facts = [];
  const { mesh, splats } = described;
  if (splats) {
    const size = (splats.bytes / 1e6).toFixed(1);
    facts.push(`${splats.count.toLocaleString("en")} splats, degree ${splats.degree}, ${size} MB`);
  }
  if (mesh) {
    facts.push(`${mesh.topology}, ${mesh.vertices.toLocaleString("en")} vertices`);
    facts.push(
      mesh.num_frames > 1 ? `${mesh.num_frames} frames, ${Number(mesh.fps.toFixed(3))} fps` : "at rest",
    );
  }
  return facts.join(" · ");
}

/** Names over the panes; `panes` are results in the order of the stage's layout. */
export function placeLabels(results, places) {
  const box = element("labels");
  box.replaceChildren(
    ...results.map((result, i) => {
      const label = document.createElement("div");
      const name = document.createElement("strong");
      const dot = document.createElement("i");
      dot.style.background = resultColour(result.index);
      name.append(dot, `${result.index + 1} ${result.name}`);
      const facts = document.createElement("span");
      facts.textContent = resultFacts(result.described);
      const errors = document.createElement("span");
      errors.className = "errors";
      label.append(name, facts, errors);
      label.style.left = `${places[i].x}px`;
      label.style.top = `${places[i].y}px`;
      label.style.maxWidth = `${places[i].width - 10}px`;
      return label;
    }),
  );
}

/** Errors of a frame in words; "" where nothing is compared. */
export function errorText(error) {
  if (!error) return "";
  return `error: mean ${error.mean.toFixed(2)}, largest ${error.largest.toFixed(2)} mm`;
}

/** The errors of the frames that are shown, into the labels of `placeLabels`. */
export function showErrors(results) {
  document.querySelectorAll("#labels .errors").forEach((label, i) => {
    label.textContent = errorText(results[i].error);
  });
}

export function addNote(text, wrong = false) {
  const item = document.createElement("li");
  item.textContent = text;
  item.classList.toggle("wrong", wrong);
  element("notes").append(item);
  return item;
}

export function showScale(visible, max) {
  element("scale").hidden = !visible;
  if (!visible) return;
  document.querySelector("#scale .bar").style.background = scaleGradient();
  const ticks = [4, 3, 2, 1, 0].map((part) => {
    const tick = document.createElement("li");
    tick.textContent = `${Number(((part * max) / 4).toFixed(2))}`;
    return tick;
  });
  document.querySelector("#scale .ticks").replaceChildren(...ticks);
}

export function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

/** Light or dark: the system's wish until a choice is made on this page. */
export function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

export function systemTheme() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
