import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { chromiumOrSkip, type Look, type OpenPage, openPage } from '../support/chromium.ts';
import { runController } from '../support/controller-process.ts';
import { saveCampaign } from '../support/saved-campaign.ts';
import { exampleFaults, syntheticCampaign } from '../support/synthetic-campaign.ts';

// The page in a real Chromium, as people see it. UPDATE_PICTURES=1 keeps what it looks like in test/report/.

t.setTimeout(600_000);
await chromiumOrSkip(t);

const dir = t.testdir({ state: {}, profile: {}, log: '' });
const state = join(dir, 'state');
const out = join(dir, 'report.html');
const manifest = await saveCampaign(syntheticCampaign('lab-standard', exampleFaults), state);
const written = await runController(
  ['report', '-f', manifest, '--state', state, '--out', out],
  join(dir, 'log'),
);
t.equal(written.code, 0, written.stderr);

const page = await openPage(pathToFileURL(out).href, join(dir, 'profile'));
t.teardown(() => page.close());

interface Canvas {
  readonly chart: string;
  /** Drawn pixels, and those in the colour of a line. */
  readonly drawn: number;
  readonly lines: number;
}

/** Looks at the pixels of every chart that is to be seen, panel by panel. */
const canvases = (of: OpenPage): Promise<readonly Canvas[]> =>
  of.evaluate(`(() => {
    const style = getComputedStyle(document.documentElement);
    const tones = ['visible', 'committed', 'acked', 'strong', 'late', 'spare'].map((tone) => {
      const hex = style.getPropertyValue('--' + tone).trim();
      return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    });
    return [...document.querySelectorAll('.plot canvas')].filter((it) => it.clientWidth > 0).map((it) => {
      const { data } = it.getContext('2d').getImageData(0, 0, it.width, it.height);
      let drawn = 0, lines = 0;
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] === 0) continue;
        drawn++;
        if (tones.some((tone) => tone.every((part, i) => Math.abs(part - data[at + i]) < 6))) lines++;
      }
      return { chart: it.closest('.plot').dataset.chart, drawn, lines };
    });
  })()`);

const looks: Readonly<Record<string, Look>> = {
  light: { width: 1120, height: 900, scheme: 'light' },
  dark: { width: 1120, height: 900, scheme: 'dark' },
  phone: { width: 360, height: 740, scheme: 'light', scale: 2 },
  'phone in the dark': { width: 360, height: 740, scheme: 'dark', scale: 2 },
};
/** One for all faults; of each fault a timeline of four panels, an overlay and a band. */
const panels = 1 + 4 * (4 + 1 + 1);

for (const [name, look] of Object.entries(looks)) {
  t.test(`every chart has drawn its lines: ${name}`, async (t) => {
    await page.look(look);
    const seen = await canvases(page);
    t.equal(seen.length, panels);
    for (const { chart, drawn, lines } of seen) {
      t.ok(drawn > 1_000, `${chart}: ${drawn} pixels`);
      t.ok(lines > 60, `${chart}: ${lines} pixels of lines`);
    }
    const width = await page.evaluate<number>('document.documentElement.scrollWidth');
    t.ok(width <= look.width, `nothing hangs over the edge: ${width} of ${look.width}`);
  });
}

t.test('another trial can be chosen, and is drawn then', async (t) => {
  await page.look(looks.light!);
  const chosen = await page.evaluate<string>(`(() => {
    const select = document.querySelector('select[data-trials]');
    select.selectedIndex = 0;
    select.dispatchEvent(new Event('change'));
    return select.value;
  })()`);
  await page.look(looks.light!);
  const seen = await canvases(page);
  t.equal(seen.length, panels, 'in the place of the one before');
  const own = seen.filter(({ chart }) => chart === `timeline ${chosen}`);
  t.equal(own.length, 4);
  for (const { lines } of own) t.ok(lines > 60);
});

t.test('arrow keys read values off a chart', async (t) => {
  const values = () =>
    page.evaluate<string>(`document.querySelector('[data-chart=ecdf] .u-legend').textContent`);
  t.match(await values(), /worker-killed[^\d]*broker-killed/, 'nothing is told before');
  await page.evaluate(`document.querySelector('[data-chart=ecdf]').focus()`);
  for (let times = 0; times < 30; times++) await page.press('ArrowRight');
  t.match(await values(), /at\D*\d.* s.*worker-killed\D*[01]/);
});

t.test('it can be printed, and looks as before afterwards', async (t) => {
  await page.look(looks.dark!);
  const ground = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
  const before = await ground();
  const pdf = await page.print();
  t.equal(pdf.subarray(0, 5).toString(), '%PDF-');
  t.ok(pdf.length > 100_000, `${pdf.length} bytes: charts are in it`);
  t.equal(await ground(), before);
});

t.test('pictures of it are small enough for a README', async (t) => {
  await page.evaluate('document.activeElement.blur()');
  const folder = join(import.meta.dirname, '..', '..', '..', 'test', 'report');
  for (const scheme of ['light', 'dark'] as const) {
    await page.look({ width: 1000, height: 900, scheme });
    for (const [name, selector] of [
      ['faults', '#recovery'],
      ['trial', '.trial:not([hidden])'],
    ] as const) {
      const picture = await page.screenshot(selector);
      t.ok(picture.length < 200_000, `${name}, ${scheme}: ${picture.length} bytes`);
      if (process.env.UPDATE_PICTURES) writeFileSync(join(folder, `${name}-${scheme}.png`), picture);
    }
  }
});

t.test('it has asked nobody, and had nothing to complain about', async (t) => {
  t.same(page.requests, []);
  t.same(page.complaints, []);
});
