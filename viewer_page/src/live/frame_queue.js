// Frames on their way to the screen: shown as they come, or each a fixed delay after its sound, so
// that lips fit a voice that is played with the same delay. What is never shown is counted.

const LONGEST = 250; // frames: a hidden page is asked for no pictures

export class FrameQueue {
  constructor() {
    this.delay = null; // ms after capture; null: at once
    this.waiting = [];
    this.skipped = 0; // a newer frame was due before the next picture
    this.late = 0; // came after their time
  }

  /** `frame`: { captured, ... }, ms on the page's clock; `now` as well. */
  push(frame, now) {
    if (this.delay !== null && frame.captured + this.delay < now) this.late += 1;
    this.waiting.push(frame);
    if (this.waiting.length > LONGEST) {
      this.waiting.shift();
      this.skipped += 1;
    }
  }

  /** The frame to show at `now`, or null where the last one stays. */
  next(now) {
    let due = this.waiting.length;
    if (this.delay !== null) {
      due = 0;
      while (due < this.waiting.length && this.waiting[due].captured + this.delay <= now) due += 1;
    }
    if (due === 0) return null;
    this.skipped += due - 1;
    return this.waiting.splice(0, due)[due - 1];
  }

  clear() {
    this.waiting = [];
  }
}
