// Claims about every report page.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { dataOf, follow, launch, open, openAll, pagesOf, reports, violations } from './browser.mjs';

const SECTIONS = ['run', 'summary', 'failures', 'when-full', 'curves', 'matrix', 'comparison', 'servers', 'method'];

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

for (const [kind, report] of Object.entries(reports)) {
  describe(`the page of the report with ${kind}`, () => {
    test('makes no request and writes no message, whatever the reader opens', async () => {
      const page = await open(browser, report);
      await openAll(page);
      const names = dataOf(report).servers.map((it) => it.name);
      const addresses = [...SECTIONS, names[0], `${names.at(-1)}/framing/crlf`, 'matrix?verdict=fail', 'chart/p99?servers=', '%', 'none', 'none/of/these', ''];
      for (const it of addresses) {
        await follow(page, it);
        await page.waitForTimeout(50);
      }
      assert.deepEqual(page.noise, []);
      await page.context().close();
    });

    test('is at most 2 MB with 50,000 elements, the summary 20 KB and the JSON 6 MB', async () => {
      const size = (name) => statSync(join(report, name)).size;
      assert.ok(size('index.html') <= 2_000_000, `index.html: ${size('index.html')} bytes`);
      assert.ok(size('summary.md') <= 20_000, `summary.md: ${size('summary.md')} bytes`);
      assert.ok(size('report.json') <= 6_000_000, `report.json: ${size('report.json')} bytes`);
      const page = await open(browser, report);
      const [elements, style, script] = await page.evaluate(() => {
        const bytes = (selector) => [...document.querySelectorAll(selector)].reduce((sum, it) => sum + new Blob([it.textContent]).size, 0);
        return [document.querySelectorAll('*').length, bytes('style:not(#series-style)'), bytes('script:not([type])')];
      });
      console.log(`# ${kind}: page ${size('index.html')} bytes, ${elements} elements with all links, style ${style}, script ${script}, summary ${size('summary.md')}, JSON ${size('report.json')}`);
      assert.ok(elements < 50_000, `${elements} elements`);
      assert.ok(style <= 12 * 1024, `${style} bytes of style`);
      assert.ok(script <= 25 * 1024, `${script} bytes of script`);
      await page.context().close();
    });

    test('paints within half a second', async () => {
      // The best of several loads: other processes only delay them.
      const paints = [];
      for (let load = 0; load < 5; load += 1) {
        const page = await open(browser, report);
        paints.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime));
        await page.context().close();
      }
      console.log(`# ${kind}: first contentful paint after ${paints.map(Math.round).join(', ')} ms`);
      assert.ok(Math.min(...paints) < 500, `${paints} ms`);
    });

    for (const width of [375, 768, 1400]) {
      test(`needs no horizontal scrolling at ${width} px, in any section`, async () => {
        const page = await open(browser, report, { width, height: 800 });
        const wide = () => page.evaluate(() => {
          const limit = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= limit) return [];
          return [...document.querySelectorAll('body *')]
            .filter((it) => it.getBoundingClientRect().right > limit + 0.5 && !it.parentNode.closest('.scroll'))
            .slice(0, 5).map((it) => `${it.tagName} ${it.className} ${it.textContent.slice(0, 60)}`);
        });
        assert.deepEqual(await wide(), [], 'as it is opened');
        await openAll(page);
        assert.deepEqual(await wide(), [], 'with everything open');
        await page.context().close();
      });
    }

    for (const colorScheme of ['light', 'dark']) {
      test(`has no axe-core violation above minor in ${colorScheme} colours, with everything open`, async () => {
        const page = await open(browser, report, { colorScheme });
        await openAll(page);
        assert.deepEqual(await violations(page), []);
        await page.context().close();
      });
    }

    test('prints on less than ten A4 pages', async () => {
      const page = await open(browser, report);
      const pages = pagesOf(await page.pdf({ format: 'A4', preferCSSPageSize: true }));
      console.log(`# ${kind}: ${pages} A4 pages`);
      assert.ok(pages < 10, `${pages} pages`);
      await page.emulateMedia({ media: 'print' });
      const heads = await page.locator('#summary-table thead th').allInnerTexts();
      assert.ok(heads.every((text) => text.trim()), 'the columns have titles on paper');
      await page.context().close();
    });

    test('has all content without JavaScript', async () => {
      const page = await open(browser, report, { javaScriptEnabled: false });
      const data = dataOf(report);
      const servers = data.servers.length;
      assert.equal(await page.locator('#summary-table tbody tr').count(), servers);
      assert.equal(await page.locator('#servers details').count(), servers);
      assert.equal(await page.locator('#matrix-table thead th').count(), data.servers.filter((it) => !it.not_run).length + 1);
      for (const id of SECTIONS) assert.ok(await page.locator(`[id="${id}"]`).innerText(), id);
      const cases = await page.locator('#matrix-table tr[data-case]').count();
      assert.equal(cases, new Set(data.servers.flatMap((it) => it.cases.map((that) => that.name))).size);
      assert.deepEqual(page.noise, []);
      await page.context().close();
    });

    test('opens the details of a server by its address', async () => {
      const name = dataOf(report).servers[1].name;
      const page = await open(browser, report, { fragment: name });
      const details = page.locator('details.server', { has: page.locator(`[id="${name}"]`) });
      assert.equal(await details.getAttribute('open'), '');
      assert.ok(await details.getByText('tested').first().isVisible());
      await page.context().close();
    });
  });
}
