// <ns-live tab="..." pictures="[...]" job="ID">: a chosen picture, whole and small, brightened while the
// settings are being chosen; and the training of the network, looked at by the same picture.
//
// It follows the settings of its tab, which the page tells by NoiseStudio.follow (see region.js), and is
// seen only while a method is chosen that can be looked at so.
(() => {
  const METHOD = "raw.noiser";
  const TRAIN = "raw.train";
  const LOOK_EVERY = [40, 40, 60, 80, 120, 200]; // ms
  const TRAINING_EVERY = 600; // ms
  const SETTLED = 120; // ms without a change
  // Settings that change nothing in what is shown.
  const PASSIVE = new Set(["output", "quality", "metadata", "depth", "denoise", "cleaner", "denoiser"]);
  const settings = new Map(); // tab -> { engine, values }
  const follow = window.NoiseStudio.follow;
  window.NoiseStudio.follow = (tab, engine, values) => {
    settings.set(tab, { engine, values }); // first: the other tells everybody
    follow(tab, engine, values);
  };

  const STYLE = `
    :host { display: block; font: 14px/1.5 var(--ns-font); color: var(--ns-text); }
    :host([hidden]) { display: none; }
    [hidden] { display: none !important; }
    section { margin-bottom: 14px; background: var(--ns-panel); border: 1px solid var(--ns-line); border-radius: var(--ns-radius); }
    .head { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px; padding: 8px 12px; min-height: 34px; }
    h3 { margin: 0; font-size: 13px; font-weight: 600; color: var(--ns-muted); }
    .name { min-width: 0; max-width: 40ch; font-size: 13px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    select { max-width: min(34ch, 100%); min-height: 30px; padding: 2px 8px; font: 13px var(--ns-font); color: var(--ns-text);
             background: var(--ns-field); border: 1px solid var(--ns-line-strong); border-radius: 6px; }
    button { font: 500 13px/20px var(--ns-font); color: var(--ns-text); background: var(--ns-field); cursor: pointer;
             border: 1px solid var(--ns-line-strong); border-radius: 6px; padding: 3px 11px; min-height: 30px; }
    button:hover { background: var(--ns-hover); }
    .fold { margin-left: auto; }
    .body { padding: 0 12px 12px; }
    .closed .body { display: none; }
    .wait { display: grid; place-items: center; min-height: 220px; padding: 1rem; text-align: center;
            color: var(--ns-on-stage); background: var(--ns-stage); border-radius: 6px; }
    .facts { display: flex; flex-wrap: wrap; gap: 2px 14px; margin-top: 8px; font-size: 13px; color: var(--ns-muted);
             font-variant-numeric: tabular-nums; }
    .facts b { font-weight: 500; color: var(--ns-text); }
    .wrong { color: var(--ns-danger); }
    :is(button, select, summary):focus-visible { outline: 2px solid var(--ns-accent); outline-offset: 2px; }
    details { margin-top: 10px; border-top: 1px solid var(--ns-line); padding-top: 8px; font-size: 13px; }
    summary { cursor: pointer; font-weight: 500; }
    details p { margin: 6px 0; max-width: 64ch; color: var(--ns-muted); }
    .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 12px; }
    progress { flex: 1 1 120px; max-width: 260px; height: 6px; accent-color: var(--ns-accent); }
    .learned { display: grid; grid-template-columns: minmax(0, 1fr); gap: 10px; margin-top: 10px; }
    .learned img { display: block; width: 100%; border-radius: 6px; background: var(--ns-stage); }
    figure { margin: 0; } figcaption { display: flex; justify-content: space-around; color: var(--ns-muted); }
    svg { display: block; width: 100%; height: 120px; background: var(--ns-field); border: 1px solid var(--ns-line); border-radius: 6px; }
    polyline { fill: none; stroke: var(--ns-accent); stroke-width: 2; vector-effect: non-scaling-stroke; }`;
  const BODY = `
    <section aria-label="The picture with these settings">
      <div class="head"><h3>Preview</h3><select aria-label="Picture to look at"></select><span class="name"></span>
        <button type="button" class="fold" aria-expanded="true">Close</button></div>
      <div class="body">
        <div class="wait" role="status">Reading the picture</div>
        <ns-compare view="live" left="Before" right="Brightened" hidden></ns-compare>
        <div class="facts" aria-live="polite"></div>
        <details class="train"><summary>Train the network here</summary>
          <p>It learns from nothing but noise, in about a minute. This picture only shows how far it is.</p>
          <div class="bar"><button type="button" class="start">Start</button>
            <button type="button" class="stop" hidden>Stop</button>
            <progress max="1" aria-label="Training" hidden></progress><span class="now" role="status"></span>
            <button type="button" class="keep" hidden>Keep as mine</button></div>
          <div class="learned" hidden><figure><img alt="The picture before, by the paper's network and as it would be run">
            <figcaption><span>Before</span><span>Plain network</span><span>As it is run</span></figcaption></figure>
            <figure><svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="Training loss over steps"><polyline/></svg>
            <figcaption><span class="loss"></span></figcaption></figure></div>
        </details>
      </div>
    </section>`;

  const { call, Looked } = window.NoiseStudio;
  const pause = (ms) => new Promise((go) => setTimeout(go, ms));
  const strong = (textContent) => Object.assign(document.createElement("b"), { textContent });

  class Live extends Looked {
    connectedCallback() {
      if (!this.shadowRoot) this.build();
      window.addEventListener("ns-settings", this.told);
      this.changed();
      this.watch();
    }
    disconnectedCallback() {
      window.removeEventListener("ns-settings", this.told);
      clearTimeout(this.settling);
      this.turn += 1;
      this.watching += 1;
    }

    get chosen() { return settings.get(this.tab); }

    build() {
      this.attachShadow({ mode: "open" }).innerHTML = `<style>${STYLE}</style>${BODY}`;
      this.turn = this.watching = 0;
      this.told = () => this.changed();
      this.listen();
      this.part(".start").addEventListener("click", () => this.start());
      this.part(".stop").addEventListener("click", () => this.stop());
      this.part(".keep").addEventListener("click", () => {
        const button = this.parentElement.querySelector("[data-do=keep-training]");
        button.dataset.key = this.state.training.asked;
        button.click();
      });
    }

    // --- preview ----------------------------------------------------------------------------------

    changed() {
      const open = this.arrange("Look at it");
      this.hidden = !this.picture || this.chosen?.engine !== METHOD;
      if (this.hidden || !open) return;
      this.show();
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.ask(), this.state.shown ? SETTLED : 0);
    }

    get wanted() {
      const values = Object.entries(this.chosen.values).filter(([name]) => !PASSIVE.has(name));
      return JSON.stringify([this.picture.region, values]);
    }

    async ask() {
      if (!this.picture || this.hidden || this.state.asking === this.wanted || this.state.shown?.wanted === this.wanted) return;
      const { wanted, picture } = this;
      const turn = (this.turn += 1);
      this.keep({ asking: wanted, error: "" });
      try {
        const { asked, error } = await call(picture.region, { engine: METHOD, values: this.chosen.values });
        if (error) throw new Error(error);
        for (let n = 0; turn === this.turn; n += 1) {
          const answer = await call(`studio/region/${asked}`);
          if (answer.state === "done") {
            await this.put(asked, wanted, answer.found, turn);
            break;
          }
          if (answer.error || ["failed", "cancelled"].includes(answer.state)) throw new Error(answer.error || "");
          this.keep({ ahead: answer.ahead && n > 6 });
          this.show();
          await pause(LOOK_EVERY[Math.min(n, LOOK_EVERY.length - 1)]);
        }
      } catch (error) {
        if (turn === this.turn) this.keep({ error: error.message });
      }
      if (turn === this.turn) {
        this.keep({ asking: null, ahead: false });
        this.show();
      }
    }

    async put(asked, wanted, found, turn) {
      const [before, after] = ["before", "after"].map((side) => `studio/region/${asked}/${side}.png`);
      await Promise.all([before, after].map((src) => Object.assign(new Image(), { src }).decode()));
      if (turn === this.turn) this.keep({ shown: { wanted, before, after, found } });
    }

    show() {
      const { shown, ahead, error } = this.state;
      const compare = this.part("ns-compare");
      compare.hidden = !shown;
      const wait = this.part(".wait");
      wait.hidden = Boolean(shown);
      wait.textContent = error || (ahead ? "Waits for other work to end" : "Reading the picture");
      const facts = this.part(".facts");
      facts.replaceChildren();
      if (!shown) return;
      for (const side of ["before", "after"])
        if (compare.getAttribute(side) !== shown[side]) compare.setAttribute(side, shown[side]);
      compare.setAttribute("alt", `${this.picture.name}, brightened`);
      const { gain, before, after } = shown.found;
      const line = (...words) => facts.appendChild(document.createElement("span")).append(...words);
      line("Brighter by ", strong(`${gain.toFixed(1)} EV`));
      line("Mean brightness ", strong(`${Math.round(100 * before)} % \u2192 ${Math.round(100 * after)} %`));
      if (error) facts.appendChild(Object.assign(document.createElement("span"), { className: "wrong", textContent: error }));
      else if (ahead) line("Waits for other work to end");
    }

    // --- training ---------------------------------------------------------------------------------

    async start() {
      try {
        const { asked, error } = await call(this.picture.region, { engine: TRAIN, values: {} });
        if (error) throw new Error(error);
        this.keep({ training: { asked, running: true } });
        this.watch();
      } catch (error) {
        this.keep({ training: { error: error.message } });
        this.tell();
      }
    }

    async stop() {
      try {
        await call(`studio/region/${this.state.training.asked}/stop`, {});
      } catch { /* it has ended by itself */ }
    }

    async watch() {
      const turn = (this.watching += 1);
      this.part("details").open ||= Boolean(this.state.training);
      while (turn === this.watching && this.state.training?.running) {
        const { training } = this.state;
        try {
          const answer = await call(`studio/region/${training.asked}`);
          const running = ["queued", "running", "interrupted"].includes(answer.state);
          const cancelled = answer.state === "cancelled";
          const error = cancelled ? "Stopped; Start goes on where it was" : answer.error;
          this.keep({ training: { ...training, ...answer, running, error } });
        } catch (error) {
          this.keep({ training: { ...training, running: false, error: error.message } });
        }
        this.tell();
        await pause(TRAINING_EVERY);
      }
      this.tell();
    }

    tell() {
      const training = this.state.training || {};
      const { running, found = {}, share, ahead, error, state, asked } = training;
      this.part(".start").hidden = Boolean(running);
      this.part(".stop").hidden = !running;
      this.part(".keep").hidden = running || state !== "done";
      this.part("progress").hidden = !running;
      this.part("progress").value = share || 0;
      const now = this.part(".now");
      now.textContent = error || (!running ? (state === "done" ? "Trained" : "") : ahead ? "Waits for other work to end"
        : training.text || "Begins");
      const curve = found.curve || [];
      this.part(".learned").hidden = !curve.length;
      if (!curve.length) return;
      const last = curve[curve.length - 1];
      const image = this.part(".learned img");
      const source = `studio/region/${asked}/after.png?step=${last[0]}`;
      if (image.getAttribute("src") !== source) image.src = source;
      const top = Math.max(...curve.map(([, loss]) => loss));
      this.part("polyline").setAttribute("points", curve.map(([step, loss]) =>
        `${(100 * step) / Math.max(found.steps, last[0])},${39 - (37 * loss) / top}`).join(" "));
      this.part(".loss").textContent = `Loss ${last[1].toFixed(3)} after ${last[0]} of ${found.steps} steps`;
    }
  }
  customElements.define("ns-live", Live);
})();
