// Runs once for each HTML panel: what is marked with data-do becomes an event for the server.
const send = async (source) => {
  const { ask, confirm, file, ...data } = source.dataset;
  if (confirm && !(await window.NoiseStudio.confirm(confirm, source.textContent.trim()))) return;
  if (ask) {
    const text = await window.NoiseStudio.ask(ask, source.dataset.text || "");
    if (text === null) return;
    data.text = text;
  }
  if (file) {
    const picked = await window.NoiseStudio.pick(file);
    if (!picked) return;
    Object.assign(data, picked);
  }
  if (source.matches("select")) data.key = source.value;
  trigger("click", data);
};
element.addEventListener("click", (event) => {
  // Also inside the shadow tree of a part of ours.
  const source = event.composedPath().find((one) => one.matches?.("[data-do]"));
  if (source && !source.matches("select")) send(source);
});
element.addEventListener("change", (event) => {
  if (event.target.matches("select[data-do]")) send(event.target);
});
