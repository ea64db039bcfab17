// Claims about the matrix and the evidence, on the report with failures.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { dataOf, failed, launch, open, openAll, ready, reports, violations } from './browser.mjs';

const report = reports.failures;
const data = dataOf(report);
const WORDS = { pass: 'passed', warn: 'passed with a warning', info: 'info', fail: 'failed' };
const withTranscript = failed(data).find((it) => it.transcript?.some((event) => event.kind === 'received') && it.server !== data.servers[0].name);
const id = `${withTranscript.server}/${withTranscript.name}`;

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const cellOf = (page, { server, name }, word = 'failed') => page.getByRole('link', { name: `${server}, ${name}, ${word}`, exact: true });
const hash = (page) => page.evaluate(() => decodeURIComponent(location.hash));
const focused = (page) => page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.textContent);
const heading = (page) => page.locator('dialog h2').innerText();

test('the report with failures has failures', () => assert.ok(failed(data).length > 10));

test("a cell's accessible name is server, case, verdict", async () => {
  const page = await open(browser, report);
  await openAll(page);
  const names = new Set(await page.locator('#matrix-table td a').evaluateAll((links) => links.map((it) => it.ariaLabel)));
  for (const server of data.servers) {
    for (const result of server.cases) {
      const word = result.verdict ? WORDS[result.verdict] : result.state.replace('-', ' ');
      if (!result.known_failure) assert.ok(names.has(`${server.name}, ${result.name}, ${word}`), `${server.name}, ${result.name}, ${word}`);
    }
  }
  // The name that assistive technology computes, for one of them.
  assert.equal(await cellOf(page, withTranscript).count(), 1);
  await page.context().close();
});

test("one click opens a failing cell's transcript; Escape closes it, and the focus returns", async () => {
  const page = await open(browser, report);
  await page.evaluate(() => document.querySelector('#matrix').scrollIntoView());
  const cell = cellOf(page, withTranscript);
  await cell.click();
  await page.locator('dialog[open] .lanes').waitFor();
  assert.match(await heading(page), new RegExp(`${withTranscript.server} · ${withTranscript.name}`));
  const text = await page.locator('dialog').innerText();
  for (const it of [withTranscript.requirement, withTranscript.observed, withTranscript.reproduce]) assert.ok(text.includes(it), it);
  assert.equal(await hash(page), `#${id}`);
  const before = await page.evaluate(() => scrollY);
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('dialog[open]').count(), 0);
  assert.equal(await focused(page), `${id.replace('/', ', ')}, failed`);
  assert.equal(await page.evaluate(() => scrollY), before, 'the page has not moved');
  assert.equal(await hash(page), '#matrix');
  await page.context().close();
});

test('a link in the failures opens the same evidence', async () => {
  const page = await open(browser, report);
  await page.evaluate(() => document.querySelectorAll('#failures details.fault').forEach((it) => { it.open = true; }));
  const link = page.locator('#failures a').filter({ hasText: `${withTranscript.server} · ${withTranscript.name}` }).first();
  await link.click();
  await page.locator('dialog[open]').waitFor();
  await page.getByRole('button', { name: 'Close' }).click();
  assert.equal(await focused(page), `${withTranscript.server} · ${withTranscript.name}`);
  await page.context().close();
});

test('the address of a result opens its evidence', async () => {
  const page = await open(browser, report, { fragment: id });
  await page.locator('dialog[open]').waitFor();
  assert.match(await heading(page), new RegExp(withTranscript.name));
  await page.context().close();
});

test('the evidence of a passed result says what was observed and how to reproduce it', async () => {
  const server = data.servers.find((it) => it.cases.some((that) => that.verdict === 'pass'));
  const result = server.cases.find((it) => it.verdict === 'pass');
  const page = await open(browser, report, { fragment: `${server.name}/${result.name}` });
  await page.locator('dialog[open]').waitFor();
  const text = await page.locator('dialog').innerText();
  assert.ok(text.includes(result.observed) && text.includes(result.reproduce), text);
  await page.context().close();
});

test('keys and buttons go to the next and the previous failure, and back leads back', async () => {
  const page = await open(browser, report, { fragment: id });
  await page.locator('dialog[open]').waitFor();
  const first = await heading(page);
  const seen = [];
  for (let step = 0; step < 3; step += 1) {
    const last = await heading(page);
    await page.keyboard.press('n');
    await page.waitForFunction((it) => document.querySelector('dialog h2').innerText !== it, last);
    seen.push(await heading(page));
  }
  assert.equal(new Set([first, ...seen]).size, 4, 'four different results');
  await page.keyboard.press('p');
  await page.waitForFunction((it) => document.querySelector('dialog h2').innerText === it, seen[1]);
  await page.getByRole('button', { name: 'Next failure' }).click();
  await page.waitForFunction((it) => document.querySelector('dialog h2').innerText === it, seen[2]);
  await page.getByRole('button', { name: 'Previous failure' }).click();
  await page.waitForFunction((it) => document.querySelector('dialog h2').innerText === it, seen[1]);
  await page.goBack();
  await page.waitForFunction((it) => document.querySelector('dialog h2').innerText === it, seen[2]);
  await page.context().close();
});

test('the previous and next keys visit every result that needs attention once', async () => {
  const page = await open(browser, report, { fragment: id });
  await page.locator('dialog[open]').waitFor();
  const count = await page.evaluate(() => document.querySelectorAll('#matrix-table :is(.fail, .inconclusive, .stale)').length);
  const seen = new Set();
  for (let step = 0; step < count; step += 1) {
    const last = await hash(page);
    await page.keyboard.press('n');
    await page.waitForFunction((it) => decodeURIComponent(location.hash) !== it, last);
    seen.add(await hash(page));
  }
  assert.equal(seen.size, count);
  assert.equal(await hash(page), `#${id}`);
  await page.context().close();
});

for (const colorScheme of ['light', 'dark']) {
  test(`the open evidence has no axe-core violation above minor in ${colorScheme} colours`, async () => {
    const page = await open(browser, report, { colorScheme, fragment: id });
    await page.locator('dialog[open] .lanes').waitFor();
    await page.locator('dialog details').evaluateAll((all) => all.forEach((it) => { it.open = true; }));
    assert.deepEqual(await violations(page, 'dialog'), []);
    await page.context().close();
  });
}

test('the evidence fits 375 px', async () => {
  const page = await open(browser, report, { width: 375, height: 700, fragment: id });
  const dialog = page.locator('dialog[open]');
  await dialog.waitFor();
  const [scroll, client] = await dialog.evaluate((it) => [it.scrollWidth, it.clientWidth]);
  assert.ok(scroll <= client, `${scroll} > ${client}`);
  await page.context().close();
});

test('the matrix has one tab stop, and arrows, Home and End move between its cells', async () => {
  const page = await open(browser, report);
  const stops = () => page.locator('#matrix-table td a').evaluateAll((links) => links.filter((it) => it.tabIndex === 0 && it.offsetParent).length);
  assert.equal(await stops(), 1);
  await page.locator('#matrix-table td a[tabindex="0"]').focus();
  const at = () => page.evaluate(() => {
    const cell = document.activeElement.closest('td');
    return [[...document.querySelectorAll('#matrix-table tr[data-case]')].filter((it) => it.offsetParent).indexOf(cell.parentNode), cell.cellIndex];
  });
  const columns = await page.locator('#matrix-table thead th').count() - 1;
  const [row, column] = await at();
  assert.deepEqual([row, column], [0, 1]);
  for (const [key, expected] of [['ArrowRight', [0, 2]], ['ArrowDown', [1, 2]], ['End', [1, columns]], ['ArrowUp', [0, columns]], ['ArrowUp', [0, columns]], ['Home', [0, 1]], ['ArrowLeft', [0, 1]]]) {
    await page.keyboard.press(key);
    assert.deepEqual(await at(), expected, key);
    assert.equal(await stops(), 1, key);
  }
  const marked = await page.locator('#matrix-table td.column').count();
  assert.equal(marked, await page.locator('#matrix-table tr[data-case]').count(), 'the column is marked');
  await page.context().close();
});

test('a filter leaves one tab stop, on a cell that is shown', async () => {
  const page = await open(browser, report, { fragment: 'matrix?verdict=fail' });
  const stop = page.locator('#matrix-table td a[tabindex="0"]');
  assert.equal(await stop.count(), 1);
  assert.ok(await stop.isVisible());
  await page.context().close();
});

test('filters hide what they exclude, and their state is in the address', async () => {
  const page = await open(browser, report);
  const rows = () => page.locator('#matrix-table tr[data-case]').evaluateAll((all) => all.filter((it) => it.offsetParent).map((it) => it.dataset.case));
  const columns = () => page.locator('#matrix-table th.turned').evaluateAll((all) => all.filter((it) => it.offsetParent).map((it) => it.dataset.server));
  const every = await rows();
  await page.getByRole('combobox', { name: 'Verdict' }).selectOption('fail');
  assert.equal(await hash(page), '#matrix?verdict=fail');
  const expected = new Set(failed(data).map((it) => it.name));
  assert.deepEqual(new Set(await rows()), expected);
  assert.deepEqual(new Set(await columns()), new Set(failed(data).map((it) => it.server)));
  const topic = withTranscript.name.split('/')[0];
  await page.getByRole('combobox', { name: 'Topic' }).selectOption(topic);
  assert.ok((await rows()).every((it) => it.startsWith(`${topic}/`)));
  assert.match(await page.locator('.filters output').innerText(), /^\d+ cases, \d+ results$/);

  await page.reload();
  await ready(page);
  assert.equal(await page.getByRole('combobox', { name: 'Topic' }).inputValue(), topic);
  assert.equal(await page.getByRole('combobox', { name: 'Verdict' }).inputValue(), 'fail');
  assert.ok((await rows()).length > 0 && (await rows()).every((it) => it.startsWith(`${topic}/`) && expected.has(it)));

  await page.goBack();
  await page.waitForFunction(() => location.hash === '#matrix?verdict=fail');
  await page.waitForFunction(() => !document.querySelector('.filters select').value);
  assert.deepEqual(new Set(await rows()), expected);
  await page.goBack();
  await page.waitForFunction(() => !document.querySelector('.filters output').textContent);
  assert.deepEqual(await rows(), every);
  await page.goForward();
  await page.waitForFunction(() => document.querySelector('.filters output').textContent);
  assert.deepEqual(new Set(await rows()), expected);
  await page.getByRole('button', { name: 'Show all' }).click();
  assert.equal(await hash(page), '#matrix');
  assert.deepEqual(await rows(), every);
  await page.context().close();
});

test('the text filter finds cases and servers', async () => {
  const page = await open(browser, report);
  const shown = (selector) => page.locator(selector).evaluateAll((all) => all.filter((it) => it.offsetParent).map((it) => it.dataset.case ?? it.dataset.server));
  const text = page.getByLabel('Case or server');
  await text.fill('crlf');
  assert.ok((await shown('#matrix-table tr[data-case]')).every((it) => it.includes('crlf')));
  await text.fill(withTranscript.server);
  assert.deepEqual(await shown('#matrix-table th.turned'), [withTranscript.server]);
  assert.equal(await hash(page), `#matrix?text=${withTranscript.server}`);
  await page.context().close();
});

test('the evidence opened from a filtered matrix leaves the filter as it was', async () => {
  const page = await open(browser, report, { fragment: 'matrix?verdict=fail' });
  await cellOf(page, withTranscript).click();
  await page.locator('dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await hash(page), '#matrix?verdict=fail');
  assert.equal(await page.getByRole('combobox', { name: 'Verdict' }).inputValue(), 'fail');
  await page.context().close();
});

test('without JavaScript, a fragment link opens the evidence of a failure', async () => {
  const page = await open(browser, report, { javaScriptEnabled: false });
  const links = page.locator('#matrix-table td.fail a');
  const wanted = failed(data).slice(0, 50).length;
  assert.ok(await links.count() >= Math.min(wanted, 50), `${await links.count()} failures have evidence`);
  const target = await links.first().evaluate((it) => decodeURIComponent(it.getAttribute('href').slice(1)));
  await links.first().click();
  const evidence = page.locator(`[id="${target}"]`);
  await evidence.waitFor();
  assert.match(await evidence.innerText(), /reproduce\s+harness check/);
  await page.context().close();
});

test('without a pointer, the keyboard reaches the evidence of the first failure', async () => {
  const page = await open(browser, report);
  await page.keyboard.press('Tab');
  assert.match(await focused(page), /Skip to the summary/);
  await page.keyboard.press('Enter');
  let steps = 0;
  const names = [];
  // Each stop shows where the focus is.
  for (; steps < 400; steps += 1) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const it = document.activeElement;
      const box = it.getBoundingClientRect();
      return { name: it.ariaLabel ?? it.textContent.trim().slice(0, 60), inMatrix: Boolean(it.closest('#matrix-table td')), isSeen: box.width > 0 && getComputedStyle(it).outlineStyle !== 'none' };
    });
    names.push(stop.name);
    assert.ok(stop.isSeen, `no visible focus at ${stop.name}`);
    if (stop.inMatrix) break;
  }
  assert.ok(steps < 400, names.join(' | '));
  for (let key = 0; key < 300 && !/, failed$/.test(await focused(page)); key += 1) await page.keyboard.press(key % 12 === 11 ? 'ArrowDown' : 'ArrowRight');
  for (let key = 0; key < 100 && !/, failed$/.test(await focused(page)); key += 1) await page.keyboard.press('ArrowUp');
  assert.match(await focused(page), /, failed$/);
  const name = await focused(page);
  await page.keyboard.press('Enter');
  await page.locator('dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), name);
  await page.context().close();
});

test('the reproduce command of a failing cell fails in the same case', { skip: !process.env.HARNESS && 'HARNESS is not set' }, async () => {
  // A wrong reply: it is soon found, and does not depend on how fast the machine is.
  const [quickest] = failed(data).filter((it) => it.state === 'completed').sort((a, b) => a.duration_ms - b.duration_ms);
  const page = await open(browser, report);
  await page.evaluate(() => { location.hash = 'matrix?verdict=fail'; });
  await cellOf(page, quickest).click();
  await page.locator('dialog[open]').waitFor();
  const command = await page.locator('dialog dd code').last().innerText();
  assert.match(command, /^harness (check|replay) /);
  const run = spawnSync('bash', ['-c', `harness() { $HARNESS "$@"; }; ${command}`], { cwd: new URL('../..', import.meta.url), encoding: 'utf8' });
  assert.equal(run.status, 1, run.stdout + run.stderr);
  assert.ok((run.stdout + run.stderr).includes(quickest.name), run.stdout);
  await page.context().close();
});
