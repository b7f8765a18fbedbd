// Tables: sort by a click or a key on a column's head, filter by words and scores, choose the score that is shown.

function sortValue(row, column) {
  const text = row.cells[column].textContent.trim();
  return { text, number: parseFloat(text.replace(/,/g, "")) };
}

function compare(a, b, asWords) {
  if (!asWords && !(isNaN(a.number) && isNaN(b.number))) {
    if (isNaN(a.number) || isNaN(b.number)) return NaN;
    return a.number - b.number;
  }
  return a.text.localeCompare(b.text, undefined, { numeric: true });
}

function sortBy(table, head) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  const body = table.tBodies[0], column = head.cellIndex, asWords = head.classList.contains("word");
  const isMean = row => row.classList.contains("mean");
  const keyed = [...body.rows].filter(row => !isMean(row)).map(row => [sortValue(row, column), row]);
  const means = [...body.rows].filter(isMean);
  keyed.sort(([a], [b]) => {
    const order = compare(a, b, asWords);
    if (isNaN(order)) return isNaN(a.number) ? 1 : -1; // cells without a number stay last in both directions
    return descending ? -order : order;
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.append(...keyed.map(([, row]) => row), ...means);
}

function makeSortable(table) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.onclick = () => sortBy(table, head);
    head.append(button);
  }
}

// "chair <0.3 onet>0.5": words of a row's name, class or reason; bounds of the first score or of the named column.
function parseQuery(text, heads) {
  const names = heads.map(head => head.textContent.trim().toLowerCase());
  return text.toLowerCase().split(/\s+/).filter(Boolean).map(term => {
    const bound = /^([^<>]*)([<>])(-?[\d.]+)$/.exec(term);
    const column = bound && names.findIndex((name, i) => i > 1 && name.startsWith(bound[1]));
    if (!bound || column < 0) return row => row.dataset.words.includes(term);
    const limit = parseFloat(bound[3]), below = bound[2] === "<";
    return row => {
      const { number } = sortValue(row, column);
      return below ? number < limit : number > limit;
    };
  });
}

function makeFilter(table) {
  const tools = table.closest(".scroll").previousElementSibling;
  const search = tools.querySelector("input"), metric = tools.querySelector("select");
  const count = tools.querySelector("output"), rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells];
  for (const row of rows) {
    const titles = [...row.querySelectorAll("[title]")].map(cell => cell.title);
    row.dataset.words = [row.cells[0].textContent, row.cells[1].textContent, ...titles].join(" ").toLowerCase();
  }
  const filter = () => {
    const tests = parseQuery(search.value, heads);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !tests.every(test => test(row));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} shapes`;
  };
  const choose = () => {
    for (const cell of table.tBodies[0].querySelectorAll("[data-scores]"))
      cell.firstChild.data = cell.dataset.scores.split("|")[metric.selectedIndex];
    const sorted = table.querySelector("[aria-sort]");
    if (sorted && sorted.cellIndex > 1) sorted.removeAttribute("aria-sort");
    filter();
  };
  search.oninput = filter;
  metric.onchange = choose;
  tools.hidden = false;
  choose();
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".filtered table").forEach(makeFilter);
