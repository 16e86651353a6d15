"use strict";
// The server draws this page, and draws it anew here: what changed is taken over piece by piece, as nodes. No text ever
// becomes markup on this side.
(() => {
  const state = document.getElementById("live"), button = document.getElementById("pause");
  const drawn = new Map();
  let events = null, asking = false, again = false;

  const parts = (root) => [...root.querySelectorAll("[data-part]")];
  const cards = (root) => [...root.querySelectorAll("[data-card]")];

  function say(words, kind) {
    state.textContent = words;
    state.className = `dot ${kind}`;
  }
  function times(root) {
    for (const time of root.querySelectorAll("time")) {
      const moment = new Date(time.dateTime);
      const today = moment.toDateString() === new Date().toDateString();
      time.textContent = today ? moment.toLocaleTimeString() : moment.toLocaleString();
    }
  }
  function remember(root) {
    for (const part of parts(root)) drawn.set(part.dataset.part, part.innerHTML);
    for (const card of cards(root)) drawn.set(`card ${card.dataset.card}`, card.innerHTML);
  }

  // A card that has not changed stays the node it is: what is unfolded, selected or focused in it stays so.
  function takeCards(here, fresh) {
    const there = new Map(cards(here).map((card) => [card.dataset.card, card]));
    for (const card of cards(fresh)) {
      const old = there.get(card.dataset.card);
      if (old && drawn.get(`card ${card.dataset.card}`) === card.innerHTML) card.replaceWith(old);
      else {
        drawn.set(`card ${card.dataset.card}`, card.innerHTML);
        if (!old) card.classList.add("new");
        times(card);
      }
    }
    for (const gone of there.keys()) if (!cards(fresh).some((card) => card.dataset.card === gone)) drawn.delete(`card ${gone}`);
  }
  // What is unfolded in another part stays so, though its nodes are new.
  const folds = (part) => [...part.querySelectorAll("details[data-fold]")].map((one) => {
    const heading = one.closest("section").querySelector("h2");
    return [`${heading.textContent} ${one.dataset.fold}`, one];
  });
  function keepFolds(old, fresh) {
    const open = new Set(folds(old).filter(([, one]) => one.open).map(([name]) => name));
    for (const [name, one] of folds(fresh)) one.open = open.has(name);
  }
  function take(page) {
    const here = new Map(parts(document).map((part) => [part.dataset.part, part]));
    for (const fresh of parts(page)) {
      const name = fresh.dataset.part, html = fresh.innerHTML;
      if (!here.has(name) || drawn.get(name) === html) continue;
      drawn.set(name, html);
      if (name === "latest") takeCards(here.get(name), fresh);
      else {
        times(fresh);
        keepFolds(here.get(name), fresh);
      }
      here.get(name).replaceChildren(...fresh.childNodes);
    }
  }

  const paused = () => button.getAttribute("aria-pressed") === "true";
  async function ask() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      do {
        again = false;
        const answer = await fetch("/", { cache: "no-store", headers: { Accept: "text/html" } });
        if (answer.status === 401 && !paused()) return location.reload();
        const text = await answer.text();
        if (answer.ok && !paused()) take(new DOMParser().parseFromString(text, "text/html"));
      } while (again && !paused());
    } catch {
      if (!paused()) say("Not reached, trying again", "off");
    } finally {
      asking = false;
    }
    return undefined;
  }
  function listen() {
    events = new EventSource("/v1/overview/events");
    events.addEventListener("open", () => say("Live", "on"));
    events.addEventListener("overview", ask);
    events.addEventListener("error", () => {
      say("Not reached, trying again", "off");
      if (events && events.readyState === EventSource.CLOSED) {  // refused: it does not come back by itself
        events = null;
        setTimeout(() => { if (!events && !paused()) { ask(); listen(); } }, 5000);
      }
    });
  }
  button.addEventListener("click", () => {
    const pause = !paused();
    button.setAttribute("aria-pressed", String(pause));
    if (pause) {
      if (events) events.close();
      events = null;
      say("Paused", "");
    } else {
      ask();
      listen();
    }
  });

  remember(document);
  times(document);
  document.getElementById("controls").hidden = false;
  listen();
})();
