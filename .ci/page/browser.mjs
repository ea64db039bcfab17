// The browser of the tests, and what several tests do with a page.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const directory = (variable) => {
  if (!process.env[variable]) throw new Error(`${variable} must name the directory of a report`);
  return process.env[variable];
};

/** The reports under test: one with figures, and one with failures. */
export const reports = { figures: directory('FIGURES'), failures: directory('FAILURES') };

export const pageOf = (report) => join(report, 'index.html');
export const dataOf = (report) => JSON.parse(readFileSync(join(report, 'report.json'), 'utf8'));

/** Starts the browser, without a sandbox: root cannot have one, and the pages are our own. */
export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  chromiumSandbox: false,
});

/** Returns the address of a file, with a fragment. */
export const address = (file, fragment = '') => pathToFileURL(file).href + (fragment && `#${fragment}`);

/**
 * Opens the page of a report in a context of its own. `noise` collects each request other than that
 * of the page itself, each message on the console and each uncaught error.
 */
export async function open(browser, report, { fragment = '', width = 1400, height = 900, ...options } = {}) {
  const file = pageOf(report);
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const noise = [];
  page.on('request', (request) => {
    // The page makes a blob for a download.
    const url = request.url();
    if (url.split('#')[0] !== address(file) && !/^(data|blob):/.test(url)) noise.push(`request of ${url}`);
  });
  page.on('console', (message) => noise.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => noise.push(`error: ${error.message}`));
  await page.goto(address(file, fragment));
  if (options.javaScriptEnabled !== false) await ready(page);
  return Object.assign(page, { noise });
}

/** Waits until the page's script has done its work. */
export const ready = (page) => page.locator('html[data-ready=true]').waitFor({ state: 'attached' });

/** Goes to another address within the page, as a link does. */
export const follow = (page, fragment) => page.evaluate((it) => { location.hash = it; }, fragment);

/** Opens all disclosures and all topics of the matrix. */
export const openAll = (page) => page.evaluate(() => {
  document.querySelectorAll('details').forEach((it) => { it.open = true; });
  document.querySelectorAll('.band input').forEach((it) => { it.checked = true; });
});

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Returns the violations that axe-core rates above minor, in a part of the page or in all of it. */
export async function violations(page, selector = 'html') {
  await page.evaluate(axe);
  const found = await page.evaluate((it) => window.axe.run(it, { resultTypes: ['violations'] }), selector);
  return found.violations
    .filter((it) => it.impact !== 'minor')
    .map((it) => `${it.impact} ${it.id}: ${it.nodes.length} elements, first ${it.nodes[0].html.slice(0, 200)}: ${it.nodes[0].failureSummary}`);
}

/** Returns the number of pages of a PDF. Chromium does not compress the objects of pages. */
export const pagesOf = (pdf) => pdf.toString('latin1').match(/\/Type\s*\/Page\b/g).length;

/** Reads CSV with quoted cells (RFC 4180). */
export function parseCsv(text) {
  if (!/^("(?:[^"]|"")*"(,|\r\n))*$/.test(text)) throw new Error(`not CSV: ${text.slice(0, 200)}`);
  return text.trimEnd().split('\r\n').map((line) =>
    [...line.matchAll(/"((?:[^"]|"")*)"/g)].map(([, cell]) => cell.replaceAll('""', '"')));
}

/** Returns the failed results of a report as `{ server, name, ... }`, without accepted ones. */
export const failed = (data) => data.servers.flatMap((server) =>
  server.cases.filter((it) => it.verdict === 'fail' && !it.known_failure).map((it) => ({ server: server.name, ...it })));
