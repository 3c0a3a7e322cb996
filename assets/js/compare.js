// <ns-compare before="URL" after="URL" alt="..." left="Before" right="After" view="..." strength="1">:
// two pictures of one size behind one window.
//
// Both sides share one view (zoom and centre), so what is compared is always the same place at the
// same scale; "100 %" is one picture pixel to one pixel of the screen. A view is kept for the page by
// its name, so that going through a batch stays at the same spot. Less strength blends the right
// picture into the left one. Everything made at run time lives in
// the shadow tree, because Gradio compares and repairs the children that it knows.
(() => {
  const STYLE = `
    :host { display: block; color: var(--ns-text); }
    .frame { border: 1px solid var(--ns-line); border-radius: var(--ns-radius); overflow: hidden;
             background: var(--ns-stage); }
    .stage { position: relative; aspect-ratio: 3 / 2; max-height: 74vh; width: 100%; overflow: hidden;
             background: var(--ns-stage); cursor: ew-resize; touch-action: pan-y; user-select: none; }
    .stage.zoomed { cursor: grab; }
    .stage.wide { touch-action: pan-y; } .stage.high { touch-action: none; } .stage.still { touch-action: pan-x pan-y; }
    .stage.panning { cursor: grabbing; }
    .stage:focus-visible, .handle:focus-visible .knob, button:focus-visible {
      outline: 2px solid var(--ns-accent); outline-offset: -2px; }
    .handle:focus-visible { outline: none; }
    .handle:focus-visible .knob { outline-offset: 2px; }
    .side { position: absolute; inset: 0; overflow: hidden; background: var(--ns-stage); }
    .pair .after { left: calc(50% + 1px); } .pair .before { right: calc(50% + 1px); }
    img { position: absolute; left: 0; top: 0; max-width: none; transform-origin: 0 0; }
    img.sharp { image-rendering: pixelated; }
    .tag { position: absolute; top: 10px; padding: 2px 9px; font: 500 12px/18px var(--ns-font);
           color: #f2f2f2; background: rgba(20, 20, 20, .66); border-radius: 4px; pointer-events: none; }
    .before .tag { left: 10px; } .after .tag { right: 10px; }
    .handle { position: absolute; top: 0; bottom: 0; width: 32px; margin-left: -16px;
              cursor: ew-resize; touch-action: none; }
    .handle::before { content: ""; position: absolute; left: 15px; top: 0; bottom: 0; width: 2px;
                      background: #fff; box-shadow: 0 0 3px rgba(0, 0, 0, .55); }
    .knob { position: absolute; left: 0; top: calc(50% - 16px); width: 32px; height: 32px;
            border-radius: 50%; background: #fff; box-shadow: 0 1px 5px rgba(0, 0, 0, .45);
            display: grid; place-items: center; }
    .knob svg { width: 18px; height: 18px; }
    .pair .handle { display: none; }
    .say { position: absolute; inset: 0; display: grid; place-items: center; padding: 1rem;
           text-align: center; font: 14px/1.5 var(--ns-font); color: var(--ns-on-stage); }
    .say[hidden] { display: none; }
    .bar { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; padding: 7px 9px;
           background: var(--ns-panel); border-top: 1px solid var(--ns-line); }
    .group { display: inline-flex; border: 1px solid var(--ns-line-strong); border-radius: 6px;
             overflow: hidden; }
    button { font: 500 13px/20px var(--ns-font); color: var(--ns-text); background: transparent;
             border: 0; padding: 4px 11px; min-height: 28px; cursor: pointer; }
    .group button + button { border-left: 1px solid var(--ns-line-strong); }
    .alone { border: 1px solid var(--ns-line-strong); border-radius: 6px; }
    button:hover { background: var(--ns-hover); }
    button[aria-pressed="true"] { background: var(--ns-text); color: var(--ns-panel); }
    [data-hold] { touch-action: none; user-select: none; -webkit-touch-callout: none; }
    @media (pointer: coarse) { .bar button { min-height: 40px; } .handle { width: 44px; margin-left: -22px; }
      .handle::before { left: 21px; } .knob { left: 6px; } }
    .hint { margin-left: auto; font: 12px/20px var(--ns-font); color: var(--ns-muted); }
    kbd { font: 11px/16px var(--ns-mono); border: 1px solid var(--ns-line-strong); border-radius: 3px;
          padding: 0 4px; }
    .frame:fullscreen { display: flex; flex-direction: column; border: 0; border-radius: 0; }
    .frame:fullscreen .stage { flex: 1; max-height: none; aspect-ratio: auto; }
    :host([view=region]) .stage { aspect-ratio: 1 / 1; max-height: min(62vh, 560px); }
    :host([view=region]) :is(.hint, [data-full]) { display: none; }
    @media (max-width: 640px) { .hint { display: none; } .stage { aspect-ratio: 1 / 1; } }
  `;
  const BODY = `
    <div class="frame" part="frame">
      <div class="stage" tabindex="0" role="group">
        <div class="side after"><img class="under" alt="" draggable="false" hidden
          ><img class="top" alt="" draggable="false"><span class="tag"></span></div>
        <div class="side before"><img class="top" alt="" draggable="false"><span class="tag"></span></div>
        <div class="handle" role="slider" tabindex="0" aria-orientation="horizontal"
             aria-label="Divider between before and after" aria-valuemin="0" aria-valuemax="100">
          <span class="knob"><svg viewBox="0 0 18 18" fill="none" stroke="#222" stroke-width="1.8"
            stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
            <path d="M6 5 2.5 9 6 13M12 5l3.5 4L12 13"/></svg></span>
        </div>
        <div class="say" role="status">Loading the pictures</div>
      </div>
      <div class="bar">
        <span class="group" role="group" aria-label="Zoom">
          <button data-zoom="fit">Fit</button><button data-zoom="1">100 %</button
          ><button data-zoom="2">200 %</button>
        </span>
        <span class="group" role="group" aria-label="Layout">
          <button data-layout="split">Slider</button><button data-layout="pair">Side by side</button>
        </span>
        <button class="alone" data-hold></button>
        <button class="alone" data-full>Full screen</button>
        <span class="hint"><kbd>1</kbd> fit <kbd>2</kbd> 100 % <kbd>3</kbd> 200 %
          <kbd>\\</kbd> hold for before</span>
      </div>
    </div>`;
  const views = new Map();
  const viewOf = (name) => {
    if (!views.has(name)) views.set(name, { zoom: "1", layout: "split", divider: 50, x: 0.5, y: 0.5 });
    return views.get(name);
  };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  class Compare extends HTMLElement {
    static observedAttributes = ["before", "after", "alt", "left", "right", "strength"];

    connectedCallback() {
      if (!this.shadowRoot) this.build();
      this.load();
      this.resizes = new ResizeObserver(() => this.draw());
      this.resizes.observe(this.stage);
      Compare.shown.add(this);
    }

    disconnectedCallback() {
      this.resizes?.disconnect();
      Compare.shown.delete(this);
    }

    attributeChangedCallback(name, old, now) {
      if (!this.shadowRoot || old === now) return;
      if (name === "strength") this.draw();
      else this.load();
    }

    get view() { return viewOf(this.getAttribute("view") || ""); }

    build() {
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = `<style>${STYLE}</style>${BODY}`;
      const find = (what) => root.querySelector(what);
      Object.assign(this, {
        frame: find(".frame"), stage: find(".stage"), handle: find(".handle"), say: find(".say"),
        sides: { before: find(".before"), after: find(".after") },
        images: { before: find(".before .top"), after: find(".after .top"), under: find(".under") },
      });
      for (const image of [this.images.before, this.images.after]) {
        image.addEventListener("load", () => this.draw());
        image.addEventListener("error", () => this.tell(
          "This picture is no longer there. Run the job again to make it anew."));
      }
      root.addEventListener("click", (event) => this.press(event));
      const hold = find("[data-hold]");
      for (const kind of ["pointerdown", "keydown"]) hold.addEventListener(kind, (event) => {
        if (kind === "pointerdown" || event.key === " " || event.key === "Enter") this.hold(true);
      });
      hold.addEventListener("contextmenu", (event) => event.preventDefault()); // of a long press
      for (const kind of ["pointerup", "pointercancel", "pointerleave", "keyup", "blur"])
        hold.addEventListener(kind, () => this.hold(false));
      this.handle.addEventListener("keydown", (event) => this.slide(event));
      this.stage.addEventListener("keydown", (event) => this.walk(event));
      this.stage.addEventListener("pointerdown", (event) => this.drag(event));
      this.stage.addEventListener("dblclick", (event) => this.spot(event));
      this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      this.frame.addEventListener("fullscreenchange", () => {
        find("[data-full]").textContent =
          document.fullscreenElement ? "Leave full screen" : "Full screen";
        this.draw();
      });
    }

    load() {
      this.stage.setAttribute("aria-label",
        `${this.getAttribute("alt") || "Picture"}; arrow keys move it when it is enlarged`);
      this.tell("Loading the pictures");
      const names = { before: this.getAttribute("left") || "Before", after: this.getAttribute("right") || "After" };
      for (const side of ["before", "after"]) {
        const address = this.getAttribute(side) || "";
        const image = this.images[side];
        if (image.getAttribute("src") !== address) image.src = address;
        image.alt = `${names[side]}: ${this.getAttribute("alt") || ""}`;
        this.sides[side].querySelector(".tag").textContent = names[side];
      }
      const { under } = this.images;
      const address = this.getAttribute("before") || "";
      if (under.getAttribute("src") !== address) under.src = address;
      const word = names.before === "Before" ? "before" : names.before;
      this.shadowRoot.querySelector("[data-hold]").textContent = `Hold for ${word}`;
      this.draw();
    }

    tell(text) {
      this.say.textContent = text;
      this.say.hidden = !text;
    }

    get size() {
      return [this.images.after.naturalWidth, this.images.after.naturalHeight];
    }

    scale(width, height) {
      const [w, h] = this.size;
      return this.view.zoom === "fit"
        ? Math.min(width / w, height / h) : Number(this.view.zoom) / (window.devicePixelRatio || 1);
    }

    draw() {
      const { before, after } = this.images;
      if (!before.naturalWidth || !after.naturalWidth) return;
      this.tell("");
      const pair = this.view.layout === "pair";
      this.stage.classList.toggle("pair", pair);
      this.stage.classList.toggle("zoomed", this.view.zoom !== "fit");
      const width = pair ? this.stage.clientWidth / 2 - 1 : this.stage.clientWidth;
      const height = this.stage.clientHeight;
      const scale = this.scale(width, height);
      const [w, h] = this.size;
      const place = (extent, room, at) => {
        if (extent <= room) return [(room - extent) / 2, 0.5];
        const start = clamp(room / 2 - at * extent, room - extent, 0);
        return [start, (room / 2 - start) / extent];
      };
      // What cannot be moved that way lets a finger scroll the page.
      const zoomed = this.view.zoom !== "fit";
      const high = zoomed && h * scale > height + 1;
      this.stage.classList.toggle("high", high);
      this.stage.classList.toggle("wide", !high && zoomed && w * scale > width + 1);
      this.stage.classList.toggle("still", !high && (zoomed ? w * scale <= width + 1 : pair));
      const [left, x] = place(w * scale, width, this.view.x);
      const [top, y] = place(h * scale, height, this.view.y);
      if (this.view.zoom !== "fit") Object.assign(this.view, { x, y });
      const strength = Math.min(Math.max(Number(this.getAttribute("strength") ?? 1), 0), 1);
      this.images.under.hidden = strength === 1;
      after.style.opacity = strength === 1 ? "" : String(strength);
      for (const image of [before, after, this.images.under]) {
        if (!image.naturalWidth) continue;
        // Both are drawn at the size of the result, so an odd preview can never shift the picture.
        const fit = (w / image.naturalWidth) * scale;
        image.style.transform = `translate(${left}px, ${top}px) scale(${fit})`;
        image.classList.toggle("sharp", this.view.zoom === "2");
      }
      const divider = this.holding ? 100 : this.view.divider;
      this.sides.before.style.clipPath = pair && !this.holding ? "" : `inset(0 ${100 - divider}% 0 0)`;
      this.handle.style.left = `${this.view.divider}%`;
      this.handle.setAttribute("aria-valuenow", String(Math.round(this.view.divider)));
      const share = Math.round(this.view.divider);
      this.handle.setAttribute("aria-valuetext", `${share} % before, ${100 - share} % after`);
      for (const button of this.shadowRoot.querySelectorAll("[data-zoom], [data-layout]")) {
        const on = button.dataset.zoom === this.view.zoom || button.dataset.layout === this.view.layout;
        button.setAttribute("aria-pressed", String(on));
      }
    }

    set(change) {
      Object.assign(this.view, change);
      for (const one of Compare.shown) if (one.view === this.view) one.draw();
    }

    hold(on) {
      if (this.holding === on) return;
      this.holding = on;
      this.sides.before.style.zIndex = on ? "2" : "";
      this.draw();
    }

    press(event) {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.zoom) this.set({ zoom: button.dataset.zoom });
      if (button.dataset.layout) this.set({ layout: button.dataset.layout });
      if ("full" in button.dataset)
        document.fullscreenElement ? document.exitFullscreen() : this.frame.requestFullscreen();
    }

    slide(event) {
      const stride = event.shiftKey ? 10 : 2;
      const to = {
        ArrowLeft: this.view.divider - stride, ArrowDown: this.view.divider - stride,
        ArrowRight: this.view.divider + stride, ArrowUp: this.view.divider + stride,
        PageDown: this.view.divider - 10, PageUp: this.view.divider + 10, Home: 0, End: 100,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.set({ divider: clamp(to, 0, 100) });
    }

    walk(event) {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (this.view.zoom === "fit" || !way[event.key]) return;
      event.preventDefault();
      this.move(way[event.key].map((one) => one * (event.shiftKey ? -200 : -50)));
    }

    move([dx, dy]) {
      const [w, h] = this.size;
      const scale = this.scale(this.stage.clientWidth, this.stage.clientHeight);
      this.set({ x: this.view.x - dx / (w * scale), y: this.view.y - dy / (h * scale) });
    }

    // Two fingers: what spreads enlarges, a step at a time.
    pinch(event) {
      const fingers = (this.fingers ??= new Map());
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (fingers.size > 2) return true;
      const lift = (lifted) => {
        if (lifted.pointerId !== event.pointerId) return;
        fingers.delete(event.pointerId);
        for (const kind of ["pointerup", "pointercancel"]) this.stage.removeEventListener(kind, lift);
        this.stage.removeEventListener("pointermove", spread);
      };
      const apart = () => {
        const [[a, b], [c, d]] = fingers.values();
        return Math.hypot(a - c, b - d);
      };
      let from = fingers.size === 2 ? apart() : 0;
      const spread = (moved) => {
        if (!fingers.has(moved.pointerId)) return;
        fingers.set(moved.pointerId, [moved.clientX, moved.clientY]);
        if (!from || fingers.size !== 2) return;
        const now = apart();
        if (now < from * 1.4 && now > from / 1.4) return;
        const [[a, b], [c, d]] = fingers.values();
        this.nearer(now > from ? 1 : -1, { clientX: (a + c) / 2, clientY: (b + d) / 2 });
        from = now;
      };
      for (const kind of ["pointerup", "pointercancel"]) this.stage.addEventListener(kind, lift);
      this.stage.addEventListener("pointermove", spread);
      return fingers.size === 2;
    }

    drag(event) {
      if (event.button !== 0) return;
      if (event.pointerType === "touch" && this.pinch(event)) return this.letGo?.();
      const onHandle = event.composedPath().includes(this.handle);
      if (!onHandle && this.view.zoom === "fit" && this.view.layout === "pair") return;
      const sliding = onHandle || this.view.zoom === "fit";
      const box = this.stage.getBoundingClientRect();
      let last = [event.clientX, event.clientY];
      const slideTo = (at) => this.set({ divider: clamp(((at - box.left) / box.width) * 100, 0, 100) });
      const go = (moved) => {
        if (moved.pointerId !== event.pointerId) return;
        if (sliding) return slideTo(moved.clientX);
        this.move([moved.clientX - last[0], moved.clientY - last[1]]);
        last = [moved.clientX, moved.clientY];
      };
      const end = this.letGo = () => {
        this.stage.classList.remove("panning");
        this.stage.removeEventListener("pointermove", go);
      };
      this.stage.setPointerCapture(event.pointerId);
      this.stage.classList.toggle("panning", !sliding);
      this.stage.addEventListener("pointermove", go);
      for (const kind of ["pointerup", "pointercancel"])
        this.stage.addEventListener(kind, end, { once: true });
      if (sliding && event.pointerType === "mouse") slideTo(event.clientX);
    }

    spot(event) {
      const box = this.images.after.getBoundingClientRect();
      if (this.view.zoom !== "fit") return this.set({ zoom: "fit" });
      this.set({
        zoom: "1",
        x: clamp((event.clientX - box.left) / box.width, 0, 1),
        y: clamp((event.clientY - box.top) / box.height, 0, 1),
      });
    }

    wheel(event) {
      // The bare wheel scrolls the page, as everywhere; with Ctrl (or a pinch) it enlarges.
      if (!event.ctrlKey) return;
      event.preventDefault();
      const now = performance.now();
      if (now - (this.wheeled || 0) < 200) return;
      this.wheeled = now;
      this.nearer(event.deltaY < 0 ? 1 : -1, event);
    }

    nearer(way, at) {
      const steps = ["fit", "1", "2"];
      const next = clamp(steps.indexOf(this.view.zoom) + way, 0, 2);
      if (this.view.zoom === "fit" && steps[next] === "1") this.spot(at);
      else this.set({ zoom: steps[next] });
    }
  }
  Compare.shown = new Set();

  const typing = (event) => event.composedPath()[0]?.matches?.("input, textarea, select, [contenteditable]");
  window.addEventListener("keydown", (event) => {
    if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const zoom = { 1: "fit", 2: "1", 3: "2" }[event.key];
    for (const one of Compare.shown) {
      if (!one.offsetParent) continue;
      if (zoom) one.set({ zoom });
      if (event.key === "\\" || event.key === "b") one.hold(true);
    }
  });
  window.addEventListener("keyup", (event) => {
    if (event.key === "\\" || event.key === "b") for (const one of Compare.shown) one.hold(false);
  });
  window.addEventListener("blur", () => { for (const one of Compare.shown) one.hold(false); });
  customElements.define("ns-compare", Compare);
})();
