// The page in another language: every text that is shown is looked up in one catalogue,
// assets/languages/<language>.json, English text -> translation. `{1}`, `{2}` stand for what changes
// in a text (numbers, names) and are themselves looked up. A form of few words that begins with such a
// place ("{1} left") takes only numbers and texts of the catalogue there, or it would fit any sentence.
// What the catalogue lacks stays English; names of files (<bdi>), code and what people type are never
// touched.
(() => {
  const KEY = "noise-studio-language";
  const NAMES = { en: "English", zh: "中文" };
  const preferred = () => (navigator.languages || []).map((one) => one.slice(0, 2)).find((one) => one in NAMES);
  const kept = localStorage.getItem(KEY);
  const language = kept in NAMES ? kept : preferred() || "en";
  document.documentElement.lang = { zh: "zh-CN" }[language] || language;

  document.addEventListener("change", (event) => {
    if (!event.target.matches?.("[data-language]")) return;
    localStorage.setItem(KEY, event.target.value);
    window.location.reload(); // every draft is kept, so nothing is lost
  });
  const offer = () => {
    for (const field of document.querySelectorAll("[data-language]:empty"))
      field.append(...Object.entries(NAMES).map(([id, name]) => new Option(name, id, false, id === language)));
  };
  new MutationObserver(offer).observe(document.documentElement, { childList: true, subtree: true });
  if (language === "en") return;

  const LEFT = "bdi, code, pre, textarea, script, style, [translate=no]";
  const ATTRIBUTES = ["aria-label", "aria-valuetext", "title", "placeholder", "alt"];
  const TREE = { childList: true, subtree: true, characterData: true, attributeFilter: ATTRIBUTES };
  const exact = new Map(), forms = [], known = new Map();
  const FEW = 12; // letters
  const NUMBER = /^[\d.,:\u00a0 ]+( ?[a-zA-Z%]{1,5}( [\d.,]+ ?[a-zA-Z]{1,5})*)?$/; // 3, 1.4 MB, 2 min 5 s
  const KNOWN = 5000; // texts; progress makes new ones for ever

  const read = (catalogue) => {
    for (const [english, own] of Object.entries(catalogue)) {
      if (!/\{\d\}/.test(english)) { exact.set(english, own); continue; }
      const order = [];
      const form = english.replace(/[.*+?^$()|[\]\\]/g, "\\$&")
        .replace(/\{(\d)\}/g, (_, number) => { order.push(number); return "(.+?)"; });
      const letters = english.replace(/\{\d\}|[^a-z]/gi, "").length;
      const strict = english.startsWith("{") && letters < FEW;
      forms.push({ form: new RegExp(`^${form}$`, "s"), order, own, letters, strict });
    }
    forms.sort((a, b) => b.letters - a.letters); // what says most is tried first
  };

  const told = (text) => {
    const english = text.trim().replace(/\s+/g, " ");
    if (!/[a-z]/i.test(english)) return text;
    let own = exact.get(english) ?? known.get(english);
    if (own === undefined) {
      own = english;
      for (const { form, order, own: wanted, strict } of forms) {
        const found = form.exec(english);
        if (!found || (strict && !found.slice(1).every((part) => NUMBER.test(part) || exact.has(part)))) continue;
        own = wanted.replace(/\{(\d)\}/g, (_, number) => told(found[order.indexOf(number) + 1]));
        break;
      }
      if (known.size > KNOWN) known.clear();
      known.set(english, own);
    }
    return own === english ? text : text.replace(text.trim(), () => own);
  };

  const shown = new WeakMap(); // text node -> what we wrote into it
  const say = (node) => {
    if (shown.get(node) === node.data || node.parentElement?.closest(LEFT)) return;
    const own = told(node.data);
    shown.set(node, own);
    if (own !== node.data) node.data = own;
  };
  const label = (element) => {
    for (const name of ATTRIBUTES) {
      const text = element.getAttribute(name);
      if (!text || element.closest(LEFT)) continue;
      const own = told(text); // looked up again once it is written, and not found
      if (own !== text) element.setAttribute(name, own);
    }
  };
  const walk = (root) => {
    if (root.nodeType === Node.TEXT_NODE) return say(root);
    if (root.nodeType === Node.ELEMENT_NODE) label(root);
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    while (walker.nextNode())
      walker.currentNode.nodeType === Node.TEXT_NODE ? say(walker.currentNode) : label(walker.currentNode);
  };

  const roots = [document.documentElement];
  const watching = new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "characterData") say(target);
      else if (type === "attributes") label(target);
      else addedNodes.forEach(walk);
    }
  });
  const follow = (root) => { walk(root); watching.observe(root, TREE); };
  let ready = false;
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (...given) {
    const root = attach.apply(this, given);
    if (ready) follow(root);
    else roots.push(root);
    return root;
  };
  fetch(`studio/assets/languages/${language}.json`)
    .then((answer) => answer.json())
    .then((catalogue) => {
      read(catalogue);
      ready = true;
      roots.forEach(follow);
    });
})();
