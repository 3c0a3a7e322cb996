// <ns-player tracks='[{"sound", "picture", "label", "loudness", "marks", "spans"}]' alt="...">: sounds
// of one length over their spectrograms, all with one time axis and one play head; spans of time are
// drawn along a picture's foot.
//
// A click on a picture goes there, a drag along the time axis chooses a part to repeat. What plays
// is a deck (deck.js), which outlives this element when its panel is drawn anew.
(() => {
  const STYLE = `
    :host { display: block; color: var(--ns-text); --gutter: 46px; }
    .frame { border: 1px solid var(--ns-line); border-radius: var(--ns-radius); overflow: hidden;
             background: var(--ns-panel); }
    .bar { display: flex; flex-wrap: wrap; gap: 7px 12px; align-items: center; padding: 8px 10px; }
    .group { display: inline-flex; border: 1px solid var(--ns-line-strong); border-radius: 6px;
             overflow: hidden; }
    button { font: 500 13px/20px var(--ns-font); color: var(--ns-text); background: transparent;
             border: 0; padding: 4px 11px; min-height: 30px; cursor: pointer; white-space: nowrap; }
    .group button + button { border-left: 1px solid var(--ns-line-strong); }
    .tracks { flex-wrap: wrap; min-width: 0; } .tracks button { max-width: 100%; overflow: hidden; text-overflow: ellipsis; }
    .alone { border: 1px solid var(--ns-line-strong); border-radius: 6px; }
    button:hover { background: var(--ns-hover); }
    button:disabled { opacity: .5; cursor: default; }
    button[aria-pressed="true"] { background: var(--ns-text); color: var(--ns-panel); }
    button:focus-visible, .lanes:focus-visible { outline: 2px solid var(--ns-accent); outline-offset: -2px; }
    .play { display: inline-flex; align-items: center; gap: 8px; min-width: 92px; padding: 5px 14px 5px 11px;
            color: var(--ns-on-accent); background: var(--ns-accent); border-radius: 6px; font-weight: 600; }
    .play:hover:not(:disabled) { background: var(--ns-accent-strong); }
    .play svg { width: 16px; height: 16px; fill: currentColor; }
    .play .two, .playing .play .one { display: none; } .playing .play .two { display: block; }
    .time { min-width: 15ch; font: 500 13px/20px var(--ns-mono); font-variant-numeric: tabular-nums; white-space: pre; }
    .time span { color: var(--ns-muted); }
    .spring { margin-left: auto; }
    .board { display: grid; grid-template-columns: var(--gutter) 1fr; border: solid var(--ns-line);
             border-width: 1px 0; }
    .axes, .lanes { display: flex; flex-direction: column; gap: 2px; }
    .axes > div, .lane { height: 148px; }
    .one .axes > div, .one .lane { height: 300px; }
    .one .axes > div:not(.chosen), .one .lane:not(.chosen) { display: none; }
    .axes > div { position: relative; }
    .axes span { position: absolute; right: 7px; font: 11px/14px var(--ns-font); color: var(--ns-muted);
                 font-variant-numeric: tabular-nums; transform: translateY(50%); white-space: nowrap; }
    .axes i, .axes b { font: inherit; } .axes b { display: none; }
    .axes span::after { content: ""; position: absolute; right: -7px; top: 6px; width: 4px; height: 1px;
                        background: var(--ns-line-strong); }
    .lanes { position: relative; overflow: hidden; background: var(--ns-line); cursor: pointer;
             touch-action: pan-y; user-select: none; }
    .lane { position: relative; overflow: hidden; background: var(--ns-stage); }
    .lane img { position: absolute; top: 0; height: 100%; max-width: none; opacity: 0; }
    .lane img.there { opacity: 1; }
    .spans { position: absolute; bottom: 0; height: 4px; pointer-events: none; }
    .spans i { position: absolute; top: 0; bottom: 0; min-width: 2px; background: #fff;
               box-shadow: 0 0 0 1px rgba(0, 0, 0, .7); }
    .tag { position: absolute; left: 8px; top: 8px; display: flex; gap: 6px; padding: 1px 8px;
           font: 500 12px/19px var(--ns-font); color: #f2f2f2; background: rgba(20, 20, 20, .72);
           border-radius: 4px; pointer-events: none; z-index: 1; }
    .tag small { font: inherit; font-weight: 400; }
    .chosen .tag { color: #111; background: #f4f4f4; }
    .chosen .tag::before { content: ""; align-self: center; border: solid transparent;
           border-width: 4px 0 4px 6px; border-left-color: currentColor; }
    .loop, .head { position: absolute; top: 0; bottom: 0; left: 0; pointer-events: none; }
    .loop { background: rgba(255, 255, 255, .2); box-shadow: 0 0 0 1px rgba(255, 255, 255, .85); }
    .head { width: 2px; margin-left: -1px; background: #fff; box-shadow: 0 0 3px rgba(0, 0, 0, .8); }
    .ruler { grid-column: 2; position: relative; height: 26px; overflow: hidden; cursor: col-resize;
             touch-action: none; user-select: none; background: var(--ns-panel); }
    .ruler span { position: absolute; top: 7px; font: 11px/14px var(--ns-font); color: var(--ns-muted);
                  transform: translateX(-50%); font-variant-numeric: tabular-nums; }
    .ruler span.first { transform: none; } .ruler span.last { transform: translateX(-100%); }
    .ruler span::before { content: ""; position: absolute; left: 50%; top: -7px; width: 1px; height: 5px;
                          background: var(--ns-line-strong); }
    .ruler span.first::before { left: 0; } .ruler span.last::before { left: 100%; }
    .ruler .loop { background: var(--ns-accent-soft); box-shadow: inset 0 0 0 1px var(--ns-accent); }
    .ruler .head { background: var(--ns-text); box-shadow: none; height: 6px; bottom: auto; }
    .say { padding: 12px; font: 14px/1.5 var(--ns-font); color: var(--ns-text); }
    [hidden] { display: none !important; }
    .hint { font: 12px/20px var(--ns-font); color: var(--ns-muted); padding: 0 10px 9px; }
    kbd { font: 11px/16px var(--ns-mono); border: 1px solid var(--ns-line-strong); border-radius: 3px;
          padding: 0 4px; }
    button kbd { margin-left: 6px; border-color: currentColor; opacity: .75; }
    @media (max-width: 640px) {
      :host { --gutter: 34px; }
      .axes > div, .lane { height: 92px; } .one .axes > div, .one .lane { height: 190px; }
      .hint, button kbd, .axes i { display: none; } .axes b { display: inline; }
      .tracks { order: 1; flex: 1 1 100%; } .tracks button { flex: 1 0 auto; padding: 4px 6px; }
      button { min-height: 36px; } .spring { order: 2; margin-left: 0; }
    }
  `;
  const BODY = `
    <div class="frame" part="frame">
      <div class="bar">
        <button class="play" aria-label="Play"><svg viewBox="0 0 16 16" aria-hidden="true"
          ><path class="one" d="M3 1.5v13l11-6.5z"/><path class="two" d="M3 2h3.5v12H3zm6.5 0H13v12H9.5z"/></svg
          ><span>Play</span></button>
        <span class="group tracks" role="group" aria-label="What is heard"></span>
        <button class="alone" data-together title="The buttons beside add tracks to what is heard, and take them away">Together</button>
        <span class="time" aria-hidden="true"></span>
        <button class="alone spring" data-equal title="The louder one is turned down, so that loudness does not decide">Equal loudness</button>
      </div>
      <div class="say" role="status" hidden></div>
      <div class="board">
        <div class="axes" aria-hidden="true"></div>
        <div class="lanes" tabindex="0" role="slider" aria-label="Position" aria-valuemin="0"></div>
        <div class="ruler" title="Drag along the times to repeat a part"></div>
      </div>
      <div class="bar">
        <button class="alone" data-loop>Repeat</button>
        <span class="group" role="group" aria-label="Spectrograms">
          <button data-layout="all">All</button><button data-layout="one">One</button>
        </span>
        <span class="group" role="group" aria-label="Zoom of the time axis">
          <button data-zoom="out" aria-label="Show more time">&minus;</button
          ><button data-zoom="fit">Whole</button
          ><button data-zoom="in" aria-label="Show less time">+</button>
        </span>
      </div>
      <div class="hint"><kbd>Space</kbd> play <kbd>B</kbd> before or after <kbd>&larr;</kbd> <kbd>&rarr;</kbd> move
        <kbd>[</kbd> <kbd>]</kbd> repeat from, to. Click a picture to hear that place; drag along the times to repeat a part.</div>
    </div>`;
  const DEEPEST = 2; // seconds on the screen at the largest zoom
  const view = { layout: window.innerWidth > 640 ? "all" : "one", chosen: null };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  const clock = (seconds, digits = 0) => {
    const total = Number(seconds.toFixed(digits));
    const [h, m] = [Math.floor(total / 3600), Math.floor(total / 60) % 60];
    const s = (total % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
    return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
  };
  const spoken = (seconds) => {
    const [m, s] = [Math.floor(seconds / 60), (seconds % 60).toFixed(seconds < 60 ? 1 : 0)];
    return m ? `${m} min ${s} s` : `${s} s`;
  };
  // "4 kHz", and "4k" where there is less room.
  const frequency = (hertz) => {
    const [number, unit, short] = hertz >= 1000 ? [hertz / 1000, " kHz", "k"] : [hertz, " Hz", ""];
    return [String(number), make("i", { textContent: unit }), make("b", { textContent: short })];
  };
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  class Player extends HTMLElement {
    static observedAttributes = ["tracks", "alt"];
    static shown = new Set();

    connectedCallback() {
      if (!this.shadowRoot) this.build();
      this.load();
      this.resizes = new ResizeObserver(() => this.resized());
      this.resizes.observe(this.lanes);
      Player.shown.add(this);
    }

    disconnectedCallback() {
      this.resizes?.disconnect();
      Player.shown.delete(this);
      this.unload();
    }

    attributeChangedCallback(name, old, now) {
      if (this.isConnected && this.shadowRoot && old !== now) this.load();
    }

    build() {
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = `<style>${STYLE}</style>${BODY}`;
      const find = (what) => root.querySelector(what);
      Object.assign(this, {
        frame: find(".frame"), play: find(".play"), time: find(".time"), say: find(".say"),
        board: find(".board"), axes: find(".axes"), lanes: find(".lanes"), ruler: find(".ruler"),
        choices: find(".tracks"), equal: find("[data-equal]"), together: find("[data-together]"), looping: find("[data-loop]"),
      });
      this.drawn = () => this.draw();
      root.addEventListener("click", (event) => this.press(event));
      // A press of the mouse leaves the keys where they are, so that Space still plays and pauses.
      root.addEventListener("mousedown", (event) => {
        if (event.target.closest("button")) event.preventDefault();
      });
      this.lanes.addEventListener("pointerdown", (event) => this.scrub(event));
      this.lanes.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      this.lanes.addEventListener("keydown", (event) => this.step(event));
      this.ruler.addEventListener("pointerdown", (event) => this.mark(event));
    }

    load() {
      const text = this.getAttribute("tracks") || "[]";
      if (text === this.loaded && this.deck) return;
      this.unload();
      this.loaded = text;
      this.tracks = JSON.parse(text);
      if (!this.tracks.length) return;
      view.chosen ??= Math.min(1, this.tracks.length - 1);
      this.deck = window.NoiseStudio.Deck.of(this.tracks, Math.min(view.chosen, this.tracks.length - 1));
      this.deck.join();
      this.deck.addEventListener("change", this.drawn);
      this.deck.zoom ??= { factor: 1, start: 0 };
      this.fill();
      this.draw();
    }

    unload() {
      this.deck?.removeEventListener("change", this.drawn);
      this.deck?.leave();
      this.deck = null;
      cancelAnimationFrame(this.frameAsked);
    }

    fill() {
      this.lanes.setAttribute("aria-label", `Position in ${this.getAttribute("alt") || "the sound"}`);
      this.choices.replaceChildren(...this.tracks.map(({ label }, at) => {
        const button = make("button", {}, label, make("kbd", { textContent: String(at + 1) }));
        button.dataset.track = String(at);
        button.setAttribute("aria-label", label);
        return button;
      }));
      this.axes.replaceChildren(...this.tracks.map(({ marks }) =>
        make("div", {}, ...marks.map(([hertz, height]) => {
          const label = make("span", {}, ...frequency(hertz));
          label.style.bottom = `${100 * height}%`;
          return label;
        }))));
      this.pictures = this.tracks.map(({ picture, label }) => make("img", {
        src: picture, alt: `Spectrogram: ${label}`, draggable: false }));
      for (const one of this.pictures)
        one.addEventListener("load", () => one.classList.add("there"), { once: true });
      this.spans = this.tracks.map(() => make("div", { className: "spans" }));
      this.lanesOf = this.tracks.map(({ label }, at) => make("div", { className: "lane" },
        this.pictures[at], this.spans[at], make("span", { className: "tag" }, label, make("small"))));
      const layer = (name) => make("div", { className: name, hidden: true });
      this.loops = [layer("loop"), layer("loop")];
      this.heads = [make("div", { className: "head" }), make("div", { className: "head" })];
      this.lanes.replaceChildren(...this.lanesOf, this.loops[0], this.heads[0]);
      this.ticks = make("div");
      this.ruler.replaceChildren(this.loops[1], this.ticks, this.heads[1]);
      this.ruled = this.said = "";
      this.spanned = 0;
    }

    // --- drawing ----------------------------------------------------------------------------

    get width() { return this.lanes.clientWidth; }
    get span() { return (this.deck.duration || 1) / this.deck.zoom.factor; }

    resized() {
      if (!this.deck) return;
      if (!this.width) return this.deck.pause(); // another tab: no sound without its player
      this.draw();
    }

    draw() {
      const { deck } = this;
      if (!deck) return;
      this.frame.classList.toggle("playing", deck.playing);
      this.frame.classList.toggle("one", view.layout === "one");
      const word = deck.playing ? "Pause" : "Play";
      this.play.querySelector("span").textContent = word;
      this.play.setAttribute("aria-label", word);
      this.play.disabled = !deck.ready;
      this.say.hidden = !deck.error;
      this.say.textContent = deck.error;
      const levels = deck.levels;
      this.tracks.forEach((_, at) => {
        const chosen = deck.hears(at);
        for (const one of [this.lanesOf[at], this.axes.children[at]])
          one.classList.toggle("chosen", chosen);
        this.choices.children[at].setAttribute("aria-pressed", String(chosen));
        this.lanesOf[at].querySelector("small").textContent =
          levels[at] < -0.05 ? `\u2212${(-levels[at]).toFixed(1)} dB` : "";
      });
      this.equal.setAttribute("aria-pressed", String(window.NoiseStudio.Deck.equal && !deck.together));
      this.together.hidden = this.tracks.length < 4;
      this.together.setAttribute("aria-pressed", String(Boolean(deck.together)));
      this.looping.setAttribute("aria-pressed", String(Boolean(deck.loop)));
      for (const button of this.shadowRoot.querySelectorAll("[data-layout]"))
        button.setAttribute("aria-pressed", String(button.dataset.layout === view.layout));
      this.shadowRoot.querySelector("[data-zoom=fit]").setAttribute(
        "aria-pressed", String(deck.zoom.factor === 1));
      this.thin();
      this.rule();
      this.move();
    }

    // As many frequencies as there is room for.
    thin() {
      const room = this.axes.children[this.deck.chosen]?.clientHeight || 0;
      for (const axis of this.axes.children) {
        let last = -Infinity;
        for (const label of axis.children) {
          const at = (parseFloat(label.style.bottom) / 100) * room;
          const fits = at - last >= 14 && at >= 7 && at <= room - 6;
          label.hidden = !fits;
          if (fits) last = at;
        }
      }
    }

    rule() {
      const { zoom, duration } = this.deck;
      for (const one of [...this.pictures, ...this.spans]) {
        one.style.width = `${100 * zoom.factor}%`;
        one.style.left = `${duration ? (-100 * zoom.start) / this.span : 0}%`;
      }
      if (this.spanned !== duration) this.hear(duration);
      const mark = `${this.width} ${zoom.factor} ${zoom.start} ${duration}`;
      if (!duration || !this.width || mark === this.ruled) return;
      this.ruled = mark;
      const most = Math.max(2, Math.floor(this.width / 76));
      const step = STEPS.find((one) => this.span / one <= most) || 7200;
      const ticks = [];
      for (let n = Math.ceil(zoom.start / step - 1e-6); n * step <= zoom.start + this.span + 1e-6; n += 1) {
        const x = this.x(n * step);
        const tick = make("span", { textContent: clock(n * step, step < 1 ? 1 : 0) });
        tick.style.left = `${x}px`;
        if (x < 18) tick.className = "first";
        if (x > this.width - 18) tick.className = "last";
        ticks.push(tick);
      }
      this.ticks.replaceChildren(...ticks);
    }

    // Where something is heard.
    hear(duration) {
      this.spanned = duration;
      this.tracks.forEach(({ spans = [] }, at) => {
        this.spans[at].replaceChildren(...spans.map(([start, end]) => {
          const one = make("i");
          one.style.left = `${(100 * start) / duration}%`;
          one.style.width = `${(100 * (end - start)) / duration}%`;
          return one;
        }));
      });
    }

    x(time) {
      return ((time - this.deck.zoom.start) / this.span) * this.width;
    }

    timeAt(clientX) {
      const box = this.lanes.getBoundingClientRect();
      const share = clamp((clientX - box.left) / (box.width || 1), 0, 1);
      return this.deck.zoom.start + share * this.span;
    }

    move() {
      const { deck } = this;
      cancelAnimationFrame(this.frameAsked);
      if (!deck || !this.isConnected) return;
      const { position, duration, loop } = deck;
      if (deck.playing && deck.zoom.factor > 1) this.follow(position);
      for (const head of this.heads) head.style.transform = `translateX(${this.x(position)}px)`;
      for (const layer of this.loops) {
        layer.hidden = !loop;
        if (!loop) continue;
        layer.style.transform = `translateX(${this.x(loop[0])}px)`;
        layer.style.width = `${this.x(loop[1]) - this.x(loop[0])}px`;
      }
      const digits = duration < 600 ? 1 : 0;
      const [now, all] = [clock(position, digits), clock(duration, digits)];
      if (!deck.ready) this.time.textContent = deck.error ? "" : "Loading";
      else if (this.said !== now) this.time.replaceChildren(now, make("span", { textContent: ` / ${all}` }));
      this.said = deck.ready ? now : "";
      this.lanes.setAttribute("aria-valuemax", duration.toFixed(1));
      this.lanes.setAttribute("aria-valuenow", position.toFixed(deck.playing ? 0 : 1));
      this.lanes.setAttribute("aria-valuetext",
        `${spoken(position)} of ${spoken(duration)}, ${this.tracks[deck.chosen].label}`);
      if (deck.playing) this.frameAsked = requestAnimationFrame(() => this.move());
    }

    follow(position) {
      const { zoom, duration } = this.deck;
      if (position >= zoom.start && position <= zoom.start + this.span) return;
      zoom.start = clamp(position - 0.05 * this.span, 0, duration - this.span);
      this.rule();
    }

    // --- what a person does -------------------------------------------------------------------

    press(event) {
      const button = event.target.closest("button");
      if (!button || !this.deck) return;
      const { track, layout, zoom } = button.dataset;
      if (button === this.play) this.deck.toggle();
      if (track !== undefined) this.choose(Number(track));
      if (button === this.together) this.deck.setTogether(!this.deck.together);
      if (button === this.equal) this.deck.setEqual(!window.NoiseStudio.Deck.equal);
      if (button === this.looping) this.deck.setLoop(this.deck.loop ? null : [0, this.deck.duration]);
      if (layout) {
        view.layout = layout;
        for (const one of Player.shown) one.draw();
      }
      if (zoom === "fit") this.zoomTo(1);
      else if (zoom) this.zoomTo(this.deck.zoom.factor * (zoom === "in" ? 2 : 0.5));
    }

    choose(track) {
      if (!this.tracks[track]) return;
      if (track !== this.deck.chosen) this.other = this.deck.chosen;
      view.chosen = track;
      this.deck.choose(track);
    }

    // Back to before, and from there to what was compared with it.
    swap() {
      if (this.deck.together) this.deck.setTogether(false);
      this.choose(this.deck.chosen === 0 ? this.other || 1 : 0);
    }

    hold(on) {
      if (on === Boolean(this.held)) return;
      if (on) {
        this.held = { track: this.deck.chosen, together: this.deck.together };
        this.deck.together = null;
        return this.deck.choose(0);
      }
      const { track, together } = this.held;
      this.held = null;
      this.deck.choose(track);
      this.deck.together = together;
      this.deck.mix();
      this.deck.tell();
    }

    zoomTo(factor, around = this.deck.position) {
      const { zoom, duration } = this.deck;
      const share = clamp((around - zoom.start) / this.span, 0, 1);
      zoom.factor = clamp(factor, 1, Math.max(1, duration / DEEPEST));
      zoom.start = clamp(around - share * this.span, 0, duration - this.span);
      this.draw();
    }

    wheel(event) {
      // The bare wheel scrolls the page, as everywhere; with Ctrl (or a pinch) it shows less time.
      if (!event.ctrlKey || !this.deck?.ready) return;
      event.preventDefault();
      this.zoomTo(this.deck.zoom.factor * 2 ** (-event.deltaY / 240), this.timeAt(event.clientX));
    }

    scrub(event) {
      if (event.button !== 0 || !this.deck?.ready) return;
      const lane = this.lanesOf.indexOf(event.target.closest(".lane"));
      if (lane >= 0 && !this.deck.hears(lane)) this.choose(lane);
      this.deck.seek(this.timeAt(event.clientX));
      this.track(this.lanes, event, (moved) => this.deck.seek(this.timeAt(moved.clientX)));
    }

    mark(event) {
      if (event.button !== 0 || !this.deck?.ready) return;
      const [from, at] = [this.timeAt(event.clientX), event.clientX];
      let range = null;
      this.track(this.ruler, event, (moved) => {
        const to = this.timeAt(moved.clientX);
        range = Math.abs(moved.clientX - at) > 4 ? [Math.min(from, to), Math.max(from, to)] : null;
        if (!range) return;
        this.loops[0].hidden = this.loops[1].hidden = false;
        for (const layer of this.loops) {
          layer.style.transform = `translateX(${this.x(range[0])}px)`;
          layer.style.width = `${this.x(range[1]) - this.x(range[0])}px`;
        }
      }, () => (range ? this.deck.setLoop(range) : this.deck.seek(from)));
    }

    track(on, event, go, end = () => {}) {
      on.setPointerCapture(event.pointerId);
      const done = () => {
        on.removeEventListener("pointermove", go);
        end();
      };
      on.addEventListener("pointermove", go);
      on.addEventListener("lostpointercapture", done, { once: true });
    }

    step(event) {
      const { position, duration } = this.deck;
      const to = { PageUp: position + 10, PageDown: position - 10, Home: 0, End: duration }[event.key];
      if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.deck.seek(to);
    }

    key(event) {
      const { deck } = this;
      const { position, duration, loop } = deck;
      const stride = event.shiftKey ? 5 : 1;
      const done = {
        " ": () => deck.toggle(),
        ArrowLeft: () => deck.seek(position - stride),
        ArrowRight: () => deck.seek(position + stride),
        "[": () => deck.setLoop([position, loop && loop[1] > position ? loop[1] : duration]),
        "]": () => deck.setLoop([loop && loop[0] < position ? loop[0] : 0, position]),
        b: () => this.swap(),
        l: () => this.looping.click(),
        "\\": () => this.hold(true),
      }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (done) done();
      else if (this.tracks[Number(event.key) - 1]) this.choose(Number(event.key) - 1);
      else return;
      event.preventDefault();
    }
  }

  const TYPING = "input, textarea, select, [contenteditable], dialog, dialog *";
  // These have a use of their own for Space and the arrows.
  const PRESSED = "button, a, summary, audio, [role=tab], [role=radio], [role=option], [role=slider]:not(.lanes)";
  window.addEventListener("keydown", (event) => {
    const at = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || at?.matches?.(TYPING)) return;
    if (/^( |Arrow.*)$/.test(event.key) && at?.closest?.(PRESSED)) return;
    for (const one of Player.shown) if (one.offsetParent && one.deck?.ready) one.key(event);
  });
  const release = () => { for (const one of Player.shown) if (one.held) one.hold(false); };
  window.addEventListener("keyup", (event) => event.key === "\\" && release());
  window.addEventListener("blur", release);
  customElements.define("ns-player", Player);
})();
