// Two clocks brought onto the page's own, `performance.now()`. Messages arrive late by an amount that
// changes and is never negative, so the least late of the last seconds tells most.

const WINDOW_MS = 5000; // the least of this window and of the one before: both clocks may drift

export class CaptureClock {
  constructor() {
    this._began = null;
    this._least = Infinity;
    this._before = Infinity;
  }

  /** At `now` (ms) the sound up to `seconds` of the device had been handed over. */
  handedOver(seconds, now) {
    this._began ??= now;
    if (now - this._began > WINDOW_MS) {
      this._began = now;
      this._before = this._least;
      this._least = Infinity;
    }
    this._least = Math.min(this._least, now - 1000 * seconds);
  }

  /** When (ms) the sound at `seconds` of the device was captured. */
  at(seconds) {
    return Math.min(this._least, this._before) + 1000 * seconds;
  }
}

export class ServerClock {
  constructor() {
    this._offset = null;
    this._roundTrip = Infinity;
  }

  /** An answer to a question sent at `sent` (page, ms), with the server's time, come at `now`. */
  answered(sent, server, now) {
    if (now - sent > this._roundTrip) return;
    this._roundTrip = now - sent;
    this._offset = (sent + now) / 2 - server;
  }

  get known() {
    return this._offset !== null;
  }

  /** A time of the server on the page's clock, ms. */
  onPage(server) {
    return server + this._offset;
  }
}
