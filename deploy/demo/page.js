"use strict";
// Data comes from the JSON block and reaches the page as text nodes only, so a task's text can never become markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PER_PAGE = 25;
  const byId = (id) => document.getElementById(id);
  const list = byId("results"), search = byId("search"), area = byId("area"), tip = byId("tip");
  const chips = [...document.querySelectorAll("[data-label]")];
  const texts = data.results.map((result) => result.pieces.map((piece) => piece[0]).join("").toLowerCase() + "\n" + result.source.toLowerCase());
  let found = [], page = 0;

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const score = (value) => (value === null ? "no score" : value.toFixed(2));
  const said = (span) => {
    const model = data.models[span.model];
    const below = span.below ? ", below its threshold" : "";
    return `${data.labels[span.label]} · ${score(span.score)}${below}\n${model.name} · ${model.version}`;
  };

  function mark(text, spans, last) {
    const inner = spans[spans.length - 1];
    const element = make("mark", `k${inner.label % 8}${inner.below ? " below" : ""}`, text);
    element.tabIndex = 0;
    element.dataset.tip = spans.map(said).join("\n");
    if (last) {
      const tag = make("span", "tag", data.labels[inner.label]);
      element.append(tag);
    }
    return element;
  }

  function card(result) {
    const item = make("li", "result"), paragraph = make("p"), footer = make("footer");
    result.pieces.forEach(([text, ...indexes], at) => {
      if (!indexes.length) return paragraph.append(text);
      const next = result.pieces[at + 1];
      const inner = indexes[indexes.length - 1];
      const last = !next || !next.slice(1).includes(inner);
      return paragraph.append(mark(text, indexes.map((index) => result.spans[index]), last));
    });
    for (const choice of result.choices) {
      const chosen = make("span", `area${choice.below ? " below" : ""}`, data.areas[choice.area] + (choice.score === null ? "" : ` ${score(choice.score)}`));
      const model = data.models[choice.model];
      chosen.title = `${model.name} · ${model.version}${choice.below ? " · below its threshold" : ""}`;
      footer.append(chosen);
    }
    if (result.source) footer.append(make("code", "", result.source));
    for (const failed of result.failed) footer.append(make("span", "bad", `${data.models[failed[0]].name}: ${failed[1]}`));
    item.append(paragraph, footer);
    return item;
  }

  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const from = page * PER_PAGE, some = found.slice(from, from + PER_PAGE);
    list.replaceChildren(...some.map((index) => card(data.results[index])));
    byId("none").hidden = found.length > 0;
    byId("found").textContent = found.length ? `${(from + 1).toLocaleString("en")}–${(from + some.length).toLocaleString("en")} of ${found.length.toLocaleString("en")} results, those with names first` : "";
    for (const where of document.querySelectorAll(".page")) where.textContent = `Page ${page + 1} of ${pages}`;
    for (const button of document.querySelectorAll("[data-turn]")) button.disabled = page + Number(button.dataset.turn) < 0 || page + Number(button.dataset.turn) >= pages;
    hideTip();
  }

  function filter() {
    const words = search.value.toLowerCase().trim();
    const labels = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => Number(chip.dataset.label));
    const wanted = area.value === "" ? null : Number(area.value);
    found = [];
    data.results.forEach((result, index) => {
      if (words && !texts[index].includes(words)) return;
      if (wanted !== null && !result.choices.some((choice) => choice.area === wanted)) return;
      if (!labels.every((label) => result.spans.some((span) => span.label === label))) return;
      found.push(index);
    });
    page = 0;
    show();
  }

  function turn(by) {
    page += by;
    show();
    byId("top").scrollIntoView({ block: "start" });
  }
  function showTip(event) {
    const target = event.target.closest && event.target.closest("[data-tip]");
    if (!target) return;
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    target.setAttribute("aria-describedby", "tip");
    const box = target.getClientRects()[0];
    const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
    tip.style.top = `${box.bottom + 6 + window.scrollY}px`;
  }
  function hideTip() { tip.hidden = true; }

  search.addEventListener("input", filter);
  area.addEventListener("change", filter);
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    search.value = ""; area.value = "";
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    filter(); search.focus();
  });
  for (const chip of chips) chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
    filter();
  });
  for (const button of document.querySelectorAll("[data-turn]")) button.addEventListener("click", () => turn(Number(button.dataset.turn)));
  for (const name of ["mouseover", "focusin"]) list.addEventListener(name, showTip);
  for (const name of ["mouseout", "focusout"]) list.addEventListener(name, hideTip);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTip();
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(document.activeElement.tagName)) return;
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    if (event.key === "ArrowRight" && (page + 1) * PER_PAGE < found.length) turn(1);
    if (event.key === "ArrowLeft" && page > 0) turn(-1);
  });
  filter();
})();
