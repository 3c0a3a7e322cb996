// A round brush over the picture of <ns-region>, for methods with a setting called "strokes": what is painted
// is text in that field of the form, which is what the studio reads, keeps and runs again:
// {"scan.png": [[radius, x, y, x, y, ...]]} in whole pixels of the picture.
(() => {
  const FIELD = "strokes";
  const STYLE = `
    .tools { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 12px; margin-bottom: 8px; font-size: 13px; }
    .tools .modes { display: inline-flex; } .tools .modes button { border-radius: 0; }
    .tools .modes button:first-child { border-radius: 6px 0 0 6px; }
    .tools .modes button:last-child { border-radius: 0 6px 6px 0; border-left: 0; }
    .tools button[aria-pressed="true"] { background: var(--ns-text); color: var(--ns-panel); }
    .tools button:disabled { opacity: .45; cursor: default; }
    .tools label { display: inline-flex; align-items: center; gap: 8px; color: var(--ns-muted); }
    .tools input { width: 110px; accent-color: var(--ns-accent); }
    .brushing .hint:not(.paints), :not(.brushing) > .head .paints { display: none; }
    .paint { position: absolute; inset: 0; width: 100%; height: 100%; opacity: .6; pointer-events: none; }
    .paint path { fill: none; stroke: #ff2fd0; stroke-linecap: round; stroke-linejoin: round; }
    .tip { position: absolute; box-sizing: border-box; border: 1.5px solid #fff; border-radius: 50%; pointer-events: none;
           box-shadow: 0 0 0 1px rgba(0, 0, 0, .75), inset 0 0 0 1px rgba(0, 0, 0, .45); transform: translate(-50%, -50%); }
    .stage.painting { touch-action: none; cursor: none; }
    .stage.painting .taken { cursor: none; box-shadow: 0 0 0 1px rgba(0, 0, 0, .75); }
    .stage.painting .aim, .stage:not(.painting) .tip { display: none; }
    .stage:not(:hover, :focus-visible) .tip { display: none; }`;
  const TOOLS = `
    <div class="tools" role="group" aria-label="Brush" hidden>
      <span class="modes"><button type="button" class="paints" aria-pressed="true">Brush</button
        ><button type="button" class="moves" aria-pressed="false">Frame</button></span>
      <label>Size <input type="range" min="2" max="100" value="20" aria-label="Size of the brush"></label>
      <button type="button" class="undo">Undo</button><button type="button" class="clear">Clear</button>
      <span class="full" role="status"></span></div>`;

  const path = ([radius, ...points]) => {
    const pairs = [];
    for (let at = 0; at < points.length; at += 2) pairs.push(`${points[at]} ${points[at + 1]}`);
    const one = document.createElementNS("http://www.w3.org/2000/svg", "path");
    one.setAttribute("d", `M${pairs.join("L")}${pairs.length === 1 ? "h0" : ""}`);
    one.setAttribute("stroke-width", 2 * radius + 1);
    return one;
  };

  class Brush {
    // `region` has the stage, the picture and its chosen settings; `done(x, y)` is called before a stroke is kept.
    constructor(region, done) {
      this.region = region;
      this.done = done;
      this.on = true;
      const tool = (name) => region.part(`.tools ${name}`);
      this.size = tool("input");
      this.size.addEventListener("input", () => this.tip());
      for (const [name, on] of [[".paints", true], [".moves", false]])
        tool(name).addEventListener("click", () => { this.on = on; this.show(); });
      tool(".undo").addEventListener("click", () => this.put(this.strokes.slice(0, -1)));
      tool(".clear").addEventListener("click", () => this.put([]));
    }

    get field() {
      const engine = this.region.chosen?.engine.replace(".", "-");
      return engine ? document.querySelector(`#${engine}-${FIELD} :is(textarea, input)`) : null;
    }
    get offered() {
      const { values } = this.region.chosen ?? {};
      return Boolean(values && FIELD in values && values.task === "inpaint" && this.region.picture);
    }
    get painting() { return this.offered && this.on; }

    get all() {
      try {
        // The settings are told after the field has changed.
        const read = JSON.parse((this.field?.value ?? this.region.chosen?.values[FIELD]) || "{}");
        return read && typeof read === "object" ? read : {};
      } catch { return {}; }
    }
    get strokes() {
      const own = this.all[this.region.picture?.name];
      return Array.isArray(own) ? own : [];
    }

    put(strokes) {
      const { field } = this;
      if (!field) return;
      const all = { ...this.all, [this.region.picture.name]: strokes };
      if (!strokes.length) delete all[this.region.picture.name];
      const text = Object.keys(all).length ? JSON.stringify(all) : "";
      const fits = text.length <= field.maxLength;
      this.region.part(".tools .full").textContent =
        fits ? "" : "No more strokes fit; take a larger brush, or give a mask";
      if (fits) window.NoiseStudio.type(field, text);
      this.show();
    }

    // --- drawing ----------------------------------------------------------------------------------

    show() {
      const { region, offered, painting, strokes } = this;
      region.part(".tools").hidden = !offered;
      region.part("section").classList.toggle("brushing", painting);
      region.stage.classList.toggle("painting", painting);
      region.part(".tools .paints").setAttribute("aria-pressed", String(this.on));
      region.part(".tools .moves").setAttribute("aria-pressed", String(!this.on));
      for (const name of [".undo", ".clear"]) region.part(`.tools ${name}`).disabled = !strokes.length;
      const paint = region.part(".paint");
      paint.setAttribute("viewBox", `0 0 ${region.picture?.width ?? 1} ${region.picture?.height ?? 1}`);
      paint.replaceChildren(...(offered ? [...strokes, ...(this.now ? [this.now] : [])].map(path) : []));
    }

    get radius() {
      const { width, height } = this.region.picture;
      return Math.min(1000, Math.max(1, Math.round((Math.max(width, height) * Number(this.size.value)) / 1000)));
    }

    tip([x, y] = this.at ?? [0, 0]) {
      this.at = [x, y];
      const { width, height } = this.region.picture;
      const tip = this.region.part(".tip");
      Object.assign(tip.style, { left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`,
        width: `${(200 * this.radius) / width}%`, height: `${(200 * this.radius) / height}%` });
    }

    // --- what a person does -----------------------------------------------------------------------

    place(event) {
      const box = this.region.image.getBoundingClientRect();
      const { width, height } = this.region.picture;
      return [Math.round(((event.clientX - box.left) / box.width) * width),
        Math.round(((event.clientY - box.top) / box.height) * height)];
    }

    press(event) {
      const { stage } = this.region;
      stage.setPointerCapture(event.pointerId);
      const { radius } = this;
      this.now = [radius, ...this.place(event)];
      this.show();
      const go = (moved) => {
        const [x, y] = this.place(moved);
        this.tip([x, y]);
        const far = Math.hypot(x - this.now.at(-2), y - this.now.at(-1));
        if (far < Math.max(2, radius / 3)) return;
        this.now.push(x, y);
        this.show();
      };
      const end = (ended) => {
        stage.removeEventListener("pointermove", go);
        for (const kind of ["pointerup", "pointercancel"]) stage.removeEventListener(kind, end);
        const stroke = this.now;
        this.now = null;
        if (ended.type === "pointerup") this.keep(stroke);
        else this.show();
      };
      stage.addEventListener("pointermove", go);
      for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, end);
    }

    keep(stroke) {
      const [xs, ys] = [1, 2].map((from) => stroke.filter((_, at) => at >= 1 && (at - from) % 2 === 0));
      const middle = (many) => (Math.min(...many) + Math.max(...many)) / 2;
      this.done(middle(xs), middle(ys));
      this.put([...this.strokes, stroke]);
    }
  }
  Brush.STYLE = STYLE;
  Brush.TOOLS = TOOLS;
  window.NoiseStudio.Brush = Brush;
})();
