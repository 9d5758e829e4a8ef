
"use strict";
(() => {
  const controls = document.getElementById("controls");
  if (!controls) return;
  const field = (id) => document.getElementById(id);
  const [wanted, order, flagged, explained, told] =
    ["wanted", "order", "flagged", "explained", "told"].map(field);
  const lists = [...document.querySelectorAll("ol.cards")];
  // of each card what is asked again and again; sorting and filtering read nothing from the page
  const entries = [...document.querySelectorAll("ol.cards > li")].map((card, index) => ({
    card,
    index,
    name: card.dataset.name,
    lower: card.dataset.name.toLowerCase(),
    area: Number(card.dataset.area),
    flagged: "flagged" in card.dataset,
    list: card.parentNode,
    shown: true,
    marked: false,
  }));
  const entryOf = new Map(entries.map((entry) => [entry.card, entry]));
  const names = new Intl.Collator(undefined, { numeric: true });
  const orders = {
    written: (a, b) => a.index - b.index,
    name: (a, b) => names.compare(a.name, b.name),
    size: (a, b) => b.area - a.area || a.index - b.index,
  };
  let sorted = "written";

  function filter() {
    const text = wanted.value.trim().toLowerCase();
    let shown = 0, differs = false;
    for (const entry of entries) {
      const fits = entry.lower.includes(text)
        && !(flagged && flagged.checked && !entry.flagged)
        && !(only.checked && !entry.marked);
      differs ||= fits !== entry.shown;
      entry.shown = fits;
      shown += fits;
    }
    if (differs) arrange();
    const all = shown === entries.length;
    told.textContent = all ? `${shown} shown` : `${shown} of ${entries.length} shown`;
  }

  function sort() {
    if (order.value === sorted) return;  // as it is when the page opens: nothing is laid out twice
    sorted = order.value;
    arrange();
  }

  // taken out and not hidden: browsers compute styles of all that is hidden after it was skipped
  function arrange() {
    const inOrder = entries.filter((entry) => entry.shown).sort(orders[sorted]);
    for (const list of lists) {
      const own = inOrder.filter((entry) => entry.list === list);
      list.replaceChildren(...own.map((entry) => entry.card));
    }
  }

  function explain() {
    document.body.classList.toggle("bare", Boolean(explained) && !explained.checked);
  }

  // marks: by a button on each card, or by keys

  const [bar, count, only, message] = ["marking", "marked", "only", "message"].map(field);
  const storageKey = `adgan marks ${bar.dataset.report}`;
  const isMarked = new Set();  // names; also those of pictures that an earlier page has shown

  function restore() {
    try {
      for (const name of JSON.parse(localStorage.getItem(storageKey) || "[]")) isMarked.add(name);
    } catch {  // refused, or not ours: the page works without
      isMarked.clear();
    }
    for (const entry of entries) if (isMarked.has(entry.name)) show(entry, true);
  }

  function keep() {
    try {
      if (isMarked.size) localStorage.setItem(storageKey, JSON.stringify([...isMarked]));
      else localStorage.removeItem(storageKey);
    } catch {
      say("This browser does not keep marks over a reload: save the list.");
    }
  }

  function show(entry, marked) {
    entry.marked = marked;
    entry.card.classList.toggle("marked", marked);
    entry.button.setAttribute("aria-pressed", String(marked));
  }

  function mark(entry, marked) {
    show(entry, marked);
    if (marked) isMarked.add(entry.name);
    else isMarked.delete(entry.name);
  }

  function changed() {
    keep();
    tally();
    if (only.checked) filter();
  }

  function tally() {
    const marked = entries.filter((entry) => entry.marked).length;
    count.textContent = `${marked} marked`;
    for (const id of ["save", "copy", "clear"]) field(id).disabled = !marked;
  }

  function toggle(entry) {
    say("");
    // one that is unmarked leaves where only marked ones are shown: its neighbour gets the focus
    const next = only.checked && (neighbour(entry, 1) || neighbour(entry, -1));
    mark(entry, !entry.marked);
    changed();
    if (next) next.button.focus();
  }

  function say(text) {
    message.textContent = text;
  }

  function listed() {
    const marked = entries.filter((entry) => entry.marked).map((entry) => entry.name);
    // a line break in a name: a NUL after each, as xargs -0 and --files-from read them
    const end = marked.some((name) => name.includes("\n")) ? "\0" : "\n";
    return marked.map((name) => name + end).join("");
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([listed()], { type: "text/plain" }));
    link.download = "marked.txt";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("Saved as marked.txt.");
  }

  function copyByHand(text) {
    const area = document.createElement("textarea");
    area.value = text;
    bar.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  async function copy() {
    const text = listed();
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = copyByHand(text);
      field("copy").focus();
    }
    say(done ? "Copied." : "This browser does not let pages copy: save the list.");
  }

  function clear() {
    for (const entry of entries) if (entry.marked) mark(entry, false);
    changed();
    say("No picture is marked now.");
    wanted.focus();  // the button that had the focus is off
  }

  // steps: to the button of another card, which the browser scrolls to

  function inView() {
    return lists.flatMap((list) => [...list.children]).map((card) => entryOf.get(card));
  }

  function neighbour(from, step) {
    const shown = inView();
    const at = shown.indexOf(from);
    if (at < 0) return shown[0];
    if (Math.abs(step) === 1) return shown[at + step];
    const { left, top } = from.card.getBoundingClientRect();
    for (let next = at + step / 2; shown[next]; next += step / 2) {  // down or up, in this column
      const there = shown[next].card.getBoundingClientRect();
      if (Math.abs(there.top - top) > 1 && Math.abs(there.left - left) < 2) return shown[next];
    }
    return shown[step < 0 ? 0 : shown.length - 1];
  }

  const steps = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1, ArrowDown: 2, ArrowUp: -2 };

  function press(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const card = target.closest("ol.cards > li");
    // letters also where nothing has the focus; arrows scroll there, and belong to fields in fields
    if (!card && (target !== document.body || !["j", "k"].includes(key))) return;
    const entry = card && entryOf.get(card);
    if (key in steps) {
      const next = neighbour(entry, steps[key]);
      if (next) next.button.focus();
    } else if (key === "m" || (key === " " && target !== entry.button)) {
      toggle(entry);
    } else return;
    event.preventDefault();
  }

  const template = document.createElement("button");
  template.type = "button";
  template.className = "pick";
  template.setAttribute("aria-pressed", "false");
  for (const entry of entries) {
    entry.button = template.cloneNode();
    entry.button.setAttribute("aria-label", `Mark ${entry.name}`);
    entry.card.firstElementChild.prepend(entry.button);
  }

  wanted.addEventListener("input", filter);
  order.addEventListener("change", sort);
  only.addEventListener("change", filter);
  if (flagged) flagged.addEventListener("change", filter);
  if (explained) explained.addEventListener("change", explain);
  document.addEventListener("keydown", press);
  document.addEventListener("click", ({ target }) => {
    if (target.className === "pick") toggle(entryOf.get(target.closest("li")));
  });
  field("save").addEventListener("click", save);
  field("copy").addEventListener("click", copy);
  field("clear").addEventListener("click", clear);
  controls.hidden = bar.hidden = false;
  restore();
  tally();
  filter();
  sort();  // a browser that goes back to the page keeps what was chosen
  explain();
})();
