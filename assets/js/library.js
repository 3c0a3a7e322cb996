// <ns-library>: everything ever made. It asks the studio for pages of finished HTML, so that what
// was typed, chosen and scrolled to stays where it is while jobs run; the header's data-library
// changes when there is something new to ask for.
//
// Everything lives in the shadow tree, because Gradio compares and repairs the children it knows.
(() => {
  const BODY = `
    <form class="bar" role="search" aria-label="Library">
      <input type="search" name="search" placeholder="Search file names" aria-label="Search file names" maxlength="200">
      <button type="button" class="ns-button small filters" data-filters aria-expanded="false">Filters</button>
      <select name="engine" aria-label="Engine"></select>
      <select name="kind" aria-label="Kind"></select>
      <select name="state" aria-label="State"></select>
      <select name="session" aria-label="In which session"></select>
      <select name="camera" aria-label="Camera"></select>
      <select name="when" aria-label="Date"><option value="">Any time</option><option value="0">Today</option
        ><option value="6">Last 7 days</option><option value="29">Last 30 days</option><option value="between">Between</option></select>
      <span class="dates" hidden><input type="date" name="from" aria-label="From"><input type="date" name="to" aria-label="To"></span>
      <input type="text" name="measured" list="measured" placeholder="Measured, K &gt; 2" aria-label="Measured values, such as K &gt; 2" maxlength="200">
      <datalist id="measured"></datalist>
      <select name="sort" aria-label="Order"><option value="newest">Newest first</option><option value="oldest">Oldest first</option
        ><option value="name">By name</option><option value="largest">Largest first</option><option value="slowest">Slowest first</option
        ><option value="low">Lowest measured</option><option value="high">Highest measured</option></select>
    </form>
    <div class="line">
      <span class="told" role="status"></span>
      <span class="acts plain">
        <button type="button" class="ns-link" data-clear>Clear filters</button>
        <button type="button" class="ns-link" data-page-all>Select</button>
        <button type="button" class="ns-link" data-trash aria-pressed="false">Trash</button>
        <button type="button" class="ns-link" data-space>Storage</button>
      </span>
      <span class="acts chosen" hidden>
        <button type="button" class="ns-button small" data-zip>Download zip</button>
        <button type="button" class="ns-button small" data-beside>Compare</button>
        <button type="button" class="ns-button small" data-delete-chosen>Delete</button>
        <button type="button" class="ns-button small" data-restore>Restore</button>
        <button type="button" class="ns-link" data-every></button>
        <button type="button" class="ns-link" data-none>Clear</button>
      </span>
    </div>
    <ul class="grid" aria-label="Results"></ul>
    <nav class="ns-pages" aria-label="Pages of the library" hidden>
      <button type="button" class="ns-button small" data-go="-1">Back</button>
      <span></span>
      <button type="button" class="ns-button small" data-go="1">Next</button>
    </nav>
    <p class="hint"><kbd>/</kbd> search <kbd>&larr;</kbd> <kbd>&rarr;</kbd> move <kbd>X</kbd> select
      <kbd>Enter</kbd> details <kbd>Del</kbd> delete</p>
    <dialog class="sheet"><button type="button" class="shut" data-shut aria-label="Close"><svg viewBox="0 0 20 20" fill="none"
      stroke="currentColor" stroke-width="1.8" stroke-linecap="round" aria-hidden="true"><path d="M5.5 5.5l9 9m0-9l-9 9"/></svg></button
      ><div class="inside"></div></dialog>`;
  const KEPT = "noise-studio-library";
  const KINDS = { engine: "Any engine", kind: "Any kind", state: "Any state", session: "All sessions", camera: "Any camera" };
  const TYPING = 220; // ms after the last key
  const plural = (count, one) => `${count.toLocaleString()} ${one}${count === 1 ? "" : "s"}`;
  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  // --- one line at the foot that says what was done, and takes it back -----------------------
  let fading;
  const toast = (text, undo) => {
    document.getElementById("ns-toast")?.remove();
    clearTimeout(fading);
    if (!text) return;
    const box = make("div", { id: "ns-toast", className: "ns-told" }, make("p", { textContent: text }));
    box.setAttribute("role", "status");
    if (undo) {
      const back = make("button", { type: "button", className: "ns-button small", textContent: "Undo" });
      back.addEventListener("click", () => { toast(""); undo(); });
      box.append(back);
    }
    document.body.append(box);
    const leave = () => { fading = setTimeout(() => box.remove(), 12000); };
    for (const kind of ["pointerenter", "focusin"]) box.addEventListener(kind, () => clearTimeout(fading));
    for (const kind of ["pointerleave", "focusout"]) box.addEventListener(kind, leave);
    leave();
  };

  const ask = async (address, body) => {
    const answer = await fetch(address, body === undefined ? { cache: "no-store" } : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok || found.error) throw new Error(found.error || "The studio does not answer; reload the page");
    return found;
  };

  class Library extends HTMLElement {
    connectedCallback() {
      if (!this.shadowRoot) this.build();
      this.watch = new MutationObserver(() => this.look());
      this.watch.observe(document.body, { subtree: true, childList: true, attributeFilter: ["data-library"] });
      this.keys = (event) => this.key(event);
      window.addEventListener("keydown", this.keys);
      this.look();
    }

    disconnectedCallback() {
      this.watch?.disconnect();
      window.removeEventListener("keydown", this.keys);
    }

    build() {
      const root = this.attachShadow({ mode: "open" });
      const sheets = [
        document.querySelector('link[href*="css/studio.css"]').href,
        document.querySelector("meta[name=ns-library-css]").content,
      ];
      for (const href of sheets) root.append(make("link", { rel: "stylesheet", href }));
      const body = make("div", { className: "library" });
      body.innerHTML = BODY;
      root.append(body);
      const find = (what) => root.querySelector(what);
      Object.assign(this, {
        body, form: find("form"), grid: find(".grid"), told: find(".told"), pages: find("nav"),
        sheet: find("dialog"), inside: find("dialog .inside"), chosen: new Map(), page: 0, pageCount: 1,
        total: 0, trash: false, mark: null,
      });
      for (const [name, none] of Object.entries(KINDS)) this.form[name].append(make("option", { value: "", textContent: none }));
      this.recall();
      this.form.addEventListener("submit", (event) => { event.preventDefault(); this.search(0); });
      this.form.addEventListener("input", (event) => this.search(event.target.matches("[type=search], [name=measured]") ? TYPING : 0));
      root.addEventListener("click", (event) => this.press(event));
      root.addEventListener("change", (event) => {
        if (event.target.matches(".pick input")) this.pick(event.target.closest(".card"), event.target.checked);
      });
      this.sheet.addEventListener("click", (event) => { if (event.target === this.sheet) this.sheet.close(); });
      this.sheet.addEventListener("close", () => { this.inside.textContent = ""; this.opener?.focus({ preventScroll: true }); });
    }

    // What was asked for is kept for the window, so that a reload comes back to it.
    recall() {
      try {
        const kept = JSON.parse(sessionStorage.getItem(KEPT) || "{}");
        for (const [name, value] of Object.entries(kept.form || {})) {
          const field = this.form.elements[name];
          if (!field) continue;
          if (field.matches("select") && ![...field.options].some((one) => one.value === value))
            field.append(make("option", { value, textContent: value }));
          field.value = value;
        }
        [this.page, this.trash] = [kept.page || 0, Boolean(kept.trash)];
      } catch { /* nothing that could be read was kept */ }
    }

    keep() {
      const form = Object.fromEntries([...new FormData(this.form)].filter(([, value]) => value));
      sessionStorage.setItem(KEPT, JSON.stringify({ form, page: this.page, trash: this.trash }));
    }

    get asked() {
      const found = new URLSearchParams();
      const form = new FormData(this.form);
      for (const name of ["search", "engine", "kind", "state", "session", "camera", "measured", "sort"])
        if (form.get(name)) found.set(name, form.get(name));
      const when = form.get("when");
      const day = (text, add = 0) => { // midnight here, of a day that people mean as theirs
        const at = text ? new Date(`${text}T00:00`) : new Date(new Date().setHours(0, 0, 0, 0));
        at.setDate(at.getDate() + add);
        return at.toISOString();
      };
      if (when === "between") {
        if (form.get("from")) found.set("since", day(form.get("from")));
        if (form.get("to")) found.set("until", day(form.get("to"), 1));
      } else if (when) found.set("since", day("", -Number(when)));
      if (this.trash) found.set("trash", "true");
      return found;
    }

    look() {
      const mark = document.querySelector("[data-library]")?.dataset.library;
      if (!mark || mark === this.mark) return;
      this.mark = mark;
      this.refresh(true);
    }

    search(wait) {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => { this.page = 0; this.refresh(); }, wait);
    }

    async refresh(facets = false) {
      const turn = this.turn = (this.turn || 0) + 1;
      this.body.querySelector(".dates").hidden = this.form.when.value !== "between";
      this.body.querySelector("[data-trash]").setAttribute("aria-pressed", String(this.trash));
      this.keep();
      const slow = setTimeout(() => this.grid.setAttribute("aria-busy", "true"), 250);
      const question = this.asked;
      const narrowed = [...question.keys()].some((name) => !["sort", "trash"].includes(name));
      this.body.querySelector("[data-clear]").hidden = !narrowed;
      question.set("page", String(this.page));
      try {
        const found = await ask(`studio/library?${question}`);
        if (turn !== this.turn) return;
        Object.assign(this, { page: found.page, pageCount: found.pages, total: found.total, summary: found.summary });
        if (found.html !== this.html) this.grid.innerHTML = this.html = found.html;
        this.form.measured.setCustomValidity("");
        this.form.measured.removeAttribute("aria-invalid");
      } catch (error) {
        if (turn !== this.turn) return;
        this.summary = error.message;
        this.form.measured.setAttribute("aria-invalid", String(Boolean(this.form.measured.value)));
      } finally {
        clearTimeout(slow);
        if (turn === this.turn) this.grid.removeAttribute("aria-busy");
      }
      this.draw();
      if (facets) this.fill();
    }

    async fill() {
      let found;
      try { found = await ask("studio/library/facets"); } catch { return; }
      for (const name of Object.keys(KINDS)) {
        const field = this.form[name];
        const value = field.value;
        field.length = 1;
        for (const one of found[name])
          field.append(make("option", { value: one.value, textContent: `${one.title} (${one.count.toLocaleString()})` }));
        if (value && ![...field.options].some((one) => one.value === value))
          field.append(make("option", { value, textContent: value }));
        field.value = value;
        field.hidden = name === "camera" && found.camera.length === 0;
      }
      this.body.querySelector("#measured").replaceChildren(
        ...found.measured.map((name) => make("option", { value: `${name} > ` })));
    }

    draw() {
      const count = this.chosen.size;
      for (const card of this.cards) {
        const on = this.chosen.has(card.dataset.id);
        card.classList.toggle("on", on);
        card.querySelector(".pick input").checked = on;
      }
      this.grid.classList.toggle("choosing", count > 0);
      this.told.textContent = count ? `${count.toLocaleString()} selected` : this.summary || "";
      const [plain, chosen] = this.body.querySelectorAll(".acts");
      [plain.hidden, chosen.hidden] = [count > 0, count === 0];
      const all = [...this.chosen.values()];
      const show = (name, on) => { chosen.querySelector(`[data-${name}]`).hidden = !on; };
      show("zip", !this.trash);
      show("beside", !this.trash);
      show("delete-chosen", !this.trash);
      show("restore", this.trash);
      chosen.querySelector("[data-zip]").disabled = all.length > 0 && !all.some((state) => state === "done");
      chosen.querySelector("[data-beside]").disabled = count !== 2;
      const every = chosen.querySelector("[data-every]");
      every.hidden = count >= this.total;
      every.textContent = `Select all ${this.total.toLocaleString()}`;
      plain.querySelector("[data-page-all]").hidden = !this.cards.length;
      this.pages.hidden = this.pageCount < 2;
      this.pages.querySelector("span").textContent = `Page ${this.page + 1} of ${this.pageCount}`;
      const [back, next] = this.pages.querySelectorAll("button");
      [back.disabled, next.disabled] = [this.page === 0, this.page + 1 >= this.pageCount];
    }

    get cards() { return [...this.grid.querySelectorAll(".card")]; }

    pick(card, on) {
      if (on) this.chosen.set(card.dataset.id, card.dataset.state);
      else this.chosen.delete(card.dataset.id);
      if (this.range && this.last && this.cards.includes(this.last)) { // with Shift: all from the last one on
        const [from, to] = [this.cards.indexOf(this.last), this.cards.indexOf(card)].sort((a, b) => a - b);
        for (const one of this.cards.slice(from, to + 1))
          on ? this.chosen.set(one.dataset.id, one.dataset.state) : this.chosen.delete(one.dataset.id);
      }
      this.last = card;
      this.draw();
    }

    press(event) {
      this.range = event.shiftKey;
      const source = event.target.closest("button, a");
      if (!source) return;
      const has = (name) => name in source.dataset;
      const card = source.closest(".card");
      if (has("do")) { this.sheet.close(); return; }
      if (has("details") && (event.ctrlKey || event.metaKey)) return this.pick(card, !this.chosen.has(card.dataset.id));
      if (has("details")) return this.details(card.dataset.id, source);
      if (has("shut")) return this.sheet.close();
      if (has("go")) { this.page += Number(source.dataset.go); this.refresh().then(() => this.scrollIntoView({ block: "start" })); }
      if (has("filters")) source.setAttribute("aria-expanded", String(this.form.classList.toggle("wide")));
      if (has("clear")) { this.form.reset(); this.search(0); }
      if (has("trash")) { this.trash = !this.trash; this.chosen.clear(); this.search(0); }
      if (has("space")) this.open("studio/library/space", "wide", source);
      if (has("pageAll")) { for (const one of this.cards) this.chosen.set(one.dataset.id, one.dataset.state); this.draw(); }
      if (has("none")) { this.chosen.clear(); this.draw(); }
      if (has("every")) this.every();
      if (has("zip")) this.zip();
      if (has("beside")) this.beside(...this.chosen.keys(), source);
      if (has("compare")) this.beside(source.dataset.compare, this.opened, this.opener);
      if (has("deleteChosen")) this.remove([...this.chosen.keys()]);
      if (has("delete")) { this.sheet.close(); this.remove([source.dataset.delete]); }
      if (has("restore")) this.restore([...this.chosen.keys()]);
      if (has("tidy")) this.tidy();
      if (has("empty")) this.empty();
    }

    async tell(work) {
      try { return await work(); } catch (error) { toast(error.message); return null; }
    }

    every() {
      return this.tell(async () => {
        const { ids } = await ask(`studio/library/ids?${this.asked}`);
        for (const id of ids) if (!this.chosen.has(id)) this.chosen.set(id, "done");
        this.draw();
      });
    }

    // --- looking closely ---------------------------------------------------------------------
    details(id, opener) {
      if (this.trash) return this.pick(opener.closest(".card"), !this.chosen.has(id));
      this.opened = id;
      return this.open(`studio/library/job/${id}`, "side", opener);
    }

    beside(one, other, opener) {
      return this.open(`studio/library/compare/${one}/${other}`, "whole", opener);
    }

    open(address, kind, opener) {
      return this.tell(async () => {
        const found = await ask(address);
        this.opener = opener?.isConnected ? opener : null;
        this.inside.innerHTML = found.html;
        this.sheet.className = `sheet ${kind}`;
        this.sheet.setAttribute("aria-label", this.inside.querySelector("h2")?.textContent || "");
        if (!this.sheet.open) this.sheet.showModal();
        this.inside.scrollTop = 0;
      });
    }

    // --- changing ------------------------------------------------------------------------------
    remove(ids) {
      return this.tell(async () => {
        const found = await ask("studio/library/delete", { ids });
        for (const id of ids) this.chosen.delete(id);
        const running = found.running ? `; ${plural(found.running, "job")} still running stayed` : "";
        const undo = found.ids.length ? () => this.restore(found.ids) : null;
        toast(found.ids.length ? `${plural(found.ids.length, "result")} moved to the trash${running}`
          : `Nothing was deleted${running}`, undo);
        await this.refresh(true);
      });
    }

    restore(ids) {
      return this.tell(async () => {
        const found = await ask("studio/library/restore", { ids });
        for (const id of ids) this.chosen.delete(id);
        toast(found.ids.length ? `${plural(found.ids.length, "result")} restored` : "They are no longer there");
        await this.refresh(true);
      });
    }

    tidy() {
      return this.tell(async () => {
        const { ids } = await ask("studio/library/tidy", {});
        this.sheet.close();
        toast(`${plural(ids.length, "job")} moved to the trash`, () => this.restore(ids));
        await this.refresh(true);
      });
    }

    async empty() {
      this.sheet.close();
      if (!(await window.NoiseStudio.confirm("Remove everything in the trash from the disk? This cannot be undone.", "Empty the trash"))) return;
      await this.tell(async () => {
        const { removed } = await ask("studio/library/empty", {});
        toast(`${plural(removed, "job")} removed from the disk`);
        await this.refresh(true);
      });
    }

    zip() { // a form, so that the browser saves the stream itself while it comes
      const form = make("form", { method: "post", action: "studio/library-zip", hidden: true });
      form.append(make("input", { name: "ids", value: [...this.chosen.keys()].join(",") }));
      document.body.append(form);
      form.submit();
      form.remove();
    }

    // --- keys ----------------------------------------------------------------------------------
    key(event) {
      if (!this.offsetParent || this.sheet.open || event.altKey || document.querySelector("dialog[open]")) return;
      const at = event.composedPath()[0];
      if (at.matches?.("input:not([type=checkbox]), select, textarea")) return;
      const card = at.closest?.(".card");
      const act = {
        "/": () => this.form.search.focus(),
        Escape: () => this.chosen.size && (this.chosen.clear(), this.draw()),
        Delete: () => !this.trash && this.chosen.size && this.remove([...this.chosen.keys()]),
      }[event.key];
      if (act && !event.ctrlKey && !event.metaKey) { if (event.key === "/") event.preventDefault(); return act(); }
      if (!card || event.ctrlKey || event.metaKey) return;
      if (event.key.toLowerCase() === "x") { this.range = false; return this.pick(card, !this.chosen.has(card.dataset.id)); }
      const across = this.cards.filter((one) => one.offsetTop === this.cards[0].offsetTop).length;
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
      const to = step && this.cards[this.cards.indexOf(card) + step];
      if (!to) return;
      event.preventDefault();
      to.querySelector(".open").focus();
    }
  }
  customElements.define("ns-library", Library);

  // --- a session out of a zip ------------------------------------------------------------------
  const importing = () => {
    const field = make("input", { type: "file", accept: ".zip,application/zip" });
    field.addEventListener("change", () => {
      const [file] = field.files;
      if (!file) return;
      const sent = new XMLHttpRequest(); // fetch does not tell how much is sent
      sent.open("POST", `studio/session/import?name=${encodeURIComponent(file.name)}`);
      sent.responseType = "json";
      sent.upload.onprogress = (event) => toast(`Sending ${file.name}: ${Math.round((100 * event.loaded) / (event.total || 1))} %`);
      sent.upload.onload = () => toast(`Unpacking ${file.name}`);
      sent.onerror = () => toast("The studio does not answer; nothing was imported");
      sent.onload = () => {
        if (sent.status !== 200 || sent.response?.error) return toast(sent.response?.error || "It could not be imported");
        toast(`${sent.response.name}: ${plural(sent.response.jobs, "job")} imported`);
        const go = document.querySelector("[data-session-go]");
        go.dataset.key = sent.response.session;
        go.click();
      };
      sent.send(file);
    });
    field.click();
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-session-import]")) importing();
    for (const menu of document.querySelectorAll(".ns-menu[open]"))
      if (!menu.contains(event.target) || event.target.closest("a, button")) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const menu = document.querySelector(".ns-menu[open]");
    if (event.key === "Escape" && menu) { menu.open = false; menu.querySelector("summary").focus(); }
  });
})();
