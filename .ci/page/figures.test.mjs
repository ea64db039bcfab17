// Claims about the summary, the curves and the comparison, on the report with figures.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { dataOf, launch, open, parseCsv, ready, reports } from './browser.mjs';

const report = reports.figures;
const data = dataOf(report);

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

/** Returns the values of a column in the order of the rows: undefined where a value is missing. */
const valuesOf = (page, column) => page.locator('#summary-table tbody tr').evaluateAll((rows, index) =>
  rows.map((row) => row.cells[index].dataset.v ?? null).map((it) => (it === null ? null : Number(it))), column);

test('the report with figures has figures', () => {
  assert.ok(data.servers.filter((it) => it.measurements.length > 0).length >= 2);
});

test('the summary comes before all other sections and has an answer for each need', async () => {
  const page = await open(browser, report);
  assert.equal(await page.locator('main > section').first().getAttribute('id'), 'summary');
  const answers = await page.locator('.answers li').count();
  assert.ok(answers >= 3, `${answers} answers`);
  const targets = await page.locator('.answers a').evaluateAll((links) => links.filter((it) =>
    !document.getElementById(decodeURIComponent(it.getAttribute('href').slice(1).split('?')[0]))).map((it) => it.outerHTML));
  assert.deepEqual(targets, [], 'links without a target');
  await page.context().close();
});

test('a click on a head sorts, missing values last in both orders, and aria-sort says so', async () => {
  const page = await open(browser, report);
  const heads = page.locator('#summary-table thead th');
  const count = await heads.count();
  for (let column = 0; column < count; column += 1) {
    const head = heads.nth(column);
    const kind = await head.getAttribute('data-sort');
    const orders = kind === 'number-down' ? ['descending', 'ascending'] : ['ascending', 'descending'];
    for (const order of orders) {
      await head.getByRole('button').click();
      assert.equal(await head.getAttribute('aria-sort'), order);
      assert.equal(await page.locator('#summary-table [aria-sort]').count(), 1);
      const values = kind === 'text'
        ? await page.locator('#summary-table tbody tr').evaluateAll((rows, at) => rows.map((row) => (row.cells[at].querySelector('.why') ? null : row.cells[at].textContent)), column)
        : await valuesOf(page, column);
      const known = values.filter((it) => it !== null);
      assert.deepEqual(values.slice(known.length).filter((it) => it !== null), [], 'missing values are last');
      const sorted = known.toSorted?.((a, b) => (kind === 'text' ? a.localeCompare(b) : a - b)) ?? [...known].sort((a, b) => (kind === 'text' ? a.localeCompare(b) : a - b));
      assert.deepEqual(known, order === 'ascending' ? sorted : sorted.reverse(), `column ${column}, ${order}`);
    }
  }
  assert.deepEqual(page.noise, []);
  await page.context().close();
});

test('a head sorts by the keyboard as well', async () => {
  const page = await open(browser, report);
  const head = page.locator('#summary-table th[data-id=throughput]');
  await head.getByRole('button').focus();
  await page.keyboard.press('Enter');
  assert.equal(await head.getAttribute('aria-sort'), 'descending');
  await page.keyboard.press('Space');
  assert.equal(await head.getAttribute('aria-sort'), 'ascending');
  await page.context().close();
});

test('at 375 px a list chooses the figure that the summary shows', async () => {
  const page = await open(browser, report, { width: 375, height: 800 });
  const shown = () => page.locator('#summary-table thead th').evaluateAll((all) => all.filter((it) => it.offsetParent).map((it) => it.dataset.id ?? it.textContent));
  const list = page.getByLabel('Figure');
  assert.ok((await list.locator('option').allInnerTexts()).every((text) => text.trim()));
  for (const id of await list.locator('option').evaluateAll((all) => all.map((it) => it.value))) {
    await list.selectOption(id);
    const columns = await shown();
    assert.equal(columns.length, 3);
    assert.equal(columns[2], id);
  }
  await page.context().close();
});

test('the head of the summary stays in view while its rows scroll', async () => {
  const page = await open(browser, report);
  const count = await page.locator('#summary-table tbody tr').count();
  await page.evaluate(() => document.querySelector('#summary-table tbody tr:last-child').scrollIntoView({ block: 'start' }));
  if (count > 30) assert.ok(await page.locator('#summary-table thead').evaluate((it) => it.getBoundingClientRect().bottom > 0));
  await page.context().close();
});

const emphasized = (page, chart = 'throughput') => page.locator(`[id="chart/${chart}"] .series`).evaluateAll((all) =>
  all.filter((it) => getComputedStyle(it).opacity === '1').map((it) => /\bs(\d+)\b/.exec(it.getAttribute('class'))[1]));
const numberOf = (page, name) => page.locator(`input[name=series][value="${name}"]`).getAttribute('id').then((it) => it.slice(1));
const measured = data.servers.filter((it) => it.measurements.some((that) => that.workload === 'closed-64')).map((it) => it.name);

for (const javaScriptEnabled of [true, false]) {
  test(`a checkbox toggles a series ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, async () => {
    const page = await open(browser, report, { javaScriptEnabled });
    await page.evaluate(() => document.querySelectorAll('.choice').forEach((it) => { it.open = true; }));
    const box = page.locator(`input[name=series][value="${measured[0]}"]`);
    const number = await numberOf(page, measured[0]);
    for (const step of [1, 2]) {
      const was = await box.isChecked();
      assert.equal((await emphasized(page)).includes(number), was, `step ${step}`);
      await box.click();
      assert.equal((await emphasized(page)).includes(number), !was, `step ${step}`);
    }
    if (javaScriptEnabled) assert.match(await page.evaluate(() => location.hash), /^#chart\/throughput\?servers=/);
    await page.context().close();
  });
}

test('the address of a chart chooses exactly its servers, and a reload keeps them', async () => {
  const names = [measured[0], measured.at(-1)];
  const page = await open(browser, report, { fragment: `chart/throughput?servers=${names.join(',')}` });
  const expected = await Promise.all(names.map((it) => numberOf(page, it)));
  assert.deepEqual((await emphasized(page)).sort(), expected.sort());
  const checked = () => page.locator('input[name=series]:checked').evaluateAll((all) => all.map((it) => it.value));
  assert.deepEqual((await checked()).sort(), [...names].sort());
  assert.ok(await page.locator('[id="chart/throughput"]').evaluate((it) => Math.abs(it.getBoundingClientRect().top) < innerHeight), 'the chart is in view');
  await page.reload();
  await ready(page);
  assert.deepEqual((await checked()).sort(), [...names].sort());
  await page.context().close();
});

test('the buttons choose all servers, none, and those of the beginning', async () => {
  const page = await open(browser, report);
  await page.evaluate(() => { document.querySelector('.choice').open = true; });
  const checked = () => page.locator('input[name=series]:checked').count();
  const first = await checked();
  await page.getByRole('button', { name: 'All', exact: true }).click();
  assert.equal(await checked(), await page.locator('input[name=series]').count());
  await page.getByRole('button', { name: 'None', exact: true }).click();
  assert.equal(await checked(), 0);
  await page.getByRole('button', { name: 'As at first' }).click();
  assert.equal(await checked(), first);
  await page.context().close();
});

test('the labels of the chosen lines do not overlap, and lie inside the chart', async () => {
  const page = await open(browser, report);
  const overlaps = () => page.locator('figure svg').evaluateAll((charts) => charts.flatMap((svg) => {
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll('.series text')].filter((it) => getComputedStyle(it).display !== 'none').map((it) => ({ name: it.textContent, box: it.getBoundingClientRect() }));
    const outside = boxes.filter(({ box }) => box.top < frame.top - 3 || box.bottom > frame.bottom + 3 || box.right > frame.right + 1).map(({ name }) => `${svg.ariaLabel}: ${name} is outside`);
    const pairs = boxes.flatMap((a, at) => boxes.slice(at + 1).filter((b) =>
      a.box.left < b.box.right && b.box.left < a.box.right && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 4).map((b) => `${svg.ariaLabel}: ${a.name} and ${b.name}`));
    return [...outside, ...pairs];
  }));
  assert.deepEqual(await overlaps(), [], 'at first');
  await page.evaluate(() => { document.querySelector('.choice').open = true; });
  await page.getByRole('button', { name: 'All', exact: true }).click();
  assert.deepEqual(await overlaps(), [], 'all servers');
  await page.context().close();
});

test('the keyboard reads a value: the text changes and the points are marked', async () => {
  const page = await open(browser, report);
  const charts = await page.locator('figure').evaluateAll((all) => all.map((it) => it.dataset.chart));
  assert.ok(charts.length >= 4, `${charts}`);
  for (const chart of charts) {
    const figure = page.locator(`[id="chart/${chart}"]`);
    const output = figure.locator('output');
    await figure.getByRole('slider').focus();
    await page.keyboard.press('ArrowRight');
    const first = await output.innerText();
    await page.keyboard.press('Home');
    const second = await output.innerText();
    assert.notEqual(first, second, chart);
    const readings = await figure.evaluate((it) => {
      const chosen = [...document.querySelectorAll('input[name=series]:checked')];
      return chosen.flatMap((box) => {
        const text = it.querySelector(`tr[data-s="${box.id.slice(1)}"]`)?.cells[1]?.textContent;
        return text ? [`${box.value} ${text}`] : [];
      });
    });
    assert.ok(readings.length > 0, chart);
    for (const reading of readings) assert.ok(second.includes(reading), `${chart}: ${reading} in ${second}`);
    assert.equal(await figure.locator('circle.near').count(), readings.length, chart);
  }
  await page.context().close();
});

test('the pointer reads the nearest point of a chosen server', async () => {
  const page = await open(browser, report, { fragment: 'chart/throughput' });
  const figure = page.locator('[id="chart/throughput"]');
  const number = await page.locator('input[name=series]:checked').last().getAttribute('id').then((it) => it.slice(1));
  const point = figure.locator(`.s${number} circle`).last();
  await point.scrollIntoViewIfNeeded();
  const box = await point.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await figure.locator('circle.near').first().waitFor();
  assert.ok((await figure.locator('output').innerText()).length > 5);
  assert.ok(await figure.locator('circle.near').count() > 0);
  await page.context().close();
});

async function downloaded(page, figure, name) {
  const [download] = await Promise.all([page.waitForEvent('download'), figure.getByRole('button', { name, exact: true }).click()]);
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), 'utf8') };
}

test('a chart is saved as an SVG file with its style and the chosen series', async () => {
  const names = [measured[0], measured.at(-1)];
  const page = await open(browser, report, { fragment: `chart/throughput?servers=${names}` });
  const { name, text } = await downloaded(page, page.locator('[id="chart/throughput"]'), 'SVG');
  assert.equal(name, 'throughput.svg');
  const expected = await Promise.all(names.map((it) => numberOf(page, it)));
  const file = await page.evaluate((it) => {
    const parsed = new DOMParser().parseFromString(it, 'image/svg+xml');
    return {
      error: parsed.querySelector('parsererror')?.textContent ?? null,
      root: parsed.documentElement.namespaceURI,
      style: parsed.querySelector('style')?.textContent.length ?? 0,
      on: [...parsed.querySelectorAll('.series.on')].map((it) => /\bs(\d+)\b/.exec(it.getAttribute('class'))[1]),
      size: ['width', 'height', 'viewBox'].map((it) => parsed.documentElement.getAttribute(it)),
    };
  }, text);
  assert.equal(file.error, null);
  assert.equal(file.root, 'http://www.w3.org/2000/svg');
  assert.ok(file.style > 500);
  assert.deepEqual(file.on.sort(), expected.sort());
  assert.deepEqual(page.noise, []);
  // The file alone shows these series.
  const alone = await page.context().newPage();
  await alone.setContent(text);
  const seen = await alone.locator('.series').evaluateAll((all) => all.filter((it) => getComputedStyle(it).opacity === '1').length);
  assert.equal(seen, expected.length);
  await page.context().close();
});

test('a chart is saved as a CSV file with the values of its table', async () => {
  const page = await open(browser, report);
  for (const chart of await page.locator('figure').evaluateAll((all) => all.map((it) => it.dataset.chart))) {
    const figure = page.locator(`[id="chart/${chart}"]`);
    const { name, text } = await downloaded(page, figure, 'CSV');
    assert.equal(name, `${chart}.csv`);
    const table = await figure.locator('table').evaluate((it) => [...it.rows].map((row) => [...row.cells].map((cell) => cell.textContent)));
    assert.deepEqual(parseCsv(text), table);
  }
  await page.context().close();
});

test('the comparison agrees with the figures of the table', async () => {
  const page = await open(browser, report);
  const rows = await page.locator('#summary-table').evaluate((table) => {
    const heads = [...table.tHead.rows[0].cells];
    return [...table.tBodies[0].rows].map((row) => ({
      server: row.dataset.server,
      figures: heads.flatMap((head, index) => {
        const { v, low, high } = row.cells[index].dataset;
        return v === undefined || !head.dataset.id ? [] : [{ title: head.querySelector('button').firstChild.textContent, isHigherBetter: head.dataset.sort === 'number-down', v: Number(v), low: Number(low), high: Number(high) }];
      }),
    }));
  });
  const full = rows.filter((it) => it.figures.length > 0);
  const near = (text, value) => assert.ok(Math.abs(Number(text) - value) <= 0.006 * Math.abs(value), `${text} for ${value}`);
  const [a, b] = [page.getByRole('combobox', { name: 'Server', exact: true }), page.getByRole('combobox', { name: 'against' })];
  assert.ok(await page.locator('.compare tbody tr td:nth-child(6)').count() > 0, 'two servers with figures at first');
  for (const [left, right] of [[full[0], full.at(-1)], [full[1], full[2]], [full.at(-1), full.at(-1)]]) {
    if (!left || !right) continue;
    await a.selectOption(left.server);
    await b.selectOption(right.server);
    const shown = await page.locator('.compare tbody tr').evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
    const common = left.figures.filter((it) => right.figures.some((that) => that.title === it.title));
    if (common.length === 0) {
      assert.match(shown[0][0], /no figure/);
      continue;
    }
    assert.deepEqual(shown.map((it) => it[0]), common.map((it) => it.title));
    for (const [index, own] of common.entries()) {
      const other = right.figures.find((it) => it.title === own.title);
      const [, mine, others, ratio, interval, verdict] = shown[index];
      near(mine, own.v);
      near(others, other.v);
      near(ratio, own.v / other.v);
      if (Number.isNaN(own.low + other.low)) {
        assert.deepEqual([interval, verdict], ['unknown', 'inconclusive'], own.title);
        continue;
      }
      const [low, high] = interval.split(' to ');
      near(low, own.low / other.high);
      near(high, own.high / other.low);
      const isDifferent = own.low > other.high || own.high < other.low;
      assert.equal(/^(better|worse)$/.test(verdict), isDifferent, `${own.title}: ${verdict}`);
      if (isDifferent) assert.equal(verdict === 'better', (own.low > other.high) === own.isHigherBetter, own.title);
    }
  }
  await page.context().close();
});

test('the page has answers and static charts without JavaScript', async () => {
  const page = await open(browser, report, { javaScriptEnabled: false });
  assert.ok(await page.locator('.answers li').count() >= 3);
  const charts = page.locator('figure svg');
  assert.ok(await charts.count() >= 4);
  assert.ok(await charts.first().isVisible());
  assert.ok(await page.locator('figure details.data').first().locator('table').count() > 0);
  const dead = await page.locator('button, select, .filters').count();
  assert.equal(dead, 0, 'controls that need JavaScript');
  await page.context().close();
});

test('two charts are side by side on paper', async () => {
  const page = await open(browser, report, { width: 718, height: 1000 });
  await page.emulateMedia({ media: 'print' });
  const boxes = await page.locator('figure').evaluateAll((all) => all.map((it) => {
    const [frame, svg] = [it.getBoundingClientRect(), it.querySelector('svg').getBoundingClientRect()];
    return { top: frame.top, right: frame.right, svg: svg.right };
  }));
  assert.equal(Math.round(boxes[0].top), Math.round(boxes[1].top));
  for (const box of boxes) assert.ok(box.svg <= box.right + 1 && box.right <= 719, JSON.stringify(box));
  await page.context().close();
});
