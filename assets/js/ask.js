// <ns-ask job="ID" original="NAME" quantized="NAME" chat>: one question to a model before and after,
// the answers side by side as they come.
//
// What was typed and answered is kept by job, so that it is still there when the panel is drawn anew.
(() => {
  const LOOK_EVERY = 300; // ms
  const SIDES = ["original", "quantized"];
  const STYLE = `
    :host { display: block; font: 14px/1.5 var(--ns-font); color: var(--ns-text); }
    form { display: flex; flex-direction: column; gap: 10px; margin: 0; }
    textarea { width: 100%; box-sizing: border-box; min-height: 66px; padding: 8px 10px; resize: vertical;
               font: inherit; color: inherit; background: var(--ns-field);
               border: 1px solid var(--ns-line-strong); border-radius: 6px; }
    .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; }
    fieldset { display: inline-flex; margin: 0; padding: 0; border: 1px solid var(--ns-line-strong); border-radius: 6px;
               overflow: hidden; }
    fieldset label { padding: 4px 12px; font-size: 13px; font-weight: 500; line-height: 20px; cursor: pointer; }
    fieldset label + label { border-left: 1px solid var(--ns-line-strong); }
    fieldset label:has(:checked) { color: var(--ns-panel); background: var(--ns-text); }
    fieldset label:has(:focus-visible) { outline: 2px solid var(--ns-accent); outline-offset: -2px; }
    fieldset input { position: absolute; opacity: 0; width: 1px; height: 1px; }
    .length { display: inline-flex; align-items: center; gap: 8px; font-size: 13px; color: var(--ns-muted); }
    .length input { width: 74px; padding: 4px 8px; font: inherit; color: var(--ns-text); background: var(--ns-field);
                    border: 1px solid var(--ns-line-strong); border-radius: 6px; font-variant-numeric: tabular-nums; }
    button { min-height: 32px; padding: 4px 16px; font: 600 14px/20px var(--ns-font); cursor: pointer;
             color: var(--ns-on-accent); background: var(--ns-accent); border: 0; border-radius: 6px; }
    button:hover:not(:disabled) { background: var(--ns-accent-strong); }
    button.stop { color: var(--ns-text); background: var(--ns-field); border: 1px solid var(--ns-line-strong); }
    button.stop:hover { background: var(--ns-hover); }
    button:disabled { opacity: .5; cursor: default; }
    [hidden] { display: none !important; }
    :is(textarea, button, input):focus-visible { outline: 2px solid var(--ns-accent); outline-offset: 1px; }
    .said { font-size: 13px; color: var(--ns-muted); }
    .said.wrong { color: var(--ns-danger); }
    .sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); gap: 12px; margin-top: 12px; }
    .side { min-width: 0; padding: 10px 12px; background: var(--ns-field); border: 1px solid var(--ns-line);
            border-radius: 6px; }
    .head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 12px; margin-bottom: 6px; font-size: 13px; }
    .head b { font-weight: 600; overflow-wrap: anywhere; }
    .head span { margin-left: auto; color: var(--ns-muted); font-variant-numeric: tabular-nums; white-space: nowrap; }
    .text { min-height: 4.5em; max-height: 420px; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
    .text i { font-style: normal; color: var(--ns-muted); }
    .text.wrong { color: var(--ns-danger); }
    .answering .text::after { content: ""; display: inline-block; width: .5em; height: 1em; margin-left: 1px;
      vertical-align: -.15em; background: var(--ns-accent); animation: blink 1s steps(2) infinite; }
    @keyframes blink { 50% { opacity: 0; } }
    @media (prefers-reduced-motion: reduce) { * { animation: none !important; } }`;
  const WORDS = {
    waiting: "waits", loading: "is being loaded", answering: "", done: "", stopped: "stopped", failed: "",
  };
  const kept = new Map(); // job -> what was typed, and the last answer

  const call = async (address, body) => {
    const answer = await fetch(address, body === undefined ? { cache: "no-store" } : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (answer.ok || answer.status === 422) return answer.json();
    throw new Error(answer.status === 404 ? "This answer is no longer kept; ask again" : "The studio does not answer");
  };

  class Ask extends HTMLElement {
    static observedAttributes = ["job", "original", "quantized", "chat"];

    connectedCallback() {
      if (!this.shadowRoot) this.build();
      this.changed();
    }
    disconnectedCallback() {
      clearTimeout(this.timer);
    }
    attributeChangedCallback() {
      if (this.shadowRoot && this.isConnected) this.changed();
    }

    build() {
      this.attachShadow({ mode: "open" }).innerHTML = `<style>${STYLE}</style>
        <form>
          <textarea name="prompt" maxlength="8000" aria-label="What to ask both models"
                    placeholder="The first thing to do with a noisy photo is"></textarea>
          <div class="bar">
            <fieldset aria-label="How to answer">
              <label><input type="radio" name="mode" value="continue" checked>Continue</label>
              <label><input type="radio" name="mode" value="chat">Chat</label>
            </fieldset>
            <label class="length">Tokens at most
              <input name="tokens" type="number" min="1" max="1024" step="1" value="64" required></label>
            <button class="ask">Ask both</button>
            <button class="stop" type="button" hidden>Stop</button>
            <span class="said" role="status"></span>
          </div>
        </form>
        <div class="sides" hidden>${SIDES.map((side) => `
          <div class="side ${side}" role="group"><div class="head"><b></b><span></span></div>
            <div class="text"></div></div>`).join("")}</div>`;
      this.form = this.shadowRoot.querySelector("form");
      this.form.addEventListener("submit", (event) => { event.preventDefault(); this.ask(); });
      this.form.addEventListener("input", () => this.remember());
      this.part("textarea").addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        event.stopPropagation(); // on the page these keys run the method
        if (!this.busy) this.form.requestSubmit();
      });
      this.part(".stop").addEventListener("click", () => this.stop());
    }

    part(name) { return this.shadowRoot.querySelector(name); }
    get state() { return kept.get(this.getAttribute("job")) || {}; }
    get busy() { return Boolean(this.state.busy); }
    keep(values) { kept.set(this.getAttribute("job"), { ...this.state, ...values }); }

    changed() {
      const { form, state } = this;
      form.prompt.value = state.prompt ?? "";
      form.mode.value = state.mode ?? (this.hasAttribute("chat") ? "chat" : "continue");
      form.tokens.value = state.tokens ?? 64;
      form.querySelector("fieldset").hidden = !this.hasAttribute("chat");
      const both = Boolean(this.getAttribute("original"));
      this.part(".ask").textContent = both ? "Ask both" : "Ask";
      this.part(".side.original").hidden = !both;
      for (const side of SIDES) {
        const name = side === "original" ? `Original: ${this.getAttribute(side)}` : this.getAttribute(side);
        this.part(`.side.${side} b`).textContent = name;
        this.part(`.side.${side}`).setAttribute("aria-label", name);
      }
      this.show();
      clearTimeout(this.timer);
      if (this.busy) this.look();
    }

    remember() {
      const { prompt, mode, tokens } = this.form;
      this.keep({ prompt: prompt.value, mode: mode.value, tokens: tokens.value });
    }

    async ask() {
      this.remember();
      const { prompt, mode, tokens } = this.state;
      this.keep({ busy: true, asked: null, answer: null, error: "" });
      this.show();
      try {
        const made = await call(`studio/ask/${this.getAttribute("job")}`, {
          prompt, chat: mode === "chat" && this.hasAttribute("chat"), max_tokens: Number(tokens) });
        this.keep(made.error ? { busy: false, error: made.error } : { asked: made.asked });
      } catch (error) {
        this.keep({ busy: false, error: error.message });
      }
      this.show();
      if (this.busy) this.look();
    }

    async look() {
      const job = this.getAttribute("job");
      const { asked } = this.state;
      if (!asked) return;
      try {
        const answer = await call(`studio/answer/${asked}`);
        if (job !== this.getAttribute("job") || asked !== this.state.asked) return;
        const ended = ["done", "failed", "cancelled"].includes(answer.state);
        this.keep({ answer, busy: !ended, error: answer.error });
      } catch (error) {
        this.keep({ busy: false, error: error.message });
      }
      this.show();
      clearTimeout(this.timer);
      if (this.busy && this.isConnected) this.timer = setTimeout(() => this.look(), LOOK_EVERY);
    }

    async stop() {
      const { asked } = this.state;
      if (!asked) return;
      this.part(".stop").disabled = true;
      try {
        await call(`studio/answer/${asked}/stop`, {});
      } catch (error) {
        this.keep({ error: error.message });
      }
    }

    show() {
      const { answer, busy, error } = this.state;
      this.part(".ask").hidden = busy;
      this.part(".stop").hidden = !busy;
      if (!busy) this.part(".stop").disabled = false;
      const said = this.part(".said");
      said.textContent = error || (answer?.ahead ? "Waits for other work to end" : "");
      said.classList.toggle("wrong", Boolean(error));
      this.part(".sides").hidden = !answer && !busy;
      for (const side of SIDES) this.showSide(side, answer?.sides?.[side] || { state: "waiting" }, busy);
    }

    showSide(side, found, busy) {
      const place = this.part(`.side.${side}`);
      const text = place.querySelector(".text");
      place.classList.toggle("answering", found.state === "answering");
      text.classList.toggle("wrong", found.state === "failed");
      const speed = found.tokens > 1 && found.seconds > 0 ? (found.tokens - 1) / found.seconds : 0;
      place.querySelector(".head span").textContent = speed
        ? `${speed < 100 ? speed.toFixed(1) : Math.round(speed)} tokens/s` : "";
      const shown = found.state === "failed" ? found.error : found.text || "";
      const words = busy || found.state === "stopped" ? WORDS[found.state] : found.state === "done" ? "says nothing" : "";
      if (shown) text.textContent = shown;
      else text.replaceChildren(Object.assign(document.createElement("i"), { textContent: words || "" }));
      if (shown && found.state === "answering") text.scrollTop = text.scrollHeight;
    }
  }
  customElements.define("ns-ask", Ask);
})();
