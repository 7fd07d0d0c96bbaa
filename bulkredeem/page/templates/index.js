// The table of runs.

function showRuns(runs, about) {
  const [NAME, STATE, ENVIRONMENT, PATH, RETRY_OF, PROBLEM, COUNTS, STARTED, LASTED, EXIT, FILES] = runs.length ? Array(11).keys() : [];
  const { statuses, done } = about;
  const left = (run) => (run[COUNTS] ?? []).reduce((sum, count, index) => sum + (done.includes(statuses[index]) ? 0 : count), 0);
  const rowsOf = (run) => (run[COUNTS] ?? []).reduce((sum, count) => sum + count, 0);
  const nameOf = (path) => path.split(/[\\/]/u).filter(Boolean).at(-1) ?? "";

  function lasting(seconds) {
    if (seconds === null) return "";
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    const minutes = Math.floor(whole / 60);
    const two = (number) => String(number).padStart(2, "0");
    return minutes < 60 ? `${minutes} min ${two(whole % 60)} s` : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  }

  function bar(run) {
    const rows = rowsOf(run);
    if (!rows) return null;
    const parts = run[COUNTS].map((count, index) => [statuses[index], count]).filter(([, count]) => count);
    const widths = parts.map(([, count]) => Math.max(8, (1000 * count) / rows));
    const scale = 1000 / widths.reduce((sum, width) => sum + width, 0);
    const label = parts.map(([status, count]) => `${many.format(count)} ${inWords(status)}`).join(", ");
    let x = 0;
    const boxes = parts.map(([status], index) => {
      const box = drawn("rect", { class: `fill ${status}`, x, y: 0, width: widths[index] * scale, height: 100 });
      x += widths[index] * scale;
      return box;
    });
    const title = drawn("title", {}, label);
    return drawn("svg", { class: "bar small", viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": label }, title, ...boxes);
  }

  function link(run, file, words) {
    return made("a", { href: `${encodeURIComponent(run[NAME].toWellFormed())}/${file}` }, words);
  }

  function started(run) {
    if (run[STARTED] === null) return run[NAME];
    return new Date(run[STARTED]).toISOString().slice(0, 16).replace("T", " ");
  }

  function line(run) {
    const [page, notDone] = run[FILES];
    const isProduction = run[ENVIRONMENT].trim().toLowerCase() === "production";
    const when = page ? link(run, page, started(run)) : started(run);
    const environment = run[ENVIRONMENT] ? made("span", { class: isProduction ? "environment production" : "environment" }, run[ENVIRONMENT]) : null;
    const notes = [run[RETRY_OF] ? `again from ${run[RETRY_OF]}` : "", run[PROBLEM]].filter(Boolean);
    const file = made("td", { role: "cell", class: "why" }, made("bdi", { title: run[PATH] }, nameOf(run[PATH])), " ", environment,
      ...notes.map((note) => made("small", { class: "note" }, note)));
    const counted = made("td", { role: "cell", class: "counted" }, bar(run));
    if (run[COUNTS]) {
      const words = left(run) ? `${many.format(left(run))} of ${many.format(rowsOf(run))} not done` : `${many.format(rowsOf(run))} rows, all done`;
      counted.append(made("small", { class: left(run) ? "note left" : "note" }, words));
    }
    // On a narrow screen no head stands above the number.
    const exit = made("span", {}, made("span", { class: "narrow" }, "exit code "), String(run[EXIT]));
    const files = [page ? link(run, page, "page") : null, notDone ? link(run, notDone, notDone) : null].filter(Boolean);
    return made("tr", { role: "row" },
      made("th", { scope: "row", role: "rowheader", class: "tabular" }, when),
      made("td", { role: "cell" }, made("span", { class: `state ${run[STATE]}` }, inWords(run[STATE]))),
      file, counted,
      made("td", { role: "cell", class: "broad number" }, lasting(run[LASTED])),
      made("td", { role: "cell", class: "broad number" }, run[EXIT] === null ? "" : exit),
      made("td", { role: "cell", class: "broad files" }, ...files));
  }

  tableOf({
    rows: runs,
    noun: "runs",
    sorting: ["started", true],
    values: (run, filter) => (run[filter] === null ? "" : String(run[filter])),
    words: (run) => [run[NAME], inWords(run[STATE]), run[ENVIRONMENT], run[PATH], run[RETRY_OF], run[PROBLEM], started(run)].join("\n"),
    keys: {
      started: (run) => run[STARTED] ?? 0,
      state: (run) => run[STATE],
      path: (run) => nameOf(run[PATH]),
      not_done: left,
      lasted: (run) => run[LASTED] ?? -1,
      exit: (run) => run[EXIT] ?? -1,
    },
    line,
    label: (value, filter) => (Number(filter) === STATE ? inWords(value) : value || "none"),
  });
}

if (found("table")) showRuns(held("held"), held("about"));
