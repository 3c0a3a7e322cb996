// The Models page: <ns-weights> sends files of weights with progress and a hash, <ns-train recipes="[...]">
// starts a training, draws its curve while it learns, and stops it.
(() => {
  const EVERY = 1000; // ms between two looks at a training
  const STYLE = `
    :host { display: block; font: 14px/1.5 var(--ns-font); color: var(--ns-text); }
    [hidden] { display: none !important; }
    section { margin-top: 16px; padding: 14px 16px; background: var(--ns-panel); border: 1px solid var(--ns-line); border-radius: var(--ns-radius); }
    h2 { margin: 0 0 4px; font-size: 15px; font-weight: 600; }
    p { margin: 0 0 10px; max-width: 76ch; font-size: 13px; color: var(--ns-muted); }
    label { display: flex; flex-direction: column; gap: 4px; min-width: 0; font-size: 13px; font-weight: 500; }
    label.tick { flex-direction: row; align-items: center; gap: 7px; font-weight: 400; min-height: 24px; }
    input[type=text], input[type=number], select { box-sizing: border-box; width: 100%; min-height: 34px; padding: 5px 10px; font: 14px var(--ns-font);
      color: var(--ns-text); background: var(--ns-field); border: 1px solid var(--ns-line-strong); border-radius: 6px; }
    input[type=checkbox] { width: 16px; height: 16px; margin: 0; accent-color: var(--ns-accent); }
    button { font: 500 13px/20px var(--ns-font); color: var(--ns-text); background: var(--ns-field); cursor: pointer;
             border: 1px solid var(--ns-line-strong); border-radius: 6px; padding: 4px 13px; min-height: 32px; }
    button:hover:not(:disabled) { background: var(--ns-hover); }
    button:disabled { opacity: .45; cursor: default; }
    button.main { color: var(--ns-on-accent); background: var(--ns-accent); border-color: var(--ns-accent); }
    .zone { display: block; width: 100%; margin: 0 0 10px; padding: 18px; text-align: center; border: 1.5px dashed var(--ns-line-strong);
            border-radius: var(--ns-radius); background: var(--ns-field); color: var(--ns-muted); font-weight: 400; }
    .zone.over { border-color: var(--ns-accent); color: var(--ns-text); }
    .row { display: flex; flex-wrap: wrap; align-items: end; gap: 10px 14px; }
    .row > .wide { flex: 1 1 260px; } .row > .short { flex: 0 1 120px; }
    progress { width: 100%; height: 6px; accent-color: var(--ns-accent); }
    .now { margin: 8px 0 0; font-size: 13px; color: var(--ns-text); overflow-wrap: anywhere; }
    .wrong { color: var(--ns-danger); }
    svg { display: block; width: 100%; height: 150px; background: var(--ns-field); border: 1px solid var(--ns-line); border-radius: 6px; }
    polyline { fill: none; stroke: var(--ns-accent); stroke-width: 2; vector-effect: non-scaling-stroke; }
    .learned { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 12px; margin-top: 12px; align-items: start; }
    figure { margin: 0; } figcaption { margin-top: 4px; font-size: 13px; color: var(--ns-muted); font-variant-numeric: tabular-nums; }
    img { display: block; max-width: 100%; max-height: 320px; border-radius: 6px; background: var(--ns-stage); }
    :is(button, select, input):focus-visible { outline: 2px solid var(--ns-accent); outline-offset: 2px; }`;
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const call = async (address, body) => {
    const answer = await fetch(address, body === undefined ? { cache: "no-store" } : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok && answer.status !== 422) throw new Error("The studio does not answer; try again");
    const found = await answer.json();
    if (found.error && answer.status === 422) throw new Error(found.error);
    return found;
  };
  const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);

  class Tool extends HTMLElement {
    part(name) { return this.shadowRoot.querySelector(name); }
    make(body) { this.attachShadow({ mode: "open" }).innerHTML = `<style>${STYLE}</style>${body}`; }
    // The page's own buttons carry what is done here to the server.
    press(action, data) {
      const button = this.parentElement.querySelector(`[data-do=${action}]`);
      Object.assign(button.dataset, data);
      button.click();
    }
    say(text, wrong = false) {
      const now = this.part(".now");
      now.textContent = text;
      now.classList.toggle("wrong", wrong);
    }
  }

  class Weights extends Tool {
    connectedCallback() {
      if (this.shadowRoot) return;
      this.make(`<section aria-label="Add weights"><h2>Add weights</h2>
        <p>An official checkpoint or your own: safetensors, a .pth, .pt or .ckpt with tensors alone, or an ncnn pair (.param and .bin). Nothing in it is ever run.</p>
        <button type="button" class="zone">Drop a file here, or press to choose one</button>
        <input type="file" multiple hidden>
        <label>Expected sha256 (optional)<input type="text" class="hash" spellcheck="false" autocomplete="off"></label>
        <progress max="1" value="0" hidden aria-label="Sending"></progress><div class="now" role="status"></div>
        <button type="button" class="stop" hidden>Stop</button></section>`);
      const zone = this.part(".zone"), input = this.part("input[type=file]");
      zone.addEventListener("click", () => input.click());
      input.addEventListener("change", () => { this.send([...input.files]); input.value = ""; });
      for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
        zone.addEventListener(kind, (event) => {
          event.preventDefault();
          zone.classList.toggle("over", kind === "dragenter" || kind === "dragover");
          if (kind === "drop") this.send([...event.dataTransfer.files]);
        });
      this.part(".stop").addEventListener("click", () => this.request?.abort());
    }

    async send(files) {
      if (!files.length || this.busy) return;
      this.busy = true;
      this.part(".zone").disabled = true;
      const progress = this.part("progress");
      try {
        const total = files.reduce((sum, file) => sum + file.size, 0);
        let token = "", before = 0, sha256 = "";
        for (const file of files) {
          progress.hidden = this.part(".stop").hidden = false;
          this.part(".stop").hidden = false;
          ({ token, sha256 } = await this.post(file, token, (sent) => {
            progress.value = total ? (before + sent) / total : 1;
            this.say(`Sending ${file.name}: ${size(before + sent)} of ${size(total)}`);
          }));
          before += file.size;
        }
        this.part(".stop").hidden = true;
        progress.removeAttribute("value");
        this.say(`sha256 ${sha256}; comparing the layout with the networks`);
        const { models } = await call("studio/models/keep", { token, sha256: this.part(".hash").value });
        this.part(".hash").value = "";
        const names = models.map((one) => one.title).join(", ");
        this.say(`Added: ${names}`);
        this.press("models-added", { text: names });
      } catch (error) {
        this.say(error.message, true);
      }
      this.busy = false;
      this.part(".zone").disabled = false;
      progress.hidden = this.part(".stop").hidden = true;
      progress.value = 0;
    }

    post(file, token, sent) {
      return new Promise((done, fail) => {
        const request = (this.request = new XMLHttpRequest());
        request.open("POST", `studio/models/file?name=${encodeURIComponent(file.name)}&token=${token}`);
        request.upload.addEventListener("progress", (event) => sent(event.loaded));
        request.addEventListener("load", () => {
          let found = {};
          try { found = JSON.parse(request.responseText); } catch { /* no answer of ours */ }
          request.status === 200 ? done(found) : fail(new Error(found.error || "It could not be sent; try again"));
        });
        request.addEventListener("error", () => fail(new Error("It could not be sent; try again")));
        request.addEventListener("abort", () => fail(new Error("Stopped; nothing was kept")));
        request.send(file);
      });
    }
  }
  customElements.define("ns-weights", Weights);

  class Train extends Tool {
    static observedAttributes = ["recipes"];
    connectedCallback() {
      if (!this.shadowRoot) {
        this.make(`<section aria-label="Train a network"><h2>Train a network</h2>
          <p>The recipes that made the bundled weights, for so many minutes, on this machine. Their data is fetched once from Debian packages, unless you name a folder of your own files. Other jobs wait meanwhile.</p>
          <form class="row">
            <label class="wide">Recipe<select class="recipe"></select></label>
            <label class="short">Minutes<input type="number" class="minutes" value="10" min="0.1" max="1440" step="any"></label>
            <label class="wide">Your own files (optional)<input type="text" class="data" placeholder="/home/me/photos" autocomplete="off"></label>
            <label class="tick"><input type="checkbox" class="resume" checked>Go on with what was learned before</label>
            <button class="main start">Start</button>
          </form>
          <progress max="1" value="0" hidden aria-label="Budget spent"></progress>
          <div class="now" role="status"></div>
          <div class="row"><button type="button" class="stop" hidden>Stop and keep what it learned</button><button type="button" class="keep" hidden>Keep these weights</button></div>
          <div class="learned" hidden>
            <figure><svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="Loss over the steps"><polyline></polyline></svg><figcaption class="loss"></figcaption></figure>
            <figure class="look" hidden><img alt="Validation: what the network makes of pictures or sounds that it has not learned from"><figcaption class="figures"></figcaption></figure>
          </div></section>`);
        this.part("form").addEventListener("submit", (event) => { event.preventDefault(); this.start(); });
        this.part(".stop").addEventListener("click", () => this.stop());
        this.part(".keep").addEventListener("click", () => this.press("keep-weights", { key: this.lesson.asked, text: `my-${this.lesson.recipe}` }));
        this.watch("now");
      }
      this.fill();
    }
    attributeChangedCallback() { if (this.shadowRoot) this.fill(); }

    fill() {
      const field = this.part(".recipe"), before = field.value;
      field.replaceChildren(...JSON.parse(this.getAttribute("recipes") || "[]").map(({ name, title }) =>
        Object.assign(document.createElement("option"), { value: name, textContent: `${name}: ${title}` })));
      if (before) field.value = before;
      else if (field.querySelector("[value=noiser]")) field.value = "noiser";
      this.part(".start").disabled = !field.options.length;
    }

    async start() {
      try {
        const { asked } = await call("studio/train", {
          recipe: this.part(".recipe").value, minutes: Number(this.part(".minutes").value),
          resume: this.part(".resume").checked, data: this.part(".data").value });
        this.watch(asked);
      } catch (error) {
        this.say(error.message, true);
      }
    }

    async stop() {
      this.part(".stop").disabled = true;
      try {
        await call(`studio/train/${this.lesson.asked}/stop`, {});
      } catch (error) {
        this.say(error.message, true);
      }
    }

    async watch(asked) {
      const turn = (this.turn = (this.turn || 0) + 1);
      for (let known = asked; turn === this.turn && this.isConnected;) {
        let lesson;
        try {
          lesson = await call(`studio/train/${known}`);
        } catch {
          await pause(4 * EVERY); // the studio is away; the page says so
          continue;
        }
        if (turn !== this.turn || !lesson.asked) return;
        known = lesson.asked;
        this.tell(lesson);
        if (["done", "failed", "cancelled"].includes(lesson.state)) return;
        await pause(EVERY);
      }
    }

    tell(lesson) {
      this.lesson = lesson;
      const { state, found, share, ahead, error, text, stopping, recipe, asked } = lesson;
      const running = ["queued", "running", "interrupted"].includes(state);
      this.part(".start").disabled = running;
      this.part(".stop").hidden = !running;
      this.part(".stop").disabled = stopping;
      this.part(".keep").hidden = running || !lesson.kept;
      const progress = this.part("progress");
      progress.hidden = !running;
      progress.value = share;
      this.say(error || `${recipe}: ${!running ? { done: "trained", cancelled: "stopped" }[state] || state
        : stopping ? "looking at what it learned" : ahead ? "waits for other work to end" : text || "begins"}`, Boolean(error));
      const curve = found.curve || [];
      this.part(".learned").hidden = !curve.length;
      if (!curve.length) return;
      const [first, last] = [curve[0][0], curve[curve.length - 1]];
      const losses = curve.map(([, loss]) => loss), top = Math.max(...losses), low = Math.min(...losses, 0);
      this.part("polyline").setAttribute("points", curve.map(([step, loss]) =>
        `${(100 * (step - first)) / Math.max(last[0] - first, 1)},${39 - (37 * (loss - low)) / (top - low || 1)}`).join(" "));
      this.part(".loss").textContent = `Loss ${last[1].toPrecision(3)} after ${last[0]} steps`;
      this.part(".look").hidden = !found.picture;
      const source = `studio/train/${asked}/picture.png?at=${found.picture}`;
      const image = this.part("img");
      if (found.picture && image.getAttribute("src") !== source) image.src = source;
      this.part(".figures").textContent = Object.entries(found.figures || {})
        .map(([name, value]) => `${name.replaceAll("_", " ")} ${value.toPrecision(4)}`).join("  \u00b7  ");
    }
  }
  customElements.define("ns-train", Train);
})();
