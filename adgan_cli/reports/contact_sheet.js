
"use strict";
(() => {
  const controls = document.getElementById("controls");
  if (!controls) return;
  const lists = [...document.querySelectorAll("ol.cards")];
  const cards = [...document.querySelectorAll("ol.cards > li")];
  const field = (id) => document.getElementById(id);
  const [wanted, order, flagged, explained, told] =
    ["wanted", "order", "flagged", "explained", "told"].map(field);
  const name = (card) => card.dataset.name;
  const area = (card) => Number(card.dataset.area);
  const orders = {
    written: (a, b) => cards.indexOf(a) - cards.indexOf(b),
    name: (a, b) => name(a).localeCompare(name(b), undefined, { numeric: true }),
    size: (a, b) => area(b) - area(a),
  };

  function filter() {
    const text = wanted.value.trim().toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const fits = name(card).toLowerCase().includes(text)
        && !(flagged && flagged.checked && !("flagged" in card.dataset));
      card.hidden = !fits;
      shown += fits;
    }
    const all = shown === cards.length;
    told.textContent = all ? `${shown} shown` : `${shown} of ${cards.length} shown`;
  }

  function sort() {
    for (const list of lists) {
      list.append(...[...list.children].sort(orders[order.value]));
    }
  }

  function explain() {
    document.body.classList.toggle("bare", Boolean(explained) && !explained.checked);
  }

  wanted.addEventListener("input", filter);
  order.addEventListener("change", sort);
  if (flagged) flagged.addEventListener("change", filter);
  if (explained) explained.addEventListener("change", explain);
  controls.hidden = false;
  filter();
  sort();  // a browser that goes back to the page keeps what was chosen
  explain();
})();
