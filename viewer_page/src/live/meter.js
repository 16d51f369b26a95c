// What a page measures of live frames: sound to screen, and how evenly they come.

const SHOWN_S = 2; // of the read-outs
const LONGEST_PAUSE_MS = 1000; // between frames of one utterance

export function percentile(values, share) {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

export class Meter {
  constructor() {
    this._drawn = null; // the frame of the picture that is going to the screen
    this._last = null; // when the one before had gone
    this._recent = []; // { at, latency }
    this._empty();
  }

  _empty() {
    this._latency = [];
    this._interval = [];
    this._shown = 0;
  }

  /** A new utterance: the pause before it is no interval. */
  begin() {
    this._drawn = null;
    this._last = null;
    this._recent = [];
  }

  /**
   * Call first in each picture: what was drawn in the one before has gone to the screen.
   * `now` in ms; the time counts from the capture of a frame's first sample until here.
   */
  picture(now) {
    if (this._drawn === null) return;
    const latency = Math.max(0, now - this._drawn.captured);
    this._latency.push(latency);
    this._shown += 1;
    if (this._last !== null && now - this._last < LONGEST_PAUSE_MS) {
      this._interval.push(now - this._last);
    }
    this._last = now;
    this._recent.push({ at: now, latency });
    while (this._recent[0].at < now - 1000 * SHOWN_S) this._recent.shift();
    this._drawn = null;
  }

  /** A frame was drawn into the picture that comes next. */
  drew(frame) {
    this._drawn = frame;
  }

  /** Median latency (ms) and frames a second of the last two seconds; null where unknown. */
  get recent() {
    const times = this._recent.map(({ at }) => at);
    const spent = times.length > 1 ? times.at(-1) - times[0] : 0;
    return {
      latency: percentile(this._recent.map(({ latency }) => latency), 0.5),
      latency95: percentile(this._recent.map(({ latency }) => latency), 0.95),
      fps: spent > 0 ? (1000 * (times.length - 1)) / spent : null,
    };
  }

  /** What was measured since the last report, as the server takes it. */
  report(skipped, late) {
    const round = (value) => Math.round(1000 * value) / 1000;
    const said = {
      kind: "report",
      shown: this._shown,
      skipped,
      late,
      latency_ms: this._latency.map(round),
      interval_ms: this._interval.map(round),
    };
    this._empty();
    return said;
  }
}
