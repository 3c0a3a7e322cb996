// Keys for the whole page, the list of all of them, and the switch that turns single keys off.
// The comparison and the player listen for their own; what is turned off never reaches them.
(() => {
  const OFF = "noise-studio-no-keys";
  const SINGLE = /^[a-z0-9?[\]\\]$/i;
  const FIELDS = "input, textarea, select, [contenteditable], [role=combobox], [role=listbox]";
  const LIST = [
    ["Everywhere", [
      ["Ctrl + Enter", "Run"],
      ["Ctrl + .", "Cancel what runs"],
      ["Alt + 1 … 9", "Open a tab"],
      ["N, P", "Next and previous result of a batch"],
      ["?", "This list"],
    ]],
    ["Pictures", [
      ["1, 2, 3", "Whole picture, 100 %, 200 %"],
      ["\\ or B", "Show the picture before, as long as it is held"],
      ["Arrows", "Move the divider, or the part that is shown"],
    ]],
    ["Sound", [
      ["Space", "Play and pause"],
      ["A, B, 1 … 9", "Hear another track at the same place"],
      ["\\", "Hear before, as long as it is held"],
      ["[ and ]", "Begin and end of the loop"],
      ["Arrows", "Step back and forth"],
    ]],
  ];

  const seen = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.offsetParent);
  const turnedOff = () => localStorage.getItem(OFF) === "1";

  const list = () => {
    if (document.querySelector("dialog[open]")) return;
    const box = document.createElement("dialog");
    box.className = "ns-dialog ns-keys";
    box.setAttribute("aria-label", "Keys");
    const off = turnedOff() ? "" : "checked";
    box.innerHTML = `<form method="dialog"><h2>Keys</h2>${LIST.map(([name, keys]) => `<h3>${name}</h3><dl>${
      keys.map(([key, does]) => `<dt><kbd>${key}</kbd></dt><dd>${does}</dd>`).join("")}</dl>`).join("")}
      <label><input type="checkbox" ${off}> <span>Single keys act while nothing is typed</span></label>
      <div><button type="button" class="ns-button" data-tour>Show the tour</button>
      <button class="ns-button primary" value="yes">Close</button></div></form>`;
    box.querySelector("input").addEventListener("change", ({ target }) =>
      target.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"));
    box.querySelector("[data-tour]").addEventListener("click", () => box.close());
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
    box.querySelector(".primary").focus();
  };

  const step = (by) => {
    const [strip] = seen(".ns-strip");
    const results = [...(strip?.querySelectorAll("button[data-key]") || [])];
    const at = results.findIndex((one) => one.getAttribute("aria-pressed") === "true");
    results[at < 0 ? 0 : at + by]?.click();
  };

  const act = (event) => {
    const { key } = event;
    if (event.altKey && !event.ctrlKey && /^Digit[1-9]$/.test(event.code))
      return seen("[role=tab][data-tab-id]")[Number(event.code.at(-1)) - 1]?.click() ?? true;
    if ((event.ctrlKey || event.metaKey) && key === ".") return seen('[data-do="cancel"]')[0]?.click() ?? true;
    if (event.altKey || event.ctrlKey || event.metaKey) return false;
    if (key === "?") return list() ?? true;
    if (/^[np]$/i.test(key)) return step(key.toLowerCase() === "n" ? 1 : -1) ?? true;
    return false;
  };

  // Before everybody else, so that a key that is turned off reaches nobody.
  window.addEventListener("keydown", (event) => {
    const typing = event.composedPath().some((one) => one.matches?.(FIELDS));
    const single = SINGLE.test(event.key) && !event.altKey && !event.ctrlKey && !event.metaKey;
    if (single && turnedOff() && !typing) return event.stopImmediatePropagation();
    if (document.querySelector("dialog[open]") || (single && typing)) return undefined;
    if (act(event) !== false) event.preventDefault();
    return undefined;
  }, true);
  document.addEventListener("click", (event) => { if (event.target.closest?.("[data-keys]")) list(); });
})();
