// The table of rows that are not done.

const [STATUS, CODE, MEND_BY, REASON, MESSAGE] = [0, 1, 2, 3, 4];

function showRows(rows, about) {
  const { headers, canonical, identifiers, kinds, menders } = about;
  const ofRedemption = identifiers.filter((index) => canonical[index] !== "identifierValue");
  const kindOf = (row) => kinds[row[1]];
  const redemption = (row) => {
    const index = ofRedemption.find((each) => row[7][each]);
    return index === undefined ? "" : row[7][index];
  };
  const mender = (name) => menders[name] ?? "";

  function label(value, filter) {
    if (Number(filter) === MEND_BY) return mender(value) || "nobody named";
    const text = Number(filter) === STATUS ? inWords(value) : value || "none";
    return text.length > 90 ? `${text.slice(0, 89)}…` : text;
  }

  function fact(name, value, note = "") {
    const term = made("dt", {}, made("bdi", {}, name), note ? made("small", {}, ` ${note}`) : null);
    return made("div", {}, term, made("dd", {}, made("bdi", {}, value)));
  }

  function details(row) {
    const [, , httpStatus, attempts, requestId, finishedAt, warnings, cells] = row;
    const kind = kindOf(row);
    const said = [
      ["Message", kind[MESSAGE] || kind[REASON]],
      ["Warnings", warnings ? warnings.join("\n") : ""],
      ["Who mends it", mender(kind[MEND_BY])],
      ["HTTP status", httpStatus === null ? "" : String(httpStatus)],
      ["Tries", String(attempts)],
      ["Request id", requestId],
      ["Outcome at", finishedAt ? new Date(finishedAt).toISOString() : ""],
    ];
    const own = cells.map((cell, index) => {
      const name = headers[index] ?? "";
      return fact(name || "(no name)", cell || "—", canonical[index] && canonical[index] !== name ? canonical[index] : "");
    });
    const about = made("dl", { class: "facts" }, ...said.filter(([, value]) => value).map(([name, value]) => fact(name, value)));
    return made("div", { class: "details" },
      made("div", {}, made("h3", {}, "What happened"), about),
      made("div", {}, made("h3", {}, "As in the file"), made("dl", { class: "facts" }, ...own)));
  }

  function line(row) {
    const kind = kindOf(row);
    const number = String(row[0]);
    const button = made("button", { type: "button", class: "open", "aria-expanded": "false", "aria-label": `Row ${number}: details` }, number);
    const why = made("td", { class: "why" });
    if (kind[CODE]) {
      const code = made("code");
      // A word of ours may be long: it may break after its underscores.
      for (const part of kind[CODE].split(/(?<=_)/u)) code.append(part, made("wbr"));
      why.append(code, " ");
    }
    why.append(made("bdi", {}, kind[REASON] || (kind[CODE] ? "" : "no outcome yet")));
    const status = made("td", { class: "status" }, swatch(kind[STATUS]), inWords(kind[STATUS]));
    const fragment = document.createDocumentFragment();
    const shown = made("tr", {},
      made("th", { scope: "row" }, button), status, why,
      made("td", { class: "broad" }, mender(kind[MEND_BY])),
      made("td", { class: "broad" }, made("bdi", { class: "tabular" }, redemption(row))),
      made("td", { class: "broad number" }, String(row[3])));
    button.addEventListener("click", () => {
      const isOpen = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) shown.nextElementSibling.remove();
      else shown.after(made("tr", { class: "more" }, made("td", { colspan: 6 }, details(row))));
    });
    fragment.append(shown);
    return fragment;
  }

  tableOf({
    rows,
    noun: "rows",
    sorting: ["row", false],
    values: (row, filter) => kindOf(row)[filter],
    words: (row) => [row[0], ...kindOf(row), row[4], ...(row[6] || []), ...row[7]].join("\n"),
    keys: {
      row: (row) => row[0],
      status: (row) => kindOf(row)[STATUS],
      code: (row) => `${kindOf(row)[CODE]} ${kindOf(row)[REASON]}`,
      mend_by: (row) => mender(kindOf(row)[MEND_BY]),
      redemption,
      attempts: (row) => row[3],
    },
    line,
    label,
  });
}

if (found("table")) showRows(held("held"), held("about"));
