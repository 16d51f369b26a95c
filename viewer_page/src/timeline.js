// What is heard and said along time: waveform, words, visemes, curves; a click goes there.

const ROW = { ruler: 16, wave: 44, words: 20, visemes: 18, curves: 64 };
const GAP = 4;
const SERIES = [
  ["lip_error_mm", "lip error"],
  ["lip_gap_mm", "lip gap"],
];

function niceStep(range, most) {
  const rough = range / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough);
}

/** Peaks of int16 samples in as many columns as there are: [low, high] of -1 to 1. */
export function peaks(samples, columns) {
  const found = new Float32Array(2 * columns);
  for (let c = 0; c < columns; c++) {
    const end = Math.floor(((c + 1) * samples.length) / columns);
    let low = 0;
    let high = 0;
    for (let i = Math.floor((c * samples.length) / columns); i < end; i++) {
      if (samples[i] < low) low = samples[i];
      else if (samples[i] > high) high = samples[i];
    }
    found[2 * c] = low / 32768;
    found[2 * c + 1] = high / 32768;
  }
  return found;
}

export class Timeline {
  /**
   * `element` holds a canvas and the cursor; `contents`: duration (s), samples (Int16Array or null)
   * with their duration, words, phones, visemes, curves [{ name, colour, fps, values by name }].
   */
  constructor(element, contents, seek) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.cursor = element.querySelector(".cursor");
    this.contents = contents;
    this.seek = seek;
    this.duration = Math.max(contents.duration, 1e-3);
    this.from = 0;
    this.to = this.duration;
    this.rows = this._rows();
    this.canvas.style.height = `${this.height}px`;
    this._listen();
  }

  get height() {
    return this.rows.length ? this.rows.at(-1).bottom : 0;
  }

  _rows() {
    const { samples, words, phones } = this.contents;
    const names = ["ruler"];
    if (samples) names.push("wave");
    if (words.length) names.push("words");
    if (phones.length) names.push("visemes");
    for (const [key] of SERIES) if (this._series(key).length) names.push(key);
    let at = 0;
    return names.map((name) => {
      const height = ROW[name] ?? ROW.curves;
      const row = { name, top: at, bottom: at + height };
      at += height + GAP;
      return row;
    });
  }

  _series(key) {
    return this.contents.curves.filter((one) => one.values[key]);
  }

  _listen() {
    let dragged = false;
    const go = (event, snaps) => {
      const box = this.canvas.getBoundingClientRect();
      const seconds = this.secondsAt(event.clientX - box.left);
      this.seek(snaps ? this._startAt(event.clientY - box.top, seconds) : seconds);
    };
    this.element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      dragged = false;
      this.element.setPointerCapture(event.pointerId);
      go(event, true);
    });
    this.element.addEventListener("pointermove", (event) => {
      if (!this.element.hasPointerCapture(event.pointerId)) return;
      if (dragged || Math.abs(event.movementX) > 1) {
        dragged = true;
        go(event, false);
      }
    });
    this.element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const box = this.canvas.getBoundingClientRect();
        this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.secondsAt(event.clientX - box.left));
      },
      { passive: false },
    );
  }

  /** The start of the word or viseme that was clicked, else the time itself. */
  _startAt(y, seconds) {
    const row = this.rows.find((one) => y >= one.top && y < one.bottom)?.name;
    const items = { words: this.contents.words, visemes: this.contents.phones }[row] ?? [];
    return items.find((one) => seconds >= one.start_s && seconds < one.end_s)?.start_s ?? seconds;
  }

  secondsAt(x) {
    return this.from + (x / this.canvas.clientWidth) * (this.to - this.from);
  }

  xAt(seconds) {
    return ((seconds - this.from) / (this.to - this.from)) * this.canvas.clientWidth;
  }

  zoom(factor, around) {
    const span = Math.min(Math.max((this.to - this.from) * factor, 0.2), this.duration);
    const share = (around - this.from) / (this.to - this.from);
    this.from = Math.min(Math.max(around - share * span, 0), this.duration - span);
    this.to = this.from + span;
    this.draw();
  }

  /** Show where the time is; scrolls along where a part is shown. */
  place(seconds) {
    if (seconds < this.from || seconds > this.to) {
      const span = this.to - this.from;
      this.from = Math.min(Math.max(seconds - 0.05 * span, 0), this.duration - span);
      this.to = this.from + span;
      this.draw();
    }
    this.cursor.style.transform = `translateX(${this.xAt(seconds)}px)`;
  }

  draw() {
    const { canvas } = this;
    const ratio = Math.min(window.devicePixelRatio, 2);
    const width = canvas.clientWidth;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(this.height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(this.element);
    this.ink = (name) => style.getPropertyValue(`--${name}`).trim();
    this.font = `11px ${style.fontFamily}`;
    pen.font = this.font;
    pen.textBaseline = "middle";
    for (const row of this.rows) {
      if (row.name === "ruler") this._drawRuler(pen, row, width);
      else if (row.name === "wave") this._drawWave(pen, row, width);
      else if (row.name === "words") this._drawItems(pen, row, this.contents.words, (w) => w.word);
      else if (row.name === "visemes") {
        const { phones, visemes } = this.contents;
        this._drawItems(pen, row, phones, (_, i) => visemes[i]);
      } else this._drawCurves(pen, row, width);
    }
  }

  _drawRuler(pen, row, width) {
    const step = niceStep(this.to - this.from, width / 80);
    pen.fillStyle = this.ink("muted");
    pen.strokeStyle = this.ink("line");
    for (let tick = Math.ceil(this.from / step) * step; tick <= this.to; tick += step) {
      const x = Math.round(this.xAt(tick)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, row.bottom - 4);
      pen.lineTo(x, this.height);
      pen.stroke();
      const text = `${Number(tick.toFixed(3))} s`;
      if (x + pen.measureText(text).width + 4 < width) pen.fillText(text, x + 3, row.top + 8);
    }
  }

  _drawWave(pen, row, width) {
    const { samples, soundDuration } = this.contents;
    const rate = samples.length / soundDuration;
    const left = Math.max(0, this.xAt(0));
    const right = Math.min(width, this.xAt(soundDuration));
    const columns = Math.max(1, Math.floor(right - left));
    const first = Math.max(0, Math.floor(this.from * rate));
    const last = Math.min(samples.length, Math.ceil(this.to * rate));
    const found = peaks(samples.subarray(first, last), columns);
    const largest = found.reduce((most, one) => Math.max(most, Math.abs(one)), 0.05);
    const middle = (row.top + row.bottom) / 2;
    const half = (row.bottom - row.top) / 2 / largest;
    pen.fillStyle = this.ink("wave");
    for (let c = 0; c < columns; c++) {
      const top = middle - half * found[2 * c + 1];
      const bottom = middle - half * found[2 * c];
      pen.fillRect(left + c, top, 1, Math.max(1, bottom - top));
    }
  }

  _drawItems(pen, row, items, text) {
    items.forEach((item, index) => {
      const left = this.xAt(item.start_s);
      const right = this.xAt(item.end_s);
      if (right < 0 || left > this.canvas.clientWidth) return;
      pen.fillStyle = this.ink("chip");
      pen.fillRect(left + 0.5, row.top, Math.max(1, right - left - 1), row.bottom - row.top);
      const said = text(item, index);
      const room = right - left - 4;
      if (pen.measureText(said).width > room) return;
      pen.fillStyle = this.ink("text");
      pen.textAlign = "center";
      pen.fillText(said, (left + right) / 2, (row.top + row.bottom) / 2 + 0.5);
      pen.textAlign = "start";
    });
  }

  _drawCurves(pen, row, width) {
    const series = this._series(row.name);
    const largest = series.reduce((most, one) => {
      const real = row.name === "lip_gap_mm" ? (one.values.true_lip_gap_mm ?? []) : [];
      const larger = (top, value) => Math.max(top, value);
      return real.reduce(larger, one.values[row.name].reduce(larger, most));
    }, 0.1);
    const step = niceStep(largest, 3);
    const scale = (row.bottom - row.top - 12) / largest;
    pen.fillStyle = this.ink("muted");
    pen.strokeStyle = this.ink("line");
    for (let mm = 0; mm <= largest; mm += step) {
      const y = Math.round(row.bottom - scale * mm) - 0.5;
      pen.beginPath();
      pen.moveTo(0, y);
      pen.lineTo(width, y);
      pen.stroke();
      if (mm > 0) pen.fillText(`${Number(mm.toFixed(2))} mm`, 3, y - 6);
    }
    const line = (values, fps, colour, dashes) => {
      pen.beginPath();
      pen.strokeStyle = colour;
      pen.setLineDash(dashes);
      pen.lineWidth = 1.5;
      values.forEach((value, t) => {
        const x = this.xAt((t + 0.5) / fps);
        const y = row.bottom - scale * value - 0.5;
        if (t === 0) pen.moveTo(x, y);
        else pen.lineTo(x, y);
      });
      pen.stroke();
      pen.lineWidth = 1;
      pen.setLineDash([]);
    };
    for (const one of series) {
      if (row.name === "lip_gap_mm" && one.values.true_lip_gap_mm) {
        line(one.values.true_lip_gap_mm, one.fps, this.ink("muted"), [3, 3]);
      }
    }
    for (const one of series) line(one.values[row.name], one.fps, one.colour, []);
    pen.fillStyle = this.ink("muted");
    const title = SERIES.find(([key]) => key === row.name)[1];
    const real = row.name === "lip_gap_mm" && series.some((one) => one.values.true_lip_gap_mm);
    pen.textAlign = "right";
    pen.fillText(real ? `${title} (dashed: truth)` : title, width - 4, row.top + 7);
    pen.textAlign = "start";
  }
}
