// The page's own behaviour: theme, times, dialogs, address, keys, and a word when the studio is gone.
(() => {
  const THEME = "noise-studio-theme";
  const root = document.documentElement;

  // --- light and dark -----------------------------------------------------------------------
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const wanted = () => localStorage.getItem(THEME) || (system.matches ? "dark" : "light");
  const applyTheme = () => {
    const dark = wanted() === "dark";
    root.style.colorScheme = dark ? "dark" : "light";
    if (document.body && document.body.classList.contains("dark") !== dark)
      document.body.classList.toggle("dark", dark);
  };
  const toggleTheme = () => {
    localStorage.setItem(THEME, wanted() === "dark" ? "light" : "dark");
    applyTheme();
  };
  system.addEventListener("change", applyTheme);

  // --- times in the person's own zone -------------------------------------------------------
  class Time extends HTMLElement {
    static observedAttributes = ["at"];
    connectedCallback() {
      if (!this.shadowRoot) this.attachShadow({ mode: "open" });
      this.show();
    }
    attributeChangedCallback() {
      if (this.shadowRoot) this.show();
    }
    show() {
      const moment = new Date(this.getAttribute("at"));
      const today = moment.toDateString() === new Date().toDateString();
      const style = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
      this.shadowRoot.textContent = new Intl.DateTimeFormat(undefined, style).format(moment);
      this.title = moment.toLocaleString();
    }
  }
  customElements.define("ns-time", Time);

  // --- one dialog for questions -------------------------------------------------------------
  const dialog = (text, yes, field) => new Promise((resolve) => {
    const box = document.createElement("dialog");
    box.className = "ns-dialog";
    box.setAttribute("aria-label", text);
    const form = document.createElement("form");
    form.method = "dialog";
    const say = document.createElement("p");
    say.textContent = text;
    form.append(say);
    let input = null;
    if (field !== undefined) {
      input = Object.assign(document.createElement("input"), { value: field, maxLength: 80 });
      input.setAttribute("aria-label", text);
      form.append(input);
    }
    const row = document.createElement("div");
    const button = (label, value, kind) => {
      const made = Object.assign(document.createElement("button"), { textContent: label, value });
      made.className = `ns-button ${kind}`;
      row.append(made);
      return made;
    };
    const no = button("Back", "no", "");
    const ok = button(yes, "yes", input ? "primary" : "danger");
    if (input) row.prepend(ok), row.append(no);
    form.append(row);
    box.append(form);
    document.body.append(box);
    box.addEventListener("close", () => {
      resolve(box.returnValue === "yes" ? (input ? input.value : true) : null);
      box.remove();
    });
    box.showModal();
    (input || no).focus();
    input?.select();
  });

  // --- the open tab and result in the address -----------------------------------------------
  const syncAddress = () => {
    const place = document.querySelector("[data-place]");
    if (!place) return;
    const address = new URL(window.location.href);
    for (const name of ["tab", "job"]) {
      const value = place.dataset[name];
      if (value) address.searchParams.set(name, value);
      else address.searchParams.delete(name);
    }
    if (address.href !== window.location.href) history.replaceState(history.state, "", address);
  };

  // --- the strip of a batch shows its open result ----------------------------------------------
  let shown = "";
  const scrollStrip = () => {
    const open = [...document.querySelectorAll('.ns-strip [aria-pressed="true"]')].find((one) => one.offsetParent);
    if (!open || open.dataset.key === shown) return;
    shown = open.dataset.key;
    const strip = open.closest(".ns-strip");
    const [box, room] = [open.getBoundingClientRect(), strip.getBoundingClientRect()];
    if (box.left < room.left || box.right > room.right)
      strip.scrollLeft += box.left + box.width / 2 - room.left - room.width / 2;
  };

  // --- drop zones are called by the words on them, which Gradio covers with its own -------------
  const nameZones = () => {
    for (const zone of document.querySelectorAll(".ns-drop [aria-dropeffect]")) {
      const label = zone.closest(".ns-drop").querySelector("label")?.textContent.trim() || "";
      const name = `${zone.innerText.trim().replace(/\s+/g, " ")}: ${label}`;
      if (zone.offsetParent && zone.getAttribute("aria-label") !== name) zone.setAttribute("aria-label", name);
    }
  };

  // --- what is going on, said politely, at most every five seconds ---------------------------
  let said = "", saidAt = 0;
  const announce = () => {
    const source = document.querySelector("[data-say]");
    const live = document.getElementById("ns-live");
    if (!source || !live) return;
    const text = source.dataset.say;
    if (text === said || performance.now() - saidAt < 5000) return;
    [said, saidAt] = [text, performance.now()];
    live.textContent = text;
  };

  // --- the studio is gone, and back ----------------------------------------------------------
  let boot = null, misses = 0;
  const watch = async () => {
    try {
      const answer = await fetch("studio/alive", { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const now = (await answer.json()).boot;
      if (boot && boot !== now) return window.location.reload();
      boot = now;
      misses = 0;
    } catch {
      misses += 1;
    }
    document.body.classList.toggle("ns-gone", misses > 1);
  };

  // --- keys ----------------------------------------------------------------------------------
  const onKey = (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    event.stopPropagation(); // for Gradio an Enter on a checkbox is a click, whatever is held with it
    const run = [...document.querySelectorAll(".ns-run")].find((one) => one.offsetParent);
    if (!run || run.disabled || document.querySelector("dialog[open]")) return;
    const field = document.activeElement;
    field?.blur(); // fields send what was typed, within their bounds, once they are left
    setTimeout(() => { run.click(); field?.focus({ preventScroll: true }); });
  };

  // --- copying ---------------------------------------------------------------------------------
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch { // not allowed, or no secure address
      const field = Object.assign(document.createElement("textarea"), { value: button.dataset.copy });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1600);
    const live = document.getElementById("ns-live");
    if (live) live.textContent = "Copied";
  };

  const start = () => {
    for (const [id, kind, role] of [["ns-live", "", "status"], ["ns-gone", "ns-banner", "alert"]]) {
      const made = Object.assign(document.createElement("div"), { id, className: kind });
      made.setAttribute("role", role);
      document.body.append(made);
    }
    document.getElementById("ns-gone").textContent =
      "The studio does not answer. Nothing is lost; this page goes on when it is back.";
    applyTheme();
    new MutationObserver(applyTheme).observe(document.body, { attributeFilter: ["class"] });
    new MutationObserver(() => { syncAddress(); scrollStrip(); nameZones(); }).observe(document.body, {
      childList: true, subtree: true, attributeFilter: ["data-job", "data-tab", "aria-pressed"] });
    setInterval(announce, 1000);
    setInterval(watch, 4000);
    watch();
  };

  // A small text file that the person chooses: its name and what it says, or null.
  const LONGEST = 1 << 20; // bytes; nothing that is asked for in this way is longer
  const pick = (accept) => new Promise((done) => {
    const input = Object.assign(document.createElement("input"), { type: "file", accept });
    input.addEventListener("cancel", () => done(null));
    input.addEventListener("change", async () => {
      const [file] = input.files;
      done(file ? { name: file.name, text: file.size > LONGEST ? "" : await file.text() } : null);
    });
    input.click();
  });

  window.NoiseStudio = {
    pick,
    confirm: (text, yes) => dialog(text, yes),
    ask: (text, value) => dialog(text, "Save", value),
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-theme-toggle]")) toggleTheme();
    const copied = event.target.closest?.("[data-copy]");
    if (copied) copy(copied);
    // Run with the mouse, then Space: that plays the result, and must not run it once more.
    if (event.detail) event.target.closest?.(".ns-run")?.blur();
  });
  document.addEventListener("keydown", onKey, true);
  applyTheme();
  if (document.body) start();
  else document.addEventListener("DOMContentLoaded", start);
})();
