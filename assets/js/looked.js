// What <ns-region> and <ns-live> share: a panel that shows one of the pictures chosen on a tab, which can be
// closed. What is looked at is kept by tab, for when the panel is drawn anew. Its shadow tree has a section
// with a select and .name for the pictures, and .fold, the button that opens and closes it.
(() => {
  const kept = new Map(); // element and tab -> what is looked at

  window.NoiseStudio.call = async (address, body) => {
    const answer = await fetch(address, body === undefined ? { cache: "no-store" } : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (answer.ok || answer.status === 422) return answer.json();
    throw new Error(answer.status === 404 ? "" : "The studio does not answer");
  };

  // Puts text into a field of a form as if it had been typed. For Gradio a text field has an input, which a draft
  // is kept of, only once a key was pressed.
  window.NoiseStudio.type = (field, text) => {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new KeyboardEvent("keypress", { key: "", bubbles: true }));
  };

  window.NoiseStudio.Looked = class extends HTMLElement {
    static observedAttributes = ["pictures", "job"];

    attributeChangedCallback(name, old, now) {
      if (this.shadowRoot && this.isConnected && old !== now) this.changed();
    }

    get tab() { return this.getAttribute("tab"); }
    get state() { return kept.get(`${this.localName} ${this.tab}`) || {}; }
    keep(values) { kept.set(`${this.localName} ${this.tab}`, { ...this.state, ...values }); }
    part(name) { return this.shadowRoot.querySelector(name); }

    // Once the shadow tree is there.
    listen() {
      this.part("select").addEventListener("change", (event) => {
        this.keep({ name: event.target.value, shown: null });
        this.changed();
      });
      this.part(".fold").addEventListener("click", () => { this.keep({ open: !this.state.open }); this.changed(); });
    }

    // Takes up the pictures of now; `closed` is what the button says while the panel is closed. Whether it is open.
    arrange(closed) {
      this.pictures = JSON.parse(this.getAttribute("pictures") || "[]");
      const names = this.pictures.map((one) => one.name);
      const { known = [] } = this.state;
      const job = this.getAttribute("job") || "";
      const added = names.find((name) => !known.includes(name));
      // The first look at a page that has a result already shows that; a new picture is looked at.
      if (this.state.open === undefined) this.keep({ open: !job, name: names[0] });
      else if (added !== undefined) this.keep({ open: true, name: added, shown: null });
      // A result is what one wants to see once it is there; the element itself may be a new one.
      else if (job && job !== this.state.job) this.keep({ open: false });
      this.keep({ known: names, job });
      if (!names.includes(this.state.name)) this.keep({ name: names[0], shown: null });
      this.picture = this.pictures.find((one) => one.name === this.state.name);
      const select = this.part("select");
      select.hidden = names.length < 2;
      select.replaceChildren(...names.map((name) =>
        Object.assign(document.createElement("option"), { value: name, textContent: name })));
      select.value = this.state.name;
      const name = this.part(".name");
      name.hidden = names.length > 1;
      name.textContent = name.title = this.picture?.name ?? "";
      const open = Boolean(this.state.open && this.picture);
      this.part("section").classList.toggle("closed", !open);
      this.part(".fold").textContent = open ? "Close" : closed;
      this.part(".fold").setAttribute("aria-expanded", String(open));
      return open;
    }
  };
})();
