// <ns-words for="ID" groups='[["Animals", ["cat", ...]]]' hint="...">: a list of words, typed one after
// another. It stands in for a text field that holds them one a line, which stays what the form reads;
// words on offer are added and taken away by a click.
(() => {
  const STYLE = `
    :host { display: block; font: 14px/20px var(--ns-font); color: var(--ns-text); }
    .box { display: flex; flex-wrap: wrap; gap: 6px; padding: 6px; background: var(--ns-field); cursor: text;
           border: 1px solid var(--ns-line-strong); border-radius: 6px; max-height: 190px; overflow-y: auto; }
    .box:focus-within { border-color: var(--ns-accent); }
    .chip { display: inline-flex; align-items: center; max-width: 100%; color: var(--ns-text);
            background: var(--ns-accent-soft); border-radius: 5px; padding-left: 9px; min-height: 28px; }
    .chip span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    button { font: inherit; color: inherit; cursor: pointer; }
    .chip button { display: grid; place-items: center; width: 28px; height: 28px; flex: none; padding: 0;
                   background: none; border: 0; border-radius: 5px; }
    .chip button:hover { background: var(--ns-hover); }
    svg { width: 11px; height: 11px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; }
    input { flex: 1 1 110px; min-width: 60px; min-height: 28px; padding: 0 4px; font: inherit; color: inherit;
            background: none; border: 0; outline: none; }
    input::placeholder { color: var(--ns-muted); opacity: 1; }
    button:focus-visible { outline: 2px solid var(--ns-accent); outline-offset: 1px; }
    details { margin-top: 8px; } summary { font-size: 13px; color: var(--ns-muted); cursor: pointer; }
    .group { display: flex; flex-wrap: wrap; gap: 5px; margin-top: 7px; align-items: center; }
    .group small { flex: 0 0 100%; font: 12px/16px var(--ns-font); color: var(--ns-muted); }
    .group button { padding: 2px 9px; min-height: 26px; font-size: 13px; background: var(--ns-field);
                    border: 1px solid var(--ns-line-strong); border-radius: 5px; }
    .group button:hover { background: var(--ns-hover); }
    .group button[aria-pressed=true] { color: var(--ns-on-accent); background: var(--ns-accent);
                                       border-color: var(--ns-accent); }
    @media (max-width: 640px) { .group button { min-height: 32px; } input { font-size: 16px; } }`;
  const CROSS = `<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M2 2l8 8M10 2l-8 8"/></svg>`;
  const VALUE = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value");
  const SETTLED = 300; // ms in which a press becomes a click
  const split = (text) => text.split(/[\n,;]+/).map((one) => one.trim()).filter(Boolean);
  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  class Words extends HTMLElement {
    connectedCallback() {
      if (!this.shadowRoot) this.build();
      this.find();
      // Gradio draws the field when it likes, and anew when the form comes and goes.
      this.watch = new MutationObserver(() => this.find());
      this.watch.observe(document.getElementById("ns-tabs") || document.body, { childList: true, subtree: true });
    }

    disconnectedCallback() {
      this.watch?.disconnect();
    }

    build() {
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = `<style>${STYLE}</style><div class="box"><input autocomplete="off" spellcheck="false"></div>`;
      this.box = root.querySelector(".box");
      this.input = root.querySelector("input");
      this.input.placeholder = this.getAttribute("hint") || "";
      this.box.addEventListener("click", (event) => event.target === this.box && this.input.focus());
      this.input.addEventListener("keydown", (event) => this.key(event));
      this.input.addEventListener("blur", () => this.leave());
      this.input.addEventListener("input", () => /[\n,;]/.test(this.input.value) && this.take());
      this.input.addEventListener("paste", (event) => {
        const text = event.clipboardData.getData("text");
        if (!text.includes("\n")) return;
        event.preventDefault();
        this.put([...this.words, ...split(text)]);
      });
      const groups = JSON.parse(this.getAttribute("groups") || "[]");
      if (!groups.length) return;
      this.offers = make("details", { open: window.innerWidth > 640 },
        make("summary", { textContent: "Examples" }),
        ...groups.map(([name, words]) => {
          const group = make("div", { className: "group" }, make("small", { textContent: name }),
            ...words.map((word) => make("button", { type: "button", textContent: word })));
          group.setAttribute("role", "group");
          group.setAttribute("aria-label", name);
          return group;
        }));
      // Who types goes on typing: the words that a click adds leave the caret where it is.
      this.offers.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
      this.offers.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) return;
        this.take();
        this.toggle(button.textContent);
      });
      root.append(this.offers);
    }

    find() {
      const field = document.querySelector(`#${this.getAttribute("for")} textarea`);
      if (!field || field === this.field) return;
      this.field = field;
      field.tabIndex = -1;
      const label = document.querySelector(`#${this.getAttribute("for")} [data-testid=block-info]`);
      this.input.setAttribute("aria-label", label?.textContent.trim() || "Words");
      const draw = () => this.draw();
      field.addEventListener("input", draw);
      // What is set by the page sends no event.
      Object.defineProperty(field, "value", {
        configurable: true,
        get() { return VALUE.get.call(this); },
        set(text) {
          VALUE.set.call(this, text);
          draw();
        },
      });
      this.draw();
    }

    get words() {
      return this.field ? this.field.value.split("\n").map((one) => one.trim()).filter(Boolean) : [];
    }

    put(words) {
      if (!this.field) return;
      const known = new Map(words.map((word) => [word.toLowerCase(), word]));
      window.NoiseStudio.type(this.field, [...known.values()].join("\n"));
    }

    take() {
      const words = split(this.input.value);
      this.input.value = "";
      if (words.length) this.put([...this.words, ...words]);
    }

    // What was typed counts at once, but nothing moves before the button that is being pressed has
    // seen the whole click.
    leave() {
      const words = split(this.input.value);
      if (!words.length) return;
      this.quiet = true;
      this.put([...this.words, ...words]);
      setTimeout(() => {
        this.quiet = false;
        this.input.value = "";
        this.draw();
      }, SETTLED);
    }

    toggle(word) {
      const rest = this.words.filter((one) => one.toLowerCase() !== word.toLowerCase());
      this.put(rest.length < this.words.length ? rest : [...rest, word]);
    }

    key(event) {
      if (event.key === "Enter" && !event.isComposing && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        this.take();
      } else if (event.key === "Backspace" && !this.input.value) this.put(this.words.slice(0, -1));
    }

    draw() {
      if (this.quiet) return;
      const words = this.words;
      const mark = words.join("\n");
      if (mark === this.drawn) return;
      this.drawn = mark;
      const chips = words.map((word) => {
        const cross = make("button", { type: "button", innerHTML: CROSS });
        cross.setAttribute("aria-label", `Remove ${word}`);
        cross.addEventListener("click", () => {
          this.toggle(word);
          this.input.focus();
        });
        return make("span", { className: "chip", title: word }, make("span", { textContent: word }), cross);
      });
      for (const old of this.box.querySelectorAll(".chip")) old.remove();
      this.box.prepend(...chips);
      const chosen = new Set(words.map((word) => word.toLowerCase()));
      for (const button of this.offers?.querySelectorAll("button") || [])
        button.setAttribute("aria-pressed", String(chosen.has(button.textContent.toLowerCase())));
    }
  }
  customElements.define("ns-words", Words);
})();
