// The faces as a picture: what the canvas shows, with names, time and the scale of errors.

import { STOPS } from "./colour_scale.js";

/** A canvas with what the stage shows now; `labels` a list of lines for each pane, `caption` below. */
export function composePicture(stage, { labels, caption, heatMax, ink, paper }) {
  stage.draw(); // into the buffer that is read in this same turn
  const { canvas } = stage;
  const ratio = canvas.width / canvas.clientWidth;
  const picture = document.createElement("canvas");
  picture.width = canvas.width;
  picture.height = canvas.height + Math.round(26 * ratio);
  const pen = picture.getContext("2d");
  pen.fillStyle = paper;
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.drawImage(canvas, 0, 0);
  pen.scale(ratio, ratio);
  pen.fillStyle = ink;
  pen.font = "600 13px system-ui, 'DejaVu Sans', sans-serif";
  stage.layout().forEach((place, i) => {
    labels[i].forEach((line, row) => pen.fillText(line, place.x + 10, place.y + 20 + 18 * row));
  });
  pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  pen.fillText(caption, 10, canvas.clientHeight + 17);
  if (heatMax > 0) drawScale(pen, canvas.clientWidth - 60, 40, heatMax);
  return picture;
}

function drawScale(pen, x, y, heatMax) {
  const gradient = pen.createLinearGradient(0, y + 150, 0, y);
  STOPS.forEach((stop, i) => {
    const colour = `rgb(${stop.map((c) => Math.round(255 * c)).join(" ")})`;
    gradient.addColorStop(i / (STOPS.length - 1), colour);
  });
  pen.fillText(`${heatMax} mm`, x, y - 6);
  pen.fillText("0 mm", x, y + 164);
  pen.fillStyle = gradient;
  pen.fillRect(x, y, 14, 150);
}
