// Writes screenshots of each section to the directory given as argument, for people to look at.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dataOf, failed, launch, open, reports } from './browser.mjs';

const LOOKS = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { width: 375, height: 800 },
};

const browser = await launch();
for (const [kind, report] of Object.entries(reports)) {
  const directory = join(process.argv[2], kind);
  mkdirSync(directory, { recursive: true });
  for (const [look, options] of Object.entries(LOOKS)) {
    const page = await open(browser, report, options);
    const save = (name) => page.screenshot({ path: join(directory, `${look}-${name}.png`) });
    await save('top');
    for (const section of await page.locator('main > section').evaluateAll((all) => all.map((it) => it.id))) {
      await page.evaluate((id) => document.getElementById(id).scrollIntoView(), section);
      await save(section);
    }
    const failure = failed(dataOf(report))[0];
    if (failure) {
      await page.evaluate((id) => { location.hash = id; }, `${failure.server}/${failure.name}`);
      await page.locator('dialog[open]').waitFor();
      await save('evidence');
    }
    await page.context().close();
  }
  const page = await open(browser, report);
  writeFileSync(join(directory, 'print.pdf'), await page.pdf({ format: 'A4', preferCSSPageSize: true }));
  await page.context().close();
}
await browser.close();
