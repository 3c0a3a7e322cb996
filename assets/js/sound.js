// Sounds on their way in: <ns-listen> plays a chosen file before it is run, <ns-record> records one.
(() => {
  const { alone } = window.NoiseStudio;
  const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
  const clock = (seconds) =>
    `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  // --- <ns-listen src="URL" name="..."> -------------------------------------------------------
  const LISTEN = `
    :host { display: inline-block; }
    button { display: grid; place-items: center; width: 28px; height: 28px; padding: 0; cursor: pointer;
             color: var(--ns-accent); border: 0; border-radius: 50%;
             background: radial-gradient(closest-side, var(--ns-panel) 86%, transparent 88%),
               conic-gradient(var(--ns-accent) var(--done, 0%), var(--ns-line-strong) 0); }
    button:hover { color: var(--ns-accent-strong); }
    button:focus-visible { outline: 2px solid var(--ns-accent); outline-offset: 2px; }
    button[aria-disabled=true] { color: var(--ns-muted); cursor: default; opacity: .6; }
    svg { width: 11px; height: 11px; fill: currentColor; }
    .two, [aria-pressed=true] .one { display: none; } [aria-pressed=true] .two { display: block; }`;

  class Listen extends HTMLElement {
    static observedAttributes = ["src"];

    connectedCallback() {
      if (this.shadowRoot) return;
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = `<style>${LISTEN}</style><button><svg viewBox="0 0 16 16" aria-hidden="true"
        ><path class="one" d="M3.5 1v14L15 8z"/><path class="two" d="M2.5 1.5h4v13h-4zm7 0h4v13h-4z"/></svg></button>`;
      this.button = root.querySelector("button");
      this.button.addEventListener("click", () => this.toggle());
      this.hush = (event) => event.detail !== this && this.audio?.pause();
      window.addEventListener("ns-sound", this.hush);
      this.draw();
    }

    disconnectedCallback() {
      this.drop();
      window.removeEventListener("ns-sound", this.hush);
    }

    attributeChangedCallback(name, old, now) {
      if (this.shadowRoot && old !== now) this.drop(), this.draw();
    }

    drop() {
      this.audio?.pause();
      this.audio = this.failed = null;
    }

    toggle() {
      if (this.failed) return;
      if (!this.audio) {
        this.audio = make("audio", { preload: "none", src: this.getAttribute("src") });
        for (const kind of ["play", "pause", "timeupdate"])
          this.audio.addEventListener(kind, () => this.draw());
        this.audio.addEventListener("ended", () => { this.audio.currentTime = 0; });
        this.audio.addEventListener("error", () => { this.failed = true; this.draw(); });
      }
      if (!this.audio.paused) return this.audio.pause();
      alone(this);
      this.audio.play().catch(() => {});
    }

    draw() {
      const name = this.getAttribute("name") || "";
      const playing = Boolean(this.audio && !this.audio.paused);
      const share = this.audio?.duration ? this.audio.currentTime / this.audio.duration : 0;
      this.style.setProperty("--done", `${100 * share}%`);
      const say = this.failed
        ? `This browser cannot play ${name}; it can be run all the same`
        : `${playing ? "Pause" : "Listen to"} ${name}`;
      this.button.setAttribute("aria-label", say);
      this.button.title = say;
      this.button.setAttribute("aria-pressed", String(playing));
      this.button.setAttribute("aria-disabled", String(Boolean(this.failed)));
    }
  }
  customElements.define("ns-listen", Listen);

  // --- <ns-record into="drop-speech" megabytes="2000"> ------------------------------------------
  // Samples as the microphone gives them, without the browser's own noise suppression, to a 16-bit
  // WAV, which then goes the way of a file that is dropped.
  const TAP = `registerProcessor("ns-tap", class extends AudioWorkletProcessor {
    process([input]) {
      if (input[0]) this.port.postMessage(input[0].slice());
      return true;
    }
  });`;
  const GATHER = 20; // seconds that are held as numbers; what is older is the browser's to keep
  const RECORD = `
    :host { display: block; }
    .row { display: flex; align-items: center; gap: 10px; min-height: 34px; }
    button { display: inline-flex; align-items: center; gap: 8px; min-height: 34px; padding: 4px 13px;
             font: 500 14px/20px var(--ns-font); color: var(--ns-text); background: var(--ns-field);
             border: 1px solid var(--ns-line-strong); border-radius: 6px; cursor: pointer; white-space: nowrap; }
    button:hover:not(:disabled) { background: var(--ns-hover); }
    button:disabled { opacity: .6; cursor: default; }
    button:focus-visible { outline: 2px solid var(--ns-accent); outline-offset: 2px; }
    i { width: 11px; height: 11px; border-radius: 50%; background: var(--ns-danger); }
    .on i { border-radius: 2px; }
    .time { font: 500 13px/20px var(--ns-mono); font-variant-numeric: tabular-nums; color: var(--ns-text); }
    .meter { flex: 1; height: 6px; border-radius: 3px; overflow: hidden; background: var(--ns-line); }
    .meter div { height: 100%; width: 100%; transform-origin: 0 50%; transform: scaleX(0); background: var(--ns-good); }
    .meter.full div { background: var(--ns-danger); }
    .row > [hidden] { display: none; }
    p { margin: 4px 0 0; font: 13px/1.5 var(--ns-font); color: var(--ns-danger); } p:empty { display: none; }`;

  class Recorder extends HTMLElement {
    connectedCallback() {
      if (this.shadowRoot) return;
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = `<style>${RECORD}</style><div class="row"><button><i></i><span>Record</span></button>
        <span class="time" role="timer" aria-live="off" hidden></span>
        <div class="meter" hidden aria-hidden="true"><div></div></div></div><p role="alert"></p>`;
      const find = (what) => root.querySelector(what);
      Object.assign(this, {
        button: find("button"), word: find("button span"), time: find(".time"), meter: find(".meter"),
        bar: find(".meter div"), say: find("p"),
      });
      this.button.addEventListener("click", () => (this.stream ? this.stop() : this.start()));
    }

    disconnectedCallback() {
      this.end();
    }

    async start() {
      this.say.textContent = "";
      if (!navigator.mediaDevices?.getUserMedia) {
        this.say.textContent = "Browsers let only https pages and this machine's own record; record elsewhere and drop the file.";
        return;
      }
      this.button.disabled = true;
      try {
        this.stream = await navigator.mediaDevices.getUserMedia({ audio: {
          echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
        alone(this);
        await this.listen();
        this.button.classList.add("on");
        this.word.textContent = "Stop";
        this.time.hidden = this.meter.hidden = false;
      } catch (error) {
        this.end();
        const words = {
          NotAllowedError: "The microphone may not be used; allow it in the browser's address bar.",
          NotFoundError: "No microphone was found; connect one and try again.",
        };
        this.say.textContent = words[error.name] || "The microphone does not answer; close other programs that use it.";
      }
      this.button.disabled = false;
    }

    async listen() {
      this.context = new AudioContext();
      const address = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
      await this.context.audioWorklet.addModule(address);
      URL.revokeObjectURL(address);
      Object.assign(this, { parts: [], recent: [], held: 0, count: 0, begun: new Date(), peak: 0 });
      const most = (Number(this.getAttribute("megabytes")) || 200) * 1e6 - 1e5;
      const tap = new AudioWorkletNode(this.context, "ns-tap", { numberOfOutputs: 0, channelCount: 1,
        channelCountMode: "explicit" });
      tap.port.onmessage = ({ data }) => {
        if (!this.stream) return;
        const words = new Int16Array(data.length);
        for (let at = 0; at < data.length; at += 1) {
          const value = Math.max(-1, Math.min(1, data[at]));
          this.peak = Math.max(this.peak, Math.abs(value));
          words[at] = Math.round(value * 32767);
        }
        this.recent.push(words);
        this.held += words.length;
        this.count += words.length;
        if (this.held > GATHER * this.context.sampleRate) this.gather();
        if (this.count * 2 > most) this.stop();
      };
      this.context.createMediaStreamSource(this.stream).connect(tap);
      this.stream.getTracks()[0].addEventListener("ended", () => this.stop()); // unplugged
      this.timer = setInterval(() => this.draw(), 100);
    }

    gather() {
      this.parts.push(new Blob(this.recent));
      [this.recent, this.held] = [[], 0];
    }

    draw() {
      this.time.textContent = clock(this.count / this.context.sampleRate);
      this.meter.classList.toggle("full", this.peak > 0.98);
      const decibels = 20 * Math.log10(Math.max(this.peak, 1e-5));
      this.bar.style.transform = `scaleX(${Math.max(0, 1 + decibels / 60)})`;
      this.peak *= 0.7;
    }

    stop() {
      if (!this.stream) return;
      const rate = this.context.sampleRate;
      this.gather();
      const sound = new Blob([header(this.count, rate), ...this.parts], { type: "audio/wav" });
      const taken = this.count;
      this.end();
      if (!taken) {
        this.say.textContent = "The microphone gave no sound; choose another one in the browser's settings.";
        return;
      }
      const file = new File([sound], `recording ${stamp(this.begun)}.wav`, { type: "audio/wav" });
      const input = document.querySelector(`#${this.getAttribute("into")} input[type=file]`);
      const carrier = new DataTransfer();
      carrier.items.add(file);
      input.files = carrier.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }

    end() {
      clearInterval(this.timer);
      for (const track of this.stream?.getTracks() || []) track.stop();
      this.context?.close().catch(() => {});
      this.stream = this.context = null;
      this.parts = this.recent = [];
      if (!this.button) return;
      this.button.classList.remove("on");
      this.word.textContent = "Record";
      this.time.hidden = this.meter.hidden = true;
    }
  }

  const stamp = (moment) => {
    const two = (number) => String(number).padStart(2, "0");
    const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
    return `${day} ${two(moment.getHours())}.${two(moment.getMinutes())}`;
  };

  // RIFF WAVE, one channel of 16-bit PCM.
  const header = (samples, rate) => {
    const bytes = samples * 2;
    const view = new DataView(new ArrayBuffer(44));
    const word = (at, text) => [...text].forEach((c, n) => view.setUint8(at + n, c.charCodeAt(0)));
    word(0, "RIFF"), view.setUint32(4, 36 + bytes, true), word(8, "WAVEfmt ");
    view.setUint32(16, 16, true), view.setUint16(20, 1, true), view.setUint16(22, 1, true);
    view.setUint32(24, rate, true), view.setUint32(28, rate * 2, true);
    view.setUint16(32, 2, true), view.setUint16(34, 16, true);
    word(36, "data"), view.setUint32(40, bytes, true);
    return view;
  };
  customElements.define("ns-record", Recorder);
})();
