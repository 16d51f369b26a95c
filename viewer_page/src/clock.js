// Time of what is shown. Where a sound plays, its own clock is the master: the faces follow it, so
// that they cannot drift from what is heard. Without a sound, or behind its end, the wall clock runs.

export class Clock {
  /** `duration` in seconds; `sound` an HTMLAudioElement or null. */
  constructor(duration, sound) {
    this.duration = duration;
    this.sound = sound;
    this.loop = false;
    this.playing = false;
    this.speed = 1;
    this._held = 0;
    this._started = 0; // of the wall clock, while it is the master
  }

  get rate() {
    return this.speed;
  }

  set rate(value) {
    this._held = this.time;
    this._started = performance.now();
    this.speed = value;
    if (this.sound) this.sound.playbackRate = value;
  }

  /** Seconds, 0 to the duration. */
  get time() {
    if (!this.playing) return this._held;
    if (this._soundLeads()) return Math.min(this.sound.currentTime, this.duration);
    const passed = ((performance.now() - this._started) / 1000) * this.speed;
    return Math.min(this._held + passed, this.duration);
  }

  _soundLeads() {
    return this.sound !== null && !this._silent && !this.sound.ended;
  }

  play() {
    if (this.playing || this.duration <= 0) return;
    if (this._held >= this.duration - 1e-3) this._held = 0;
    this.playing = true;
    this._from(this._held);
  }

  pause() {
    this._held = this.time;
    this.playing = false;
    this.sound?.pause();
  }

  seek(seconds) {
    this._held = Math.min(Math.max(seconds, 0), this.duration);
    if (this.playing) this._from(this._held);
    else if (this.sound) this.sound.currentTime = Math.min(this._held, this.sound.duration || 0);
  }

  _from(seconds) {
    this._held = seconds;
    this._started = performance.now();
    const length = this.sound?.duration ?? 0;
    this._silent = this.sound === null || !(seconds < length - 1e-3);
    if (this._silent) {
      this.sound?.pause();
      return;
    }
    this.sound.playbackRate = this.speed;
    this.sound.currentTime = seconds;
    this.sound.play().catch((error) => {
      if (error.name === "AbortError") return; // a pause or seek came first
      this._silent = true; // the browser plays no sound now: show the motion all the same
      this._started = performance.now();
    });
  }

  /** Once a drawn frame: goes on behind the sound's end, loops or stops at the end of all. */
  tick() {
    if (!this.playing) return;
    if (this.sound && !this._silent && this.sound.ended) {
      this._held = Math.min(this.sound.duration, this.duration);
      this._started = performance.now();
      this._silent = true;
    }
    if (this.time < this.duration - 1e-3) return;
    if (this.loop) this._from(0);
    else {
      this._held = this.duration;
      this.playing = false;
      this.sound?.pause();
    }
  }
}
