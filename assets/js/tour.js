// Three things a newcomer is shown once; put away with a click or Escape, and back from the list of keys.
(() => {
  const DONE = "noise-studio-toured";
  const STEPS = [
    [".ns-drop", "Drop files here", "Or press “Try it with” below it: every tab has an example that works offline."],
    [".ns-run", "Press Run", "Nothing has to be set; what it needs to know is measured. Results stay beside it, before and after."],
    ['[role=tab][data-tab-id="library"]', "All of it is still there tomorrow",
      "The library keeps every result with its settings. Press ? for the keys."],
  ];
  let box = null, at = 0;
  const shown = (selector) => [...document.querySelectorAll(selector)].find((one) => one.offsetParent);

  const end = () => {
    localStorage.setItem(DONE, "1");
    document.querySelector(".ns-pointed")?.classList.remove("ns-pointed");
    box?.remove();
    box = null;
  };
  const show = () => {
    document.querySelector(".ns-pointed")?.classList.remove("ns-pointed");
    const [selector, title, text] = STEPS[at];
    const target = shown(selector);
    target?.classList.add("ns-pointed");
    target?.scrollIntoView({ block: "nearest" });
    const last = at === STEPS.length - 1;
    box.innerHTML = `<p><small>${at + 1} / ${STEPS.length}</small><b>${title}</b><span>${text}</span></p>
      <div><button type="button" class="ns-link">Close</button>
      <button type="button" class="ns-button primary">${last ? "Done" : "Next"}</button></div>`;
    const [close, next] = box.querySelectorAll("button");
    close.hidden = last;
    close.addEventListener("click", end);
    next.addEventListener("click", () => { at += 1; last ? end() : show(); box?.querySelector(".primary").focus(); });
  };
  const begin = () => {
    if (box) return;
    at = 0;
    box = document.createElement("section");
    box.className = "ns-tour";
    box.setAttribute("aria-label", "A short tour");
    document.body.append(box);
    show();
  };

  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && box) end(); });
  document.addEventListener("click", (event) => { if (event.target.closest?.("[data-tour]")) begin(); });
  if (localStorage.getItem(DONE)) return;
  const waiting = new MutationObserver(() => {
    if (!shown(".ns-run")) return;
    waiting.disconnect();
    begin();
  });
  waiting.observe(document.documentElement, { childList: true, subtree: true });
})();
