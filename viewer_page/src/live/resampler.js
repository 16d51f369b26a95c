// Sound at one rate to another, in pieces of any size: a windowed sinc, one set of weights for each
// place that an output sample can have between two input samples.

const CROSSINGS = 12; // zero crossings of the sinc on each side
const PASSED = 0.94; // of the lower rate's band: what is beyond would fold back

function commonDivisor(a, b) {
  return b === 0 ? a : commonDivisor(b, a % b);
}

export class Resampler {
  /** Rates are whole numbers of samples a second. */
  constructor(fromHz, toHz) {
    const divisor = commonDivisor(fromHz, toHz);
    this.up = toHz / divisor; // output sample k lies at input position k down / up
    this.down = fromHz / divisor;
    const cutoff = PASSED * Math.min(1, toHz / fromHz);
    this.half = Math.ceil(CROSSINGS / cutoff);
    this.weights = Array.from({ length: this.up }, (_, phase) => this._weights(phase, cutoff));
    this.kept = new Float32Array(this.half); // zeros stand before the start
    this.firstKept = -this.half; // input position of kept[0]
    this.made = 0; // output samples so far
  }

  _weights(phase, cutoff) {
    const shift = phase / this.up;
    const weights = Float32Array.from({ length: 2 * this.half }, (_, i) => {
      const away = i - this.half + 1 - shift;
      const x = Math.PI * cutoff * away;
      const sinc = x === 0 ? 1 : Math.sin(x) / x;
      const window = Math.cos((Math.PI * away) / (2 * this.half)) ** 2;
      return Math.abs(away) < this.half ? sinc * window : 0;
    });
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => weight / sum);
  }

  /** Take samples (Float32Array); returns the output samples that are complete now. */
  push(samples) {
    const { half, up, down } = this;
    const sound = new Float32Array(this.kept.length + samples.length);
    sound.set(this.kept);
    sound.set(samples, this.kept.length);
    const end = this.firstKept + sound.length;
    const out = [];
    for (;;) {
      const whole = Math.floor((this.made * down) / up);
      if (whole + half >= end) break;
      const weights = this.weights[(this.made * down) % up];
      const first = whole - half + 1 - this.firstKept;
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * sound[first + i];
      out.push(sum);
      this.made += 1;
    }
    const next = Math.floor((this.made * down) / up) - half + 1;
    const drop = Math.max(0, next - this.firstKept);
    this.kept = sound.slice(drop);
    this.firstKept += drop;
    return Float32Array.from(out);
  }
}
