// What both pages do: colours, copying, and a table of which only one page is in the document.

const found = (id) => document.getElementById(id);
const many = new Intl.NumberFormat("en-GB");
const inWords = (name) => String(name).replaceAll("_", " ");

/** Make an element; whatever is put in is text or an element, never HTML. */
function made(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content.filter((each) => each !== null && each !== undefined));
  return element;
}

function drawn(name, attributes, ...content) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

function swatch(kind) {
  const box = drawn("rect", { class: `fill ${kind}`, width: 12, height: 12, rx: 2 });
  return drawn("svg", { class: "swatch", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, box);
}

function say(words) {
  found("said").textContent = words;
}

// A page in a mail or in a frame may remember nothing; it then follows the system each time.
function remembered() {
  try {
    return localStorage.getItem("bulkredeem-scheme");
  } catch {
    return null;
  }
}

function remember(scheme) {
  try {
    localStorage.setItem("bulkredeem-scheme", scheme);
  } catch {
    // The same.
  }
}

function letSchemeBeChosen() {
  const button = found("scheme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = remembered();
  const isDark = () => (chosen ? chosen === "dark" : system.matches);
  const show = () => {
    if (chosen) document.documentElement.dataset.scheme = chosen;
    button.querySelector("span").textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
  };
  button.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    remember(chosen);
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
}

async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // Not every place in which a page is opened has a clipboard to write to: then it is selected, to be copied by hand.
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

function letCommandsBeCopied() {
  for (const button of document.querySelectorAll("button.copy")) {
    const code = button.parentElement.querySelector("code");
    const words = button.querySelector("span");
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copied(code);
      words.textContent = done ? "Copied" : "Selected";
      say(done ? "The command was copied." : "The command is selected.");
      setTimeout(() => { words.textContent = "Copy"; }, 2000);
    });
  }
}

/** Show below a chart what the pointer is on: a tooltip alone comes late, and on a telephone never. */
function letChartsBeRead() {
  for (const chart of document.querySelectorAll(".chart")) {
    const readout = chart.querySelector(".readout");
    chart.addEventListener("pointerover", (event) => {
      const title = event.target.closest?.(".spot")?.querySelector("title");
      if (title) readout.textContent = title.textContent;
    });
    chart.addEventListener("pointerleave", () => { readout.textContent = ""; });
  }
}

/**
 * A table over many rows.
 *
 * `values(row, filter)` is the value by which a filter chooses, `words(row)` all a search looks through,
 * `keys[name](row)` that by which a column sorts, and `line(row)` the elements to show.
 */
function tableOf({ rows, values, words, keys, line, sorting, label, noun }) {
  const root = found("table");
  const body = root.querySelector("tbody");
  const search = found("search");
  const filters = [...root.querySelectorAll("select[data-filter]")];
  const heads = [...root.querySelectorAll("th[data-sort]")];
  const collator = new Intl.Collator("en", { numeric: true });
  let sought = null;
  let chosen = rows;
  let page = 0;
  let [column, isDown] = sorting;

  const size = () => Number(found("size").value);
  const pages = () => Math.max(1, Math.ceil(chosen.length / size()));

  const passes = (row, without) =>
    filters.every((each) => each === without || !each.value || values(row, each.dataset.filter) === each.value.slice(1));

  function matching() {
    const wanted = search.value.toLocaleLowerCase("en").split(/\s+/u).filter(Boolean);
    if (wanted.length && !sought) sought = rows.map((row) => words(row).toLocaleLowerCase("en"));
    return rows.filter((row, index) => wanted.every((each) => sought[index].includes(each)) && passes(row));
  }

  /** Sort by keys taken once a row; rows that are equal keep their order. */
  function sorted(list) {
    const keyed = list.map((row) => [keys[column](row), row]);
    const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
    keyed.sort(isDown ? (a, b) => compare(b[0], a[0]) : (a, b) => compare(a[0], b[0]));
    return keyed.map(([, row]) => row);
  }

  function show() {
    page = Math.min(page, pages() - 1);
    const from = page * size();
    const shown = chosen.slice(from, from + size());
    body.replaceChildren(...shown.map(line));
    if (!shown.length) {
      const cell = made("td", { colspan: heads.length + 1, class: "empty" }, `No ${noun} match.`);
      body.append(made("tr", { role: "row" }, cell));
    }
    const of = chosen.length === rows.length ? "" : `, chosen from ${many.format(rows.length)}`;
    found("shown").textContent = shown.length
      ? `${many.format(from + 1)} to ${many.format(from + shown.length)} of ${many.format(chosen.length)} ${noun}${of}`
      : `0 of ${many.format(rows.length)} ${noun}`;
    for (const id of ["first", "previous"]) found(id).disabled = page === 0;
    for (const id of ["next", "last"]) found(id).disabled = page >= pages() - 1;
    for (const head of heads) {
      const isThis = head.dataset.sort === column;
      if (isThis) head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      head.querySelector(".arrow").textContent = isThis ? (isDown ? "▼" : "▲") : "";
    }
  }

  function choose() {
    chosen = sorted(matching());
    page = 0;
    show();
  }

  function turnTo(wanted) {
    page = Math.max(0, Math.min(wanted, pages() - 1));
    show();
    if (body.getBoundingClientRect().top < 0) root.scrollIntoView();
  }

  function fill(select) {
    const counts = new Map();
    for (const row of rows) {
      const value = values(row, select.dataset.filter);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 500);
    const options = most.map(([value, count]) =>
      made("option", { value: `=${value}` }, `${label(value, select.dataset.filter)} (${many.format(count)})`));
    select.replaceChildren(made("option", { value: "" }, "all"), ...options);
    select.disabled = most.length < 2;
  }

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(choose, 120);
  });
  for (const filter of filters) {
    fill(filter);
    filter.addEventListener("change", choose);
  }
  const form = root.querySelector("form");
  form.addEventListener("submit", (event) => event.preventDefault());
  // The fields are empty only after the event.
  form.addEventListener("reset", () => setTimeout(choose));
  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      isDown = head.dataset.sort === column ? !isDown : head.dataset.sort === "not_done";
      column = head.dataset.sort;
      choose();
    });
  }
  found("size").addEventListener("change", () => { page = 0; show(); });
  found("first").addEventListener("click", () => turnTo(0));
  found("previous").addEventListener("click", () => turnTo(page - 1));
  found("next").addEventListener("click", () => turnTo(page + 1));
  found("last").addEventListener("click", () => turnTo(pages() - 1));
  // No element for pages without scripts: a program that lets none run does not always say so.
  found("without").hidden = true;
  root.hidden = false;
  choose();
}

function held(id) {
  const element = found(id);
  return element ? JSON.parse(element.textContent) : null;
}

letSchemeBeChosen();
letCommandsBeCopied();
letChartsBeRead();
