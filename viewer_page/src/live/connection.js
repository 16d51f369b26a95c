// The WebSocket to the server: sound out, frames in (learn2talk/viewer/live_session.py has the bytes).

import { ServerClock } from "./clocks.js";

const FRAME_HEADER = 40; // bytes
const ASK_CLOCK_MS = 1000;

/** A frame message: { number, captured (ms, the clock of its sound), dropped, positions (3 R) }. */
export function readFrame(buffer) {
  const header = new DataView(buffer, 0, FRAME_HEADER);
  return {
    number: header.getUint32(0, true),
    captured: header.getFloat64(16, true),
    sent: header.getFloat64(24, true),
    compute: header.getFloat32(32, true),
    dropped: header.getUint32(36, true),
    positions: new Float32Array(buffer, FRAME_HEADER, 3 * header.getUint32(4, true)),
  };
}

export class Connection {
  /**
   * Handlers: `ready(said)`, `started(said)`, `finished(said)`, `frame(frame)` with `captured` on
   * the page's clock, `lost(reason)`.
   */
  constructor(address, handlers) {
    this.clock = new ServerClock();
    this.serverTimes = false; // whether the sound's times are the server's: a file plays
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this._take(data, handlers);
    this.socket.onopen = () => this._askClock();
    this.socket.onclose = ({ reason }) => {
      clearInterval(this.asking);
      handlers.lost(reason);
    };
    this.asking = setInterval(() => this._askClock(), ASK_CLOCK_MS);
  }

  _take(data, handlers) {
    if (data instanceof ArrayBuffer) {
      const frame = readFrame(data);
      if (this.serverTimes) frame.captured = this.clock.onPage(frame.captured);
      handlers.frame(frame);
      return;
    }
    const said = JSON.parse(data);
    if (said.kind === "clock") {
      this.clock.answered(said.sent_ms, said.server_ms, performance.now());
    } else if (said.kind === "started") {
      this.serverTimes = said.source === "file";
      handlers.started({ ...said, begins: this.clock.onPage(said.begins_ms) });
    } else handlers[said.kind](said);
  }

  _askClock() {
    this.say({ kind: "clock", sent_ms: performance.now() });
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Samples (Float32Array) whose first was captured at `captured`, ms. */
  sound(samples, captured) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const message = new ArrayBuffer(8 + 4 * samples.length);
    new DataView(message).setFloat64(0, captured, true);
    new Float32Array(message, 8).set(samples); // little-endian, as every browser's machine is
    this.socket.send(message);
  }
}
