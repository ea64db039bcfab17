// Sorting, filters, the reading of values, and evidence. The page is complete without it, except
// that only failures have their evidence.
'use strict';

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Creates an element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const button = (text, onclick) => make('button', { type: 'button', onclick }, text);
const headRow = (titles) => make('thead', {}, make('tr', {}, ...titles.map((it) => make('th', { scope: 'col' }, it))));
const scrolling = (ariaLabel, table) => make('div', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel }, table);

/** Offers a text as a file. */
function download(name, type, text) {
  const link = make('a', { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Quotes the cells of a table as CSV (RFC 4180). A formula is made harmless by an apostrophe. */
function csv(rows) {
  const quoted = (text) => '"' + text.replace(/^[=+@-]/, "'$&").replaceAll('"', '""') + '"';
  return rows.map((row) => row.map(quoted).join(',') + '\r\n').join('');
}

// ---- summary table

const summary = one('#summary-table');

function sortable() {
  all('th[data-sort]', summary).forEach((head, column) => {
    const sorter = button(head.firstChild, () => sort(head, column));
    sorter.append(...head.childNodes);
    head.append(sorter);
  });
}

/** Sorts the rows by a column: the better values first, and the other way round at a second click. */
function sort(head, column) {
  const kind = head.dataset.sort;
  const first = kind === 'number-down' ? 'descending' : 'ascending';
  const other = first === 'ascending' ? 'descending' : 'ascending';
  const order = head.ariaSort === first ? other : first;
  all('th[data-sort]', summary).forEach((it) => it.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', order);
  const sign = order === 'ascending' ? 1 : -1;
  const key = ({ cells: { [column]: cell } }) => {
    if (kind !== 'text') return cell.dataset.v;
    return one('.why', cell) ? undefined : cell.textContent;
  };
  const compare = (one, other) => {
    const [a, b] = [key(one), key(other)];
    // Missing values stay at the end.
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return sign * (kind === 'text' ? a.localeCompare(b) : a - b);
  };
  const body = summary.tBodies[0];
  const rows = [...body.rows].sort(compare);
  rows.forEach((row) => row.classList.remove('rule'));
  body.append(...rows);
}

/** Returns the title of a column, without the note that the plan does not have it. */
const titleOf = (head) => one('button', head).firstChild.textContent;

/** On a narrow screen, the table shows one figure beside the cases; a list chooses it. */
function columnChoice() {
  const heads = all('th[data-id]', summary);
  const select = make('select', {}, ...heads.map((head) => make('option', { value: head.dataset.id }, titleOf(head))));
  const show = () => {
    for (const row of summary.rows) {
      [...row.cells].forEach((cell, index) => {
        const head = summary.tHead.rows[0].cells[index];
        cell.classList.toggle('shown', index < 2 || head.dataset.id === select.value);
      });
    }
  };
  select.addEventListener('change', show);
  summary.classList.add('phone');
  summary.parentElement.before(make('label', { className: 'only-phone' }, 'Figure ', select));
  show();
}

// ---- curves

const boxes = all('input[name=series]');
const chosen = () => boxes.filter((box) => box.checked);
const isChosen = (group) => one(`#t${numberOf(group)}`).checked;
let currentChart = '';

function seriesChoice() {
  const initial = chosen();
  const set = (test) => {
    boxes.forEach((box) => (box.checked = test(box)));
    choiceChanged();
  };
  one('.choice')?.append(make('p', {}, button('All', () => set(() => true)), ' ', button('None', () => set(() => false)), ' ',
    button('As at first', () => set((box) => initial.includes(box)))));
  boxes.forEach((box) => box.addEventListener('change', choiceChanged));
}

function choiceChanged() {
  const names = chosen().map((box) => encodeURIComponent(box.value));
  history.replaceState(null, '', `#chart/${currentChart || 'throughput'}?servers=${names.join(',')}`);
  showChoice();
}

function showChoice() {
  all('figure').forEach((figure) => {
    placeLabels(figure);
    figure.read();
  });
}

/** Moves the labels of the chosen lines apart. If they are too many, hides those without space. */
function placeLabels(figure) {
  const height = 13;
  const ends = all('.series', figure).filter(isChosen)
    .map((group) => ({ text: one('text', group), at: Number(all('circle', group).pop()?.getAttribute('cy')) }))
    .filter((end) => end.text && !Number.isNaN(end.at))
    .sort((one, other) => one.at - other.at);
  const isCrowded = ends.length > 20;
  let free = 12;
  ends.forEach(({ text, at: end }, index) => {
    const at = isCrowded ? end : Math.max(free, Math.min(end, 286 - height * (ends.length - 1 - index)));
    text.classList.toggle('crowded', at < free);
    if (at < free) return;
    text.setAttribute('y', at + 4);
    free = at + height;
  });
}

const numberOf = (group) => /\bs(\d+)\b/.exec(group.getAttribute('class'))[1];

/** Adds the reading of values, by a slider and by the pointer, and the downloads. */
function readable(figure) {
  const svg = one('svg', figure);
  const table = one('table', figure);
  const titles = table.tHead ? [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent) : [];
  const rows = new Map([...table.tBodies[0].rows].map((row) => [row.dataset.s, row]));
  const length = Math.max(...[...rows.values()].map((row) => row.cells.length - 1));
  const slider = make('input', { type: 'range', min: 0, max: length - 1, value: 0, ariaLabel: `Position in: ${one('h3', figure).textContent}` });
  const output = make('output', { className: 'values' });
  /** Describes the values of the chosen servers at a position, and marks their points. */
  const read = () => {
    const position = Number(slider.value);
    const values = [];
    all('.near', svg).forEach((it) => it.classList.remove('near'));
    for (const box of chosen()) {
      const number = box.id.slice(1);
      const cell = rows.get(number)?.cells[position + 1];
      if (!cell?.textContent) continue;
      values.push(`${box.value} ${cell.textContent}`);
      one(`.s${number} circle[data-i="${cell.dataset.i}"]`, svg)?.classList.add('near');
    }
    const at = titles[position] ? `${titles[position]}: ` : '';
    output.textContent = values.length ? at + values.join('; ') : `${at}no value`;
  };
  figure.read = read;
  slider.addEventListener('input', () => {
    currentChart = figure.dataset.chart;
    read();
  });
  svg.addEventListener('pointermove', (event) => {
    let [nearest, distance] = [null, 40];
    for (const circle of all('.series', svg).filter(isChosen).flatMap((group) => all('circle', group))) {
      const box = circle.getBoundingClientRect();
      const away = Math.hypot(box.x + box.width / 2 - event.clientX, box.y + box.height / 2 - event.clientY);
      if (away < distance) [nearest, distance] = [circle, away];
    }
    if (!nearest) return;
    const row = rows.get(numberOf(nearest.parentNode));
    const position = [...row.cells].findIndex((cell) => cell.dataset.i === nearest.dataset.i);
    slider.value = position - 1;
    read();
  });
  const name = figure.dataset.chart;
  const saveSvg = () => {
    const copy = svg.cloneNode(true);
    const style = document.createElementNS('http://www.w3.org/2000/svg', 'style');
    style.textContent = one('#chart-style').textContent;
    copy.prepend(style);
    all('.series', copy).forEach((group) => group.classList.toggle('on', isChosen(group)));
    download(`${name}.svg`, 'image/svg+xml', new XMLSerializer().serializeToString(copy));
  };
  const saveCsv = () => {
    const cells = [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    download(`${name}.csv`, 'text/csv', csv(cells));
  };
  one('details', figure).before(
    make('p', { className: 'reading' }, make('label', {}, 'Read values ', slider), ' ', output),
    make('p', { className: 'reading' }, button('SVG', saveSvg), ' ', button('CSV', saveCsv)),
  );
}

// ---- matrix

const matrix = one('#matrix-table');
const kinds = ['pass', 'warn', 'info', 'fail', 'inconclusive', 'none', 'known', 'stale'];
const words = { pass: 'passed', warn: 'passed with a warning', fail: 'failed', none: 'not applicable', known: 'known failure', stale: 'stale known failure', changed: 'changed since baseline' };
const filterStyle = document.head.appendChild(make('style'));
const filters = {};

/**
 * Makes each cell a link to its evidence, with one tab stop for the whole matrix. The topics are
 * made one by one, so that a large matrix does not keep the reader waiting.
 */
async function cellLinks() {
  const heads = [...matrix.tHead.rows[0].cells].slice(1);
  for (const row of all('tr[data-case]', matrix)) {
    if (row.previousElementSibling.className === 'band') await new Promise((done) => setTimeout(done));
    [...row.cells].slice(1).forEach((cell, index) => {
      const kind = kinds.find((it) => cell.classList.contains(it));
      if (!kind) return;
      const id = one('a', heads[index]).getAttribute('href').slice(1);
      const label = `${heads[index].dataset.server}, ${row.dataset.case}, ${words[kind] ?? kind}`;
      const link = make('a', { href: `#${id}/${row.dataset.case}`, tabIndex: -1, ariaLabel: label }, cell.textContent);
      cell.replaceChildren(link);
    });
  }
  matrix.addEventListener('keydown', moveFocus);
  matrix.addEventListener('change', tabStop);
  matrix.addEventListener('focusin', (event) => {
    const cell = event.target.closest('td');
    if (!cell) return;
    all('td.column', matrix).forEach((it) => it.classList.remove('column'));
    all('tr[data-case]', matrix).forEach((row) => row.cells[cell.cellIndex].classList.add('column'));
    tabStop();
  });
  tabStop();
}

/** Makes the focused cell the tab stop of the matrix, or the last one, or the first visible cell. */
function tabStop() {
  const stop = one('td a[tabindex="0"]', matrix);
  const candidates = [one('td a:focus', matrix), stop, ...all('td a', matrix)];
  if (stop) stop.tabIndex = -1;
  const next = candidates.find((link) => link?.offsetParent);
  if (next) next.tabIndex = 0;
}

/** Moves the focus between cells by the arrow keys, Home and End. */
function moveFocus(event) {
  const cell = event.target.closest('td');
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -999], End: [0, 999] };
  const step = steps[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  const rows = all('tr[data-case]', matrix).filter((row) => row.offsetParent);
  let row = rows.indexOf(cell.parentNode);
  let column = cell.cellIndex;
  const links = rows[row].cells.length - 1;
  for (let tries = 0; tries < 200; tries += 1) {
    row = Math.min(Math.max(row + step[0], 0), rows.length - 1);
    column = Math.min(Math.max(column + step[1], 1), links);
    const link = one('a', rows[row].cells[column]);
    if (link && link.offsetParent) return link.focus();
    if (Math.abs(step[1]) > 1) step[1] = -Math.sign(step[1]);
  }
}

function filterForm() {
  const option = (value, text = value) => make('option', { value }, text);
  const select = (name, label, values) => {
    filters[name] = make('select', { onchange: filterChanged }, option('', 'all'), ...values.map((it) => option(...[it].flat())));
    return make('label', {}, `${label} `, filters[name]);
  };
  const topics = all('tbody', matrix).map((body) => body.dataset.topic);
  const services = [...new Set(all('th[data-service]', matrix).map((head) => head.dataset.service))].filter(Boolean);
  filters.text = make('input', { type: 'search', size: 18, oninput: filterChanged });
  const state = make('output');
  matrix.parentElement.before(make('form', { className: 'filters', onsubmit: (event) => event.preventDefault() },
    select('topic', 'Topic', topics),
    select('verdict', 'Verdict', [...kinds, ...(one('td.changed', matrix) ? ['changed'] : [])].map((it) => [it, words[it] ?? it])),
    select('service', 'Service', services),
    make('label', {}, 'Case or server ', filters.text),
    button('Show all', () => filterChanged(setFilters({}))),
    state));
  filters.state = state;
}

/** Applies the filters and puts them into the address. A typed letter is no step of the history. */
function filterChanged(event) {
  history[event?.type === 'input' ? 'replaceState' : 'pushState'](null, '', filterAddress());
  showFiltered(filterValues());
}

function filterAddress() {
  const query = Object.entries(matrix ? filterValues() : {}).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return `#matrix${query.length ? '?' : ''}${query.join('&')}`;
}

function filterValues() {
  const entries = ['topic', 'verdict', 'service', 'text'].map((name) => [name, filters[name].value]);
  return Object.fromEntries(entries.filter(([, value]) => value));
}

function setFilters(values) {
  ['topic', 'verdict', 'service', 'text'].forEach((name) => (filters[name].value = values[name] ?? ''));
}

/** Hides the rows and columns that the filters exclude. */
function showFiltered({ topic, verdict, service, text = '' }) {
  const heads = [...matrix.tHead.rows[0].cells].slice(1);
  const matches = (name) => name.toLowerCase().includes(text.toLowerCase());
  const namesServer = text && heads.some((head) => matches(head.dataset.server));
  const isWanted = (row) => (!topic || row.parentNode.dataset.topic === topic) && (!text || namesServer || matches(row.dataset.case));
  const wanted = all('tr[data-case]', matrix).filter(isWanted);
  const hasVerdict = (index) => !verdict || wanted.some((row) => row.cells[index + 1].classList.contains(verdict));
  const shown = heads.map((head, index) => (!service || head.dataset.service === service)
    && (!namesServer || matches(head.dataset.server)) && hasVerdict(index));
  let [rows, cells] = [0, 0];
  for (const row of all('tr[data-case]', matrix)) {
    const found = [...row.cells].slice(1).filter((cell, index) => shown[index] && (!verdict || cell.classList.contains(verdict)));
    row.hidden = !(isWanted(row) && found.length > 0);
    if (!row.hidden) [rows, cells] = [rows + 1, cells + found.length];
  }
  const isFiltered = Boolean(topic || verdict || service || text);
  for (const body of matrix.tBodies) {
    const hasRows = all('tr[data-case]', body).some((row) => !row.hidden);
    body.hidden = !hasRows;
    const box = one('.band input', body);
    box.initial ??= box.checked;
    box.checked = isFiltered ? hasRows : box.initial;
  }
  const hidden = shown.flatMap((isShown, index) => (isShown ? [] : [`.matrix tr:not(.band) > :nth-child(${index + 2})`]));
  const dimmed = verdict ? `.matrix td:not(.${verdict}) { opacity: .35; }` : '';
  filterStyle.textContent = (hidden.length ? `${hidden.join(',')} { display: none; }` : '') + dimmed;
  filters.state.textContent = isFiltered ? `${rows} cases, ${cells} results` : '';
  tabStop();
}

// ---- evidence

let evidence;
let bad = [];
let shown = '';
const steps = [button('Previous failure (p)', () => go(-1)), button('Next failure (n)', () => go(1))];
const heading = make('h2', { id: 'evidence-title' });
const content = make('div');
const dialog = document.body.appendChild(make('dialog', { 'aria-labelledby': heading.id },
  make('header', {}, heading, ...steps, button('Close', () => dialog.close())), content));

/** Decodes the evidence of all results at the first use. */
async function evidenceData() {
  if (!evidence) {
    const bytes = Uint8Array.from(atob(one('#evidence-data').textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    evidence = JSON.parse(await new Response(stream).text());
    bad = evidence.flatMap((it) => it.results.filter((that) => that.bad).map((that) => `${it.id}/${that.case}`));
  }
  return evidence;
}

async function findResult(id) {
  for (const server of await evidenceData()) {
    const result = server.results.find((it) => `${server.id}/${it.case}` === id);
    if (result) return { server, result };
  }
  return null;
}

/** Goes to another failed result: to the one before or after that shown, or to the first or last. */
function go(step) {
  const at = bad.indexOf(shown);
  const id = bad.at(at < 0 ? Math.min(step, 0) : (at + step) % bad.length);
  if (id) visit(`#${id.split('/').map(encodeURIComponent).join('/')}`);
}

/** Shows the evidence of a result. Returns whether there is such a result. */
async function showEvidence(id) {
  const found = await findResult(id);
  if (!found) return false;
  const { server, result } = found;
  const copy = button('Copy', () => navigator.clipboard?.writeText(result.reproduce).then(() => (copy.textContent = 'Copied')));
  const entries = [
    ['required', result.required], ['known failure', result.known], ['expected', result.expected],
    ['observed', result.observed], ['likely cause', result.hint], ['resources', result.resources],
    ['exit', result.exit && `the server exited: ${result.exit}`],
    ['survivors', result.survivors && `killed by the harness: ${result.survivors.join(', ')}`],
  ].filter(([, text]) => text);
  const list = make('dl', {}, ...entries.flatMap(([label, text]) => [make('dt', {}, label), make('dd', {}, text)]),
    make('dt', {}, 'reproduce'), make('dd', {}, make('code', {}, result.reproduce), ' ', copy));
  shown = id;
  steps.forEach((it) => (it.hidden = bad.length === 0));
  heading.replaceChildren(make('span', { className: result.class }, result.label), ` ${server.name} · ${result.case}`);
  content.replaceChildren(list);
  if (result.events) content.append(make('h3', {}, 'Transcript, on one clock'), lanes(result));
  if (result.samples) content.append(samples(result.samples));
  if (result.log) content.append(make('h3', {}, 'Last output of the server'), make('pre', {}, result.log));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  return true;
}

const milliseconds = (us) => `${(us / 1000).toFixed(3)} ms`;

/** Renders the transcript with a lane for each client and one for the server. */
function lanes(result) {
  const clients = [...new Set(result.events.map(([, client]) => client))].filter((it) => it > 0).sort((a, b) => a - b);
  const few = clients.length <= 6;
  const columns = few ? [...clients, 0] : [1, 0];
  const title = (client) => (client === 0 ? 'server' : few ? `client ${client}` : 'clients');
  const body = make('tbody');
  let last = null;
  result.events.forEach(([at, client, kind, text], index) => {
    if (last !== null && at - last > 50_000) {
      body.append(make('tr', { className: 'gap', style: `line-height:${Math.min(1 + Math.log10((at - last) / 50_000), 4)}` },
        make('td', { colSpan: columns.length + 1 }, `${milliseconds(at - last)} without an event`)));
    }
    if (result.omitted && index === Math.ceil(result.events.length / 2)) {
      body.append(make('tr', { className: 'gap' }, make('td', { colSpan: columns.length + 1 }, `${result.omitted} more events, in report.json`)));
    }
    last = at;
    const lane = few || client === 0 ? columns.indexOf(client) : 0;
    const shown = few || client === 0 ? text : `${client}: ${text}`;
    body.append(make('tr', {}, make('td', {}, milliseconds(at)),
      ...columns.map((_, column) => (column === lane ? make('td', { className: kind }, shown) : make('td')))));
  });
  return scrolling('Transcript', make('table', { className: 'lanes' }, headRow(['at', ...columns.map(title)]), body));
}

function samples(list) {
  const keys = ['at', 'processes', 'threads', 'descriptors', 'memory'];
  const cells = (it) => [milliseconds(it.at_us), it.processes, it.threads, it.descriptors, `${Math.round(it.anonymous_bytes / 1024)} KiB`];
  const rows = list.map((it) => make('tr', {}, ...cells(it).map((text) => make('td', {}, text))));
  return make('details', {}, make('summary', {}, 'Resource usage'),
    scrolling('Resource usage', make('table', { className: 'plain' }, headRow(keys), make('tbody', {}, ...rows))));
}

// ---- comparison of two servers

function comparison() {
  const place = one('.compare');
  if (!place) return;
  // Those with the most figures first, so that the page begins with a full table.
  const figures = (row) => all('td + td[data-v]', row).length;
  const rows = [...summary.tBodies[0].rows].filter(figures).sort((one, other) => figures(other) - figures(one));
  const select = (label, index) => {
    const list = make('select', { onchange: show }, ...rows.map((row) => make('option', {}, row.dataset.server)));
    list.selectedIndex = Math.min(index, rows.length - 1);
    return [make('label', {}, `${label} `, list), list];
  };
  const [labelA, a] = select('Server', 0);
  const [labelB, b] = select('against', 1);
  const table = make('table', { className: 'plain' });
  place.append(make('p', {}, labelA, ' ', labelB), scrolling('Comparison of two servers', table));
  const digits = (value) => Number(value.toPrecision(3)).toString();
  function show() {
    const heads = [...summary.tHead.rows[0].cells];
    const find = (name) => rows.find((row) => row.dataset.server === name);
    const [left, right] = [find(a.value), find(b.value)];
    const body = heads.flatMap((head, index) => {
      if (!head.dataset.id || head.dataset.id === 'full') return [];
      const values = [left, right].map((row) => row.cells[index].dataset);
      if (values.some((it) => it.v === undefined)) return [];
      const [own, other] = values.map((it) => ({ v: Number(it.v), low: Number(it.low), high: Number(it.high) }));
      const [ratio, low, high] = [own.v / other.v, own.low / other.high, own.high / other.low];
      const isHigherBetter = head.dataset.sort === 'number-down';
      const verdict = low > 1 || high < 1 ? ((low > 1) === isHigherBetter ? 'better' : 'worse')
        : low >= 1 / 1.05 && high <= 1.05 ? 'equal within ±5 %' : 'inconclusive';
      return [make('tr', {}, make('th', { scope: 'row' }, titleOf(head)), make('td', {}, digits(own.v)), make('td', {}, digits(other.v)),
        make('td', {}, digits(ratio)), make('td', {}, high < 1e9 ? `${digits(low)} to ${digits(high)}` : 'unknown'), make('td', {}, verdict))];
    });
    const titles = ['figure', a.value, b.value, 'ratio', 'interval', 'verdict'];
    if (!body.length) body.push(make('tr', {}, make('td', { colSpan: titles.length }, 'no figure that both servers have')));
    table.replaceChildren(headRow(titles), make('tbody', {}, ...body));
  }
  show();
}

// ---- addresses

const isResult = (address) => address.includes('/') && !address.startsWith('#chart/');

function visit(address) {
  history.pushState(null, '', address);
  route();
}

/** Decodes a part of an address. A malformed one names nothing. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** Opens what the address names: a section, a chart, a filtered matrix, a server or a result. */
async function route() {
  const [path, query = ''] = location.hash.slice(1).split('?');
  const values = Object.fromEntries(new URLSearchParams(query));
  const id = decoded(path);
  if (id.startsWith('chart/')) {
    currentChart = id.slice('chart/'.length);
    if (values.servers !== undefined) {
      const names = query.split('servers=')[1].split(',').map(decoded);
      boxes.forEach((box) => (box.checked = names.includes(box.value)));
      showChoice();
    }
    document.getElementById(id)?.scrollIntoView();
  } else if (matrix && (id === 'matrix' || (!id && filters.state.textContent))) {
    setFilters(values);
    showFiltered(values);
    if (id) one('#matrix').scrollIntoView();
  } else if (id.includes('/') && (await showEvidence(id))) {
    return;
  } else if (id) {
    const target = document.getElementById(id);
    target?.closest('details')?.setAttribute('open', '');
    target?.scrollIntoView();
  }
  if (dialog.open) dialog.close();
}

dialog.addEventListener('close', () => {
  if (isResult(location.hash)) history.replaceState(null, '', filterAddress());
});

dialog.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === 'n') go(1);
  if (event.key === 'p') go(-1);
});

// A browser would also scroll to the evidence in the page, and move the focus from the link to it.
addEventListener('click', (event) => {
  const address = event.target.closest('a')?.getAttribute('href') ?? '';
  if (!isResult(address) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  visit(address);
});

if (summary) {
  sortable();
  columnChoice();
  comparison();
}
seriesChoice();
all('figure').forEach(readable);
const ready = () => (document.documentElement.dataset.ready = 'true');
if (matrix) {
  filterForm();
  cellLinks().then(ready);
} else ready();
addEventListener('hashchange', route);
route();
