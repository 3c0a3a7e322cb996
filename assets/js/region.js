// <ns-region tab="..." pictures="[...]" job="ID">: a place of a chosen picture, enlarged while the
// settings are still being chosen. <ns-becomes tab width height ...>: the size that a picture will have.
//
// Both follow the settings of their tab, which the page tells by NoiseStudio.follow, so that nothing is
// sent while a control is moved.
(() => {
  const LOOK_EVERY = [120, 120, 200, 300, 400]; // ms
  const SETTLED = 300; // ms without a change, before a region is enlarged again
  // Settings that change nothing in a region, or can be shown without enlarging it again.
  const PASSIVE = new Set(["strength", "output", "quality", "metadata", "depth", "name", "tile"]);
  const settings = new Map(); // tab -> { engine, values }
  const rates = new Map(); // tab -> { key, rate }: seconds a pixel of the input, with those settings
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const change = () => window.dispatchEvent(new CustomEvent("ns-settings"));

  window.NoiseStudio.follow = (tab, engine, values) => {
    const before = JSON.stringify(settings.get(tab));
    settings.set(tab, { engine, values });
    if (JSON.stringify(settings.get(tab)) !== before) change();
  };

  const factor = (values, width, height) => {
    if ((values.task ?? "enlarge") !== "enlarge") return 1; // RED-Diff's other tasks keep the size
    const side = Number(String(values.long_side ?? "").replace(",", "."));
    const scale = Number(values.scale);
    return side > 0 ? side / Math.max(width, height) : scale > 0 ? scale : 4;
  };
  const active = ({ engine, values }) =>
    JSON.stringify([engine, Object.entries(values).filter(([name]) => !PASSIVE.has(name))]);
  const duration = (seconds) => {
    if (seconds < 1) return "1 s";
    if (seconds < 100) return `${Math.round(seconds)} s`;
    if (seconds < 5940) return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  };
  const bytes = (count) => {
    if (count < 999.5e3) return `${Math.max(1, Math.round(count / 1e3))} kB`;
    if (count < 999.5e6) return `${(count / 1e6).toFixed(count < 99.5e6 ? 1 : 0)} MB`;
    return `${(count / 1e9).toFixed(1)} GB`;
  };

  // --- <ns-becomes> -----------------------------------------------------------------------------
  // Bytes that a sample of an enlarged photo takes, about: half in a smooth one, twice in a busy one.
  const A_SAMPLE = { jpeg: 0.11, webp: 0.07, png: 0.4, tiff: 0.42 };
  const DEEP = 1.5; // with 16 bits
  const HALVES = 15; // steps of quality that halve a JPEG
  const WRITTEN = new Set(["jpeg", "webp", "png", "tiff"]);

  class Becomes extends HTMLElement {
    static observedAttributes = ["width", "height", "bits", "channels", "format"];

    connectedCallback() {
      if (!this.shadowRoot) this.attachShadow({ mode: "open" }).innerHTML = `<style>
        :host { display: block; font: 12px/1.45 var(--ns-font); color: var(--ns-muted); }
        b { font-weight: 500; color: var(--ns-text); } span { margin-left: 1em; }</style><div></div>`;
      this.told ??= () => this.show();
      window.addEventListener("ns-settings", this.told);
      this.show();
    }
    disconnectedCallback() { window.removeEventListener("ns-settings", this.told); }
    attributeChangedCallback() { if (this.shadowRoot) this.show(); }

    show() {
      const place = this.shadowRoot.querySelector("div");
      const chosen = settings.get(this.getAttribute("tab"));
      if (!chosen) return place.replaceChildren();
      const number = (name) => Number(this.getAttribute(name));
      const { values } = chosen;
      const times = factor(values, number("width"), number("height"));
      const [w, h] = ["width", "height"].map((name) => Math.max(1, Math.round(number(name) * times)));
      const own = this.getAttribute("format");
      const asked = values.output && values.output !== "same" ? values.output : own;
      const format = WRITTEN.has(asked) ? asked : "png";
      const depth = Number(values.depth) || number("bits");
      const deep = depth === 16 && (format === "png" || format === "tiff");
      const lossy = format === "jpeg" || format === "webp" ? 2 ** (((Number(values.quality) || 95) - 95) / HALVES) : 1;
      const size = w * h * number("channels") * (deep ? DEEP : A_SAMPLE[format] * lossy);
      const { key, rate } = rates.get(this.getAttribute("tab")) || {};
      const seconds = key === active(chosen) ? rate * number("width") * number("height") : 0;
      const strong = Object.assign(document.createElement("b"), { textContent: `\u2192 ${w} x ${h}` });
      const rest = [`about ${bytes(size)}`, seconds ? duration(seconds) : ""].filter(Boolean);
      place.replaceChildren(strong, ...rest.map((textContent) =>
        Object.assign(document.createElement("span"), { textContent })));
    }
  }
  customElements.define("ns-becomes", Becomes);

  // --- <ns-region> ------------------------------------------------------------------------------
  const STYLE = `
    :host { display: block; font: 14px/1.5 var(--ns-font); color: var(--ns-text); }
    [hidden] { display: none !important; }
    section { background: var(--ns-panel); border: 1px solid var(--ns-line); border-radius: var(--ns-radius); }
    .head { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; padding: 8px 12px; min-height: 34px; }
    h3 { margin: 0; font-size: 13px; font-weight: 600; color: var(--ns-muted); }
    .name { min-width: 0; max-width: 40ch; font-size: 13px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    select { max-width: min(34ch, 100%); min-height: 30px; padding: 2px 8px; font: 13px var(--ns-font); color: var(--ns-text);
             background: var(--ns-field); border: 1px solid var(--ns-line-strong); border-radius: 6px; }
    button { font: 500 13px/20px var(--ns-font); color: var(--ns-text); background: var(--ns-field); cursor: pointer;
             border: 1px solid var(--ns-line-strong); border-radius: 6px; padding: 3px 11px; min-height: 30px; }
    button:hover { background: var(--ns-hover); }
    .head button { margin-left: auto; }
    .hint { font-size: 13px; color: var(--ns-muted); }
    .body { display: grid; grid-template-columns: minmax(0, 9fr) minmax(0, 11fr); gap: 14px; padding: 0 12px 12px; align-items: start; }
    .whole { display: flex; justify-content: center; background: var(--ns-stage); border-radius: 6px; overflow: hidden; }
    .stage { position: relative; max-width: 100%; cursor: crosshair; touch-action: pan-y; user-select: none; overflow: hidden; }
    .stage img { display: block; max-width: 100%; max-height: min(52vh, 520px); -webkit-user-drag: none; }
    .box { position: absolute; box-sizing: border-box; min-width: 10px; min-height: 10px; border: 2px solid #fff;
           box-shadow: 0 0 0 1px rgba(0, 0, 0, .75), inset 0 0 0 1px rgba(0, 0, 0, .45); }
    .aim { border-style: dashed; pointer-events: none; opacity: 0; }
    .stage:hover .aim, .stage:focus-visible .aim, .stage.dragging .aim { opacity: 1; }
    .taken { cursor: move; touch-action: none; box-shadow: 0 0 0 1px rgba(0, 0, 0, .75), 0 0 0 9999px rgba(0, 0, 0, .28); }
    @media (hover: none) { .stage:not(.dragging) .aim { opacity: 0; } }
    :is(.stage, button, select):focus-visible { outline: 2px solid var(--ns-accent); outline-offset: 2px; }
    .say { padding: 1rem; text-align: center; color: var(--ns-on-stage); }
    .near { position: relative; min-width: 0; }
    .wait { display: grid; place-items: center; height: 100%; min-height: 220px; padding: 1rem; box-sizing: border-box;
            text-align: center; color: var(--ns-on-stage); background: var(--ns-stage); border-radius: 6px; }
    ns-compare.old { opacity: .7; transition: opacity .2s .3s; }
    .foot { margin-top: 10px; font-size: 13px; color: var(--ns-muted); font-variant-numeric: tabular-nums; }
    .foot > div { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 12px; }
    .foot p { margin: 6px 0 0; max-width: 52ch; }
    .foot b { font-weight: 500; color: var(--ns-text); }
    .foot .wrong { color: var(--ns-danger); }
    .foot progress { width: 120px; height: 6px; accent-color: var(--ns-accent); }
    .foot button { min-height: 26px; padding: 1px 10px; }
    .closed .body { display: none; }
    @media (max-width: 1180px) { .body { grid-template-columns: minmax(0, 1fr); } }
    .hint.touch { display: none; }
    @media (hover: none) { .hint.mouse { display: none; } .hint.touch { display: inline; } }
    @media (pointer: coarse) { button, select { min-height: 40px; } .foot button { min-height: 36px; } }
    @media (max-width: 560px) { .hint.mouse, .foot p { display: none; } .name { max-width: 20ch; } }
    @media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
    ${window.NoiseStudio.Brush.STYLE}`;
  const EMPTY = "The enlarged part appears here";
  const STOPPED = "Stopped";
  const MADE = { deblur: "Sharper", inpaint: "Filled", jpeg: "Cleaned", hdr: "Recovered", dequantise: "Smoothed" };
  const BODY = `
    <section aria-label="A part of the picture, enlarged">
      <div class="head"><h3>Preview</h3><select aria-label="Picture to look at"></select><span class="name"></span>
        <span class="hint mouse">Point at a place and press</span><span class="hint touch">Tap a place</span>
        <span class="hint paints">Paint over what is to be filled</span>
        <button type="button" class="fold" aria-expanded="true">Close</button></div>
      <div class="body">
        <div>${window.NoiseStudio.Brush.TOOLS}
          <div class="whole">
            <div class="stage" tabindex="0" role="group"><img alt="" draggable="false"
              ><svg class="paint" preserveAspectRatio="none" aria-hidden="true"></svg
              ><div class="box taken"></div><div class="box aim"></div><div class="tip"></div></div>
            <div class="say" role="status" hidden></div>
          </div>
          <div class="foot" aria-live="polite"><div class="facts"></div>
            <div><progress max="1" aria-label="Enlarging" hidden></progress><span class="now"></span>
              <button type="button" class="stop" hidden>Stop</button></div>
            <p>The frame can be dragged, or moved with the arrow keys and taken with Enter. Settings are followed
              as they change; strength only blends the two pictures.</p></div>
        </div>
        <div class="near"><div class="wait">${EMPTY}</div>
          <ns-compare view="region" left="Lanczos" right="Enlarged" hidden></ns-compare></div>
      </div>
    </section>`;

  const { call, Looked } = window.NoiseStudio;

  class Region extends Looked {
    connectedCallback() {
      if (!this.shadowRoot) this.build();
      window.addEventListener("ns-settings", this.told);
      this.changed();
    }
    disconnectedCallback() {
      window.removeEventListener("ns-settings", this.told);
      clearTimeout(this.settling);
      this.turn += 1;
    }

    build() {
      this.attachShadow({ mode: "open" }).innerHTML = `<style>${STYLE}</style>${BODY}`;
      this.turn = 0;
      this.told = () => this.settle();
      this.stage = this.part(".stage");
      this.image = this.part(".stage img");
      this.aim = this.part(".aim");
      this.image.addEventListener("load", () => { this.tell(""); this.draw(); });
      this.image.addEventListener("error", () => this.tell("This picture cannot be shown; it can be run all the same"));
      this.brush = new window.NoiseStudio.Brush(this, (x, y) => this.frame(x, y));
      this.listen();
      this.part(".stop").addEventListener("click", () => this.stop());
      this.stage.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.point(event));
      this.stage.addEventListener("pointerdown", (event) => this.press(event));
      this.stage.addEventListener("keydown", (event) => this.key(event));
    }

    // --- what is looked at ----------------------------------------------------------------------

    changed() {
      const open = this.arrange("Look at a part");
      for (const hint of this.shadowRoot.querySelectorAll(".hint")) hint.hidden = !open;
      if (!open) return;
      if (this.image.getAttribute("src") !== this.picture.picture) {
        this.tell("Loading the picture");
        this.image.src = this.picture.picture;
        this.image.alt = this.picture.name;
      }
      this.stage.setAttribute("aria-label",
        `${this.picture.name}; arrow keys move the frame, Enter enlarges what is in it`);
      this.show();
      this.settle(0);
    }

    get chosen() { return settings.get(this.tab); }

    // A region that fills a window of about 512 pixels once it is enlarged.
    get size() {
      const { width, height } = this.picture;
      const times = this.chosen ? factor(this.chosen.values, width, height) : 4;
      return clamp(Math.round(512 / times / 8) * 8, 96, 192);
    }
    get sides() {
      const { width, height } = this.picture;
      return [Math.min(this.size, width), Math.min(this.size, height)];
    }

    tell(text) {
      this.part(".say").textContent = text;
      this.part(".say").hidden = !text;
      this.stage.hidden = Boolean(text);
    }

    // After a change of settings: the same place anew, unless only what needs no new work changed.
    settle(after = SETTLED) {
      clearTimeout(this.settling);
      if (!this.picture || !this.state.open || !this.chosen) return;
      this.draw();
      this.part("ns-compare").setAttribute("strength", String(this.chosen.values.strength ?? 1));
      const { shown, asking } = this.state;
      const wanted = this.wanted;
      if (shown?.wanted === wanted || asking === wanted) return this.show();
      this.settling = setTimeout(() => this.enlarge(), after);
    }

    get wanted() {
      const { spots = {} } = this.state;
      return JSON.stringify([this.picture.name, this.picture.width, active(this.chosen), spots[this.picture.name] ?? null]);
    }

    // --- asking -----------------------------------------------------------------------------------

    take(left, top) {
      this.mark(left, top);
      this.draw();
      this.settle(0);
    }

    mark(left, top) {
      const { width, height } = this.picture;
      const [w, h] = this.sides;
      const spot = [clamp(Math.round(left), 0, width - w), clamp(Math.round(top), 0, height - h)];
      this.keep({ spots: { ...this.state.spots, [this.picture.name]: spot } });
    }

    // The frame about a place that was painted over; the change of settings that follows asks for it.
    frame(x, y) {
      const [w, h] = this.sides;
      this.mark(x - w / 2, y - h / 2);
    }

    async enlarge() {
      const { picture, chosen, wanted } = this;
      const turn = (this.turn += 1);
      const spot = this.state.spots?.[picture.name];
      this.keep({ asking: wanted, asked: null, error: "", progress: null });
      this.show();
      try {
        const made = await call(picture.region, {
          engine: chosen.engine, values: chosen.values, size: this.size,
          ...(spot ? { left: spot[0], top: spot[1] } : {}) });
        if (turn !== this.turn) return;
        if (made.error) throw new Error(made.error);
        this.keep({ asked: made.asked });
        await this.look(made.asked, wanted, turn);
      } catch (error) {
        if (turn !== this.turn) return;
        const stopped = error.message === STOPPED; // what is shown is not what was asked for after a refusal
        this.keep({ asking: null, asked: null, error: error.message, ...(stopped ? {} : { shown: null }) });
      }
      if (turn === this.turn) this.show();
    }

    async look(asked, wanted, turn) {
      for (let n = 0; turn === this.turn; n += 1) {
        const found = await call(`studio/region/${asked}`);
        if (turn !== this.turn) return;
        if (found.state === "failed") throw new Error(found.error);
        if (found.state === "cancelled") throw new Error(STOPPED);
        if (found.state === "done") return this.put(asked, wanted, found.found, turn);
        this.keep({ progress: found });
        this.show();
        await new Promise((go) => setTimeout(go, LOOK_EVERY[Math.min(n, LOOK_EVERY.length - 1)]));
      }
    }

    async put(asked, wanted, found, turn) {
      const [before, after] = ["before", "after"].map((side) => `studio/region/${asked}/${side}.png`);
      await Promise.all([before, after].map((src) => Object.assign(new Image(), { src }).decode()));
      if (turn !== this.turn) return;
      const { name, width, height } = this.picture;
      const made = MADE[this.chosen.values.task];
      this.keep({ asking: null, asked: null, shown: { wanted, before, after, found, name, made } });
      rates.set(this.tab, { key: active(this.chosen), rate: found.whole / (width * height) });
      change();
      this.draw();
    }

    async stop() {
      const { asked } = this.state;
      if (!asked) return;
      try {
        await call(`studio/region/${asked}/stop`, {});
      } catch { /* it has ended by itself */ }
    }

    // --- drawing ----------------------------------------------------------------------------------

    show() {
      const { shown, asking, error, progress } = this.state;
      const compare = this.part("ns-compare");
      compare.hidden = !shown;
      this.part(".wait").hidden = Boolean(shown);
      this.part(".wait").textContent = error && !asking ? "Nothing can be shown with these settings" : EMPTY;
      if (shown) {
        for (const side of ["before", "after"])
          if (compare.getAttribute(side) !== shown[side]) compare.setAttribute(side, shown[side]);
        compare.setAttribute("alt", `A part of ${shown.name}, enlarged`);
        compare.setAttribute("left", shown.made ? "Before" : "Lanczos");
        compare.setAttribute("right", shown.made ?? "Enlarged");
      }
      compare.classList.toggle("old", Boolean(shown && asking));
      const facts = this.part(".facts");
      facts.replaceChildren();
      if (shown) {
        const { found } = shown;
        const seconds = found.seconds < 10 ? found.seconds.toFixed(1) : Math.round(found.seconds);
        const strong = (textContent) => Object.assign(document.createElement("b"), { textContent });
        const line = (...words) => facts.appendChild(document.createElement("span")).append(...words);
        line("This part ", strong(found.from.join(" x ")), " \u2192 ", strong(found.to.join(" x ")), ` in ${seconds} s`);
        line("The whole picture ", strong(asking ? "\u2026" : `about ${duration(found.whole)}`));
      }
      const now = this.part(".now");
      now.classList.toggle("wrong", Boolean(error) && error !== STOPPED);
      now.textContent = error || (!asking ? "" : progress?.ahead ? "Waits for other work to end" : progress?.text || "Enlarging");
      this.part("progress").hidden = !asking || !progress?.share;
      this.part("progress").value = progress?.share || 0;
      this.part(".stop").hidden = !asking || !this.state.asked;
    }

    draw() {
      if (!this.picture) return;
      this.brush.show();
      const spot = this.state.spots?.[this.picture.name];
      const { shown } = this.state;
      const found = !spot && shown?.name === this.picture.name ? [shown.found.left, shown.found.top] : spot;
      const taken = this.part(".taken");
      taken.hidden = !found;
      if (found) this.place(taken, found);
      this.place(this.aim, this.aimed ?? found ?? [0, 0]);
    }

    place(box, [left, top]) {
      const { width, height } = this.picture;
      const [w, h] = this.sides;
      Object.assign(box.style, {
        left: `${(100 * clamp(left, 0, width - w)) / width}%`, top: `${(100 * clamp(top, 0, height - h)) / height}%`,
        width: `${(100 * w) / width}%`, height: `${(100 * h) / height}%` });
    }

    // --- what a person does -----------------------------------------------------------------------

    at(event) {
      const box = this.image.getBoundingClientRect();
      const { width, height } = this.picture;
      const [w, h] = this.sides;
      return [clamp(((event.clientX - box.left) / box.width) * width - w / 2, 0, width - w),
        clamp(((event.clientY - box.top) / box.height) * height - h / 2, 0, height - h)];
    }

    point(event) {
      if (this.brush.painting) this.brush.tip(this.brush.place(event));
      this.aimed = this.at(event);
      this.place(this.aim, this.aimed);
    }

    press(event) {
      if (event.button !== 0 || !this.picture) return;
      if (this.brush.painting) return this.brush.press(event);
      const mouse = event.pointerType === "mouse";
      const dragged = mouse || event.composedPath().includes(this.part(".taken"));
      const from = [event.clientX, event.clientY];
      this.point(event);
      if (dragged) this.stage.setPointerCapture(event.pointerId);
      this.stage.classList.toggle("dragging", dragged);
      const go = (moved) => dragged && this.point(moved);
      const end = (ended) => {
        this.stage.classList.remove("dragging");
        this.stage.removeEventListener("pointermove", go);
        for (const kind of ["pointerup", "pointercancel"]) this.stage.removeEventListener(kind, end);
        const far = Math.hypot(ended.clientX - from[0], ended.clientY - from[1]) > 10;
        if (ended.type === "pointerup" && (dragged || !far)) this.take(...this.at(ended));
      };
      this.stage.addEventListener("pointermove", go);
      for (const kind of ["pointerup", "pointercancel"]) this.stage.addEventListener(kind, end);
    }

    middle([left, top]) {
      const [w, h] = this.sides;
      return [Math.round(left + w / 2), Math.round(top + h / 2)];
    }

    key(event) {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
      const { shown, spots } = this.state;
      const now = this.aimed ?? spots?.[this.picture.name] ?? (shown ? [shown.found.left, shown.found.top] : [0, 0]);
      if (way) {
        const step = this.size / (event.shiftKey ? 1 : 4);
        const { width, height } = this.picture;
        const [w, h] = this.sides;
        this.aimed = [clamp(now[0] + way[0] * step, 0, width - w), clamp(now[1] + way[1] * step, 0, height - h)];
        this.place(this.aim, this.aimed);
        if (this.brush.painting) this.brush.tip(this.middle(this.aimed));
      } else if (event.key !== "Enter" && event.key !== " ") return;
      else if (this.brush.painting) this.brush.keep([this.brush.radius, ...this.middle(now)]);
      else this.take(...now);
      event.preventDefault();
    }
  }
  customElements.define("ns-region", Region);
})();
