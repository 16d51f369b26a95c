// Runs beside the sound: mixes to mono, brings to the rate of the student and hands over pieces.

import { Resampler } from "./resampler.js";

class MicrophoneTap extends AudioWorkletProcessor {
  constructor({ processorOptions: { rateHz, pieceSamples } }) {
    super();
    this.resampler = new Resampler(sampleRate, rateHz);
    this.piece = new Float32Array(pieceSamples);
    this.filled = 0;
    this.heard = 0; // samples of the device
  }

  process([channels]) {
    if (channels.length === 0) return true; // nothing is connected now
    const mono = new Float32Array(channels[0].length);
    for (const channel of channels) {
      for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / channels.length;
    }
    this.heard += mono.length;
    for (const sample of this.resampler.push(mono)) {
      this.piece[this.filled++] = sample;
      if (this.filled < this.piece.length) continue;
      const samples = this.piece.slice();
      this.port.postMessage({ samples, heard_s: this.heard / sampleRate }, [samples.buffer]);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("microphone-tap", MicrophoneTap);
