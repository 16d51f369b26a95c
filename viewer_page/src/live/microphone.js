// The browser's microphone: pieces of mono sound at the student's rate, with the time of their
// capture, and the same voice played back later where it is asked for.

import { CaptureClock } from "./clocks.js";

const PIECE_S = 0.01; // the hop of the student's features: nothing waits longer than it must
const LONGEST_DELAY_S = 3;

const WHY = {
  NotAllowedError: "The microphone was not allowed. Allow it for this page in the browser, then start again.",
  NotFoundError: "There is no microphone. Connect one, then start again.",
  NotReadableError: "Another program holds the microphone. Close it, then start again.",
};

export class Microphone {
  constructor(rateHz) {
    this.rateHz = rateHz;
    this.clock = new CaptureClock();
    this.taken = 0; // samples at rateHz
    this.context = null;
  }

  /** Open; `onPiece(samples, captured)` gets Float32Array and ms, `onEnd()` a device that went away. */
  async open(onPiece, onEnd) {
    const wanted = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
      this.context = new AudioContext({ latencyHint: "interactive" });
      await this.context.audioWorklet.addModule("/microphone.js");
      await this.context.resume();
    } catch (error) {
      this.close();
      throw new Error(WHY[error.name] ?? `The microphone did not start (${error.message}).`);
    }
    this.source = this.context.createMediaStreamSource(this.stream);
    const processorOptions = { rateHz: this.rateHz, pieceSamples: Math.round(PIECE_S * this.rateHz) };
    this.tap = new AudioWorkletNode(this.context, "microphone-tap", { numberOfOutputs: 0, processorOptions });
    this.tap.port.onmessage = ({ data: { samples, heard_s: heard } }) => {
      this.clock.handedOver(heard, performance.now());
      onPiece(samples, this.clock.at(this.taken / this.rateHz));
      this.taken += samples.length;
    };
    this.source.connect(this.tap);
    for (const track of this.stream.getAudioTracks()) track.onended = onEnd;
  }

  /** Play the voice so many ms after its capture; null: not at all. */
  playDelayed(delay) {
    if (this.echo) {
      this.source.disconnect(this.echo);
      this.echo.disconnect();
      this.echo = null;
    }
    if (delay === null) return;
    this.echo = this.context.createDelay(LONGEST_DELAY_S);
    // What leaves the context now is heard after its output latency.
    const seconds = delay / 1000 - (this.context.outputLatency || this.context.baseLatency);
    this.echo.delayTime.value = Math.min(Math.max(seconds, 0), LONGEST_DELAY_S);
    this.source.connect(this.echo).connect(this.context.destination);
  }

  close() {
    if (this.tap) this.tap.port.onmessage = null;
    for (const track of this.stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.context?.close();
  }
}
