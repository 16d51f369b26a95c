// The sound of the file that the server plays, a fixed time after the server hears it.

export class FileSound {
  constructor(address) {
    this.address = address;
    this.context = null;
    this.source = null;
  }

  /** Fetch and decode; call from a click, without which a browser plays nothing. */
  async load() {
    if (this.context) return;
    const context = new AudioContext();
    const response = await fetch(this.address);
    if (!response.ok) throw new Error(`${this.address}: ${response.status}`);
    this.buffer = await context.decodeAudioData(await response.arrayBuffer());
    this.context = context;
  }

  /** Let its start be heard at `at` (ms on the page's clock). */
  play(at) {
    this.stop();
    const { context } = this;
    const ahead = (at - performance.now()) / 1000 - (context.outputLatency || context.baseLatency);
    this.source = new AudioBufferSourceNode(context, { buffer: this.buffer });
    this.source.connect(context.destination);
    // A start that has passed is joined in the middle.
    this.source.start(context.currentTime + Math.max(ahead, 0), Math.max(-ahead, 0));
  }

  stop() {
    this.source?.stop();
    this.source = null;
  }
}
