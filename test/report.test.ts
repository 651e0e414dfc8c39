import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { demoReport } from '../controller/cli/demo.ts';
import { formatTrials } from '../controller/cli/get.ts';
import { buildReport } from '../controller/report/build-report.ts';
import type { ChartSpec } from '../controller/report/chart-spec.ts';
import { ecdfOf, overlayOf, phasesOf, sensitivityOf, timelineOf } from '../controller/report/charts.ts';
import { type Drawing, drawingBuilder } from '../controller/report/drawing.ts';
import { renderCsv } from '../controller/report/render-csv.ts';
import { type PageParts, renderHtml } from '../controller/report/render-html.ts';
import { renderJson } from '../controller/report/render-json.ts';
import { armCells, renderMarkdown } from '../controller/report/render-markdown.ts';
import { armsOf, type Report } from '../controller/report/report.ts';
import { resourceKinds } from '../controller/resource-kinds.ts';
import { openSampleFile, readSampleFile } from '../controller/workload/sample-file.ts';
import type { FaultSchedule } from '../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../crds/status.ts';
import type { TrialRecord } from '../crds/trial-record.ts';
import {
  type Correctness,
  errorClasses,
  findingClasses,
  noFindings,
  type Sample,
} from '../state-machines/recovery/sample.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import { runController } from './support/controller-process.ts';
import { packageRoot } from './support/examples.ts';
import { saveCampaign } from './support/saved-campaign.ts';
import { exampleFaults, startMs, syntheticCampaign, syntheticRows } from './support/synthetic-campaign.ts';

const effMs = startMs;
const figure = (ms: number, errorMs = 1_400) => ({ ms, errorMs });
const instant = (ms: number) => ({ atMs: effMs + ms, source: 'samples', resolutionMs: 250 });

/** A trial of `crash` that recovered after `recoveryMs`. */
const trial = (number: number, recoveryMs: number, more: Partial<TrialRecord> = {}): TrialRecord => ({
  ...{ number, fault: 'crash', kind: 'killContainer', runId: `run-${number}`, seed: 41 + number },
  ...{
    targets: ['node6/streaming_spark-worker-3'],
    outcome: 'Healed',
    startedAt: '2026-11-27T01:59:00.000Z',
  },
  instants: {
    eff: instant(0),
    det: instant(500),
    first: instant(9_000),
    rec: instant(recoveryMs),
    red: instant(40_000),
  },
  figures: { stall: figure(15_200), detection: figure(500, 300), recovery: figure(recoveryMs) },
  recoveryBand: [1.1, 1.25, 1.5].map((factor) => ({ factor, thetaMs: 2_400 * factor, ms: recoveryMs })),
  verdict: { recovery: 'Recovered', correctness: 'Correct' },
  correctness: { wrong: 0, storedTwice: 0, reemitted: 4 },
  ...more,
});
const verdict = (
  recovery: NonNullable<TrialRecord['verdict']>['recovery'],
  correctness: NonNullable<TrialRecord['verdict']>['correctness'] = 'Correct',
) => ({ verdict: { recovery, correctness } });
const late = { ...verdict('NotRecovered'), figures: { stall: figure(590_000) }, recoveryBand: [] };
const invalid = { ...verdict('Invalid', 'Unknown'), message: 'the observer gave no rows for 11 s' };
const control = (number: number, recovery: 'Masked' | 'Recovered') =>
  trial(number, 0, { fault: 'control', kind: 'none', ...verdict(recovery) });

const schedule = (name = 'worker-crash', spec: object = {}): FaultSchedule =>
  resourceKinds.FaultSchedule.parse({
    ...{ apiVersion: 'spark-failures.io/v1alpha1', kind: 'FaultSchedule', metadata: { name } },
    spec: {
      ...{ clusterRef: { name: 'six-nodes' }, when: { now: {} }, preset: 'standard' },
      faults: [
        {
          name: 'crash',
          target: { services: { matchLabels: { role: 'spark-worker' } }, pick: 'one' },
          killContainer: {},
        },
      ],
      ...spec,
    },
  });
const calibration = {
  ...{ thetaMs: 3_000, p99Ms: 2_000, leastMs: 800, commitGapMs: 1_000, progressGapMs: 1_000 },
  durationMs: 299_750,
};
const status = (trials: readonly TrialRecord[]): ScheduleStatus => ({
  ...{ uid: 'uid-1', observedGeneration: 1, conditions: [], seed: 42, calibration, trials: [...trials] },
});
const origin = { writtenAt: '2026-11-27T03:00:00.000Z', versions: { 'spark-failures': '0.1.0' }, images: {} };
const reportOf = (trials: readonly TrialRecord[], spec: object = {}): Report =>
  buildReport([{ schedule: schedule('worker-crash', spec), status: status(trials) }], origin);
const headline = (...trials: readonly TrialRecord[]) => reportOf(trials).campaigns[0]!.arms[0]!.headline;
const notes = (trials: readonly TrialRecord[], spec: object = {}) =>
  reportOf(trials, spec).campaigns[0]!.notes;
const parts: PageParts = {
  ...{ script: '', style: '', drawings: new Map(), attached: new Map(), attachLimit: '' },
};

/** Six trials and more of them bear a median. */
const many = [31_000, 20_000, 22_000, 24_000, 26_000, 28_000].map((ms, index) => trial(index + 1, ms));

t.test('one sentence tells of a fault what came of it, with bounds and beside its correctness', async (t) => {
  const of = 'killContainer of spark-worker: ';
  t.equal(
    headline(trial(1, 21_300)),
    `${of}recovered in 21.3 s ± 1.4 s; stall 15.2 s ± 1.4 s; results correct`,
  );
  t.equal(
    headline(trial(1, 21_300), trial(2, 18_000), trial(3, 40_000)),
    `${of}recovered in 3 of 3 trials after 18.0 to 40.0 s ± 1.4 s; stall 15.2 to 15.2 s ± 1.4 s; results correct in all`,
  );
  t.equal(
    headline(...many),
    `${of}recovered in 6 of 6 trials after a median of 25.0 s [20.0 to 31.0] ± 1.4 s; ` +
      'stall 15.2 s [15.2 to 15.2] ± 1.4 s; results correct in all',
  );
  t.equal(
    headline(...many, trial(7, 0, late)),
    `${of}recovered in 6 of 7 trials after a median of 26.0 s [20.0 to not in time] ± 1.4 s, ` +
      'not recovered within 600 s in 1; stall 15.2 s [15.2 to not in time] ± 1.4 s; results correct in all',
  );
  t.equal(
    headline(
      trial(1, 21_300, { ...verdict('Recovered', 'Incorrect'), correctness: { wrong: 3, storedTwice: 1 } }),
    ),
    `${of}recovered in 21.3 s ± 1.4 s; stall 15.2 s ± 1.4 s; results incorrect: 1 stored twice, 3 wrong`,
  );
  t.equal(
    headline(trial(1, 21_300, verdict('RecoveredDegraded', 'Unknown'))),
    `${of}recovered in 21.3 s ± 1.4 s, redundancy is not back; stall 15.2 s ± 1.4 s; correctness of the results unknown`,
  );
  t.equal(
    headline(trial(1, 0, verdict('Masked')), trial(2, 21_300), trial(3, 22_800)),
    `${of}recovered in 2 of 3 trials after 21.3 to 22.8 s ± 1.4 s, masked in 1; stall 15.2 to 15.2 s ± 1.4 s; results correct in all`,
    'what was masked took no time, and is no recovery',
  );
  t.equal(
    headline(trial(1, 0, { ...verdict('Masked'), smallestStallMs: 2_900 })),
    `${of}masked: no violation; a stall of 2.9 s would have been seen; results correct`,
  );
  t.equal(
    headline(trial(1, 0, late)),
    `${of}not recovered within 600 s; stall that had not ended when the watch did; results correct`,
  );
  t.equal(
    headline(trial(1, 21_300, invalid)),
    `${of}no valid trial of 1, so no figure (the observer gave no rows for 11 s)`,
  );
  t.equal(headline(), `${of}no trial yet`);
});

t.test('every class of error is named, whatever the oracle found', async (t) => {
  t.same(findingClasses, Object.keys(noFindings));
  t.same(
    findingClasses.filter((name) => !errorClasses.includes(name)),
    ['reemitted', 'unjudged'],
  );
  const [head = ''] = renderCsv(reportOf([])).split('\r\n');
  for (const name of findingClasses) {
    const column = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    t.ok(head.split(',').includes(column), column);
  }
  for (const name of errorClasses) {
    const found = { ...verdict('Recovered', 'Incorrect'), correctness: { ...noFindings, [name]: 7 } };
    t.match(headline(trial(1, 21_300, found)), /results incorrect: 7 \w+/, name);
    t.match(renderMarkdown(reportOf([trial(1, 21_300, found)])), /\| 7 [a-z ]+ \|/, name);
  }
  t.match(
    headline(trial(1, 21_300, verdict('Recovered', 'Incorrect'))),
    /results incorrect$/,
    'a record of a class that is not known here',
  );
});

t.test('a target is told as the manifest chooses it', async (t) => {
  const deed = (target: object, kind: object) =>
    reportOf([], { faults: [{ name: 'crash', target, ...kind }] }).campaigns[0]!.arms[0]!.deed;
  const kill = { killContainer: {} };
  t.equal(deed({ services: { matchNames: ['kafka'] } }, kill), 'killContainer of kafka');
  t.equal(
    deed({ services: { matchNames: ['zookeeper'] }, pick: 'minority' }, kill),
    'killContainer of minority zookeeper',
  );
  t.equal(
    deed({ nodes: { matchLabels: { place: 'compute' } }, count: 2 }, { rebootNode: {} }),
    'rebootNode of 2 compute nodes',
  );
});

t.test('an Invalid trial is named with its reason, and no format gives it a number', async (t) => {
  const seen = { noticed: [{ ...instant(77_777), source: 'kafka' }], excursions: 77_777 };
  const lost = { ...invalid, ...seen, redundancy: 'lost' as const };
  const report = reportOf([trial(1, 77_777, lost), trial(2, 21_300)]);
  for (const text of [
    renderCsv(report),
    renderMarkdown(report),
    renderHtml(report, parts),
    JSON.stringify(renderJson(report)),
  ]) {
    t.ok(text.includes('the observer gave no rows for 11 s'));
    t.notOk(/77[.]?[78]|not in time|lost|77777/.test(text.replaceAll(/data:[^"]*/g, '')));
  }
  t.notMatch(formatTrials([{ schedule: 's', ...trial(1, 0, { ...lost, figures: {} }) }]), 'not in time');
  t.equal(report.campaigns[0]!.arms[0]!.valid, 1);
});

t.test('a censored recovery is later than any, and has no number', async (t) => {
  const report = reportOf([...many, trial(7, 0, late)]);
  const { recovery, stall } = report.campaigns[0]!.arms[0]!.figures;
  t.same(recovery.points.at(-1), { trial: 7, ms: null, errorMs: 0 });
  t.same(stall.points.at(-1)?.ms, null, 'what never came again was still stalled');
  t.same(recovery.median, { ms: 26_000, lowMs: 20_000, highMs: null, coverage: 1 - 2 * 0.5 ** 7 });
  const line = renderCsv(report).split('\r\n')[7]!.split(',');
  const columns = renderCsv(report).split('\r\n')[0]!.split(',');
  t.equal(line[columns.indexOf('recovery_verdict')], 'NotRecovered');
  for (const name of ['recovery_ms', 'stall_ms', 'stall_error_ms'])
    t.equal(line[columns.indexOf(name)], '', name);
  const lost = { schedule: 's', ...trial(8, 0, { ...late, redundancy: 'lost' }) };
  t.match(formatTrials([lost]), / NotRecovered, Correct +- +not in time +not in time +not in time$/);
  t.match(
    formatTrials([{ ...lost, ...trial(8, 21_300), redundancy: 'kept' }]),
    / 0\.5 s ± 0\.3 s +15\.2 s ± 1\.4 s +21\.3 s ± 1\.4 s +-$/,
  );
  t.match(renderHtml(report, parts), /<i class="dot late"[^>]*title="trial 7: not in time"/);
});

t.test('what was not in time has no number, for each figure is watched for another time', async (t) => {
  const lost = { ...verdict('RecoveredDegraded'), redundancy: 'lost' as const };
  const page = renderHtml(reportOf([trial(1, 21_300, lost)]), parts);
  t.notMatch(page, /(>|&gt;) 600/);
  t.match(page, /<span class="tick late"[^>]*>not in time</);
});

t.test('the commit that a schedule ran with is told, once', async (t) => {
  const source = { revision: 'main@sha1:1f0c', message: 'kill a worker' };
  const trials = many.slice(0, 2).map((each) => ({ ...each, source }));
  t.same(
    notes(trials).filter((note) => note.startsWith('Run with')),
    ['Run with main@sha1:1f0c: kill a worker'],
  );
  t.match(renderMarkdown(reportOf(trials)), /Run with main@sha1:1f0c: kill a worker/);
  t.match(renderCsv(reportOf(trials)), /,revision,.*\r\n.*,main@sha1:1f0c,/);
});

t.test('below six valid trials there are points only', async (t) => {
  const arm = reportOf(many.slice(0, 5)).campaigns[0]!.arms[0]!;
  t.equal(arm.figures.recovery.median, undefined);
  t.same(
    arm.figures.recovery.points.map(({ ms }) => ms),
    [31_000, 20_000, 22_000, 24_000, 26_000],
  );
  t.match(renderMarkdown(reportOf(many.slice(0, 5))), /20\.0, 22\.0, 24\.0, 26\.0, 31\.0 s ± 1\.4 s/);
  t.match(notes(many.slice(0, 5)).join(), /fewer than 6 valid trials has points only/);
});

t.test('a figure that only some trials have says of how many it speaks', async (t) => {
  const { detection: _, ...unnoticed } = trial(1, 1).figures;
  const ten = Array.from({ length: 10 }, (_each, index) =>
    trial(index + 1, 20_000, index < 4 ? { figures: unnoticed } : {}),
  );
  const told = '0\\.5 s \\[0\\.5 to 0\\.5\\] ± 0\\.3 s';
  const cell = (trials: readonly TrialRecord[]) => armCells(reportOf(trials).campaigns[0]!.arms[0]!)[5]!;
  t.match(cell(ten), new RegExp(`^${told} \\(6 of 10 trials\\)$`));
  t.match(cell(ten.slice(4)), new RegExp(`^${told}$`));
  t.equal(cell(ten.slice(2, 6)), '0.5, 0.5 s ± 0.3 s (2 of 4 trials)');
  t.equal(cell(ten.slice(2, 5)), '0.5 s ± 0.3 s (1 of 3 trials)');
  const page = renderHtml(reportOf(ten), parts);
  t.match(page, /\[0\.5 to 0\.5\] \(6 of 10 trials\)<\/small>/, 'in the table of all faults');
  t.match(page, />0\.5 s \[0\.5 to 0\.5\] ± 0\.3 s \(6 of 10 trials\)</, 'beside its points');
  t.match(renderHtml(reportOf(ten.slice(0, 9)), parts), />5 points \(5 of 9 trials\)</);
});

t.test('a campaign says what limits its claim', async (t) => {
  t.match(notes([trial(1, 1, invalid)])[0], /has no valid trial: nothing is claimed/);
  t.match(notes([])[0], /has no valid trial/);
  for (const text of [renderMarkdown, (it: Report) => renderHtml(it, parts)])
    t.match(text(reportOf([trial(1, 1, invalid)])), /no valid trial/);
  t.match(
    notes(many, { calibration: '15s' }).join(),
    /^(?!.*calibrated)/,
    'it is measured by what was calibrated',
  );
  const smoke = { schedule: schedule('s', { preset: 'smoke' }), status: status(many) };
  const [short] = buildReport(
    [{ ...smoke, status: { ...smoke.status, calibration: { ...calibration, durationMs: 14_800 } } }],
    origin,
  ).campaigns;
  t.match(
    short!.notes.join(),
    /Preset smoke calibrated for 14\.8 s, shorter than the 300 s that a claim needs/,
  );
  t.match(short!.notes.join(), /gate before each fault took 10 s, not the 120 s/);
  t.match(notes(many).join(), /No control without a fault was run/);
  const [edited] = buildReport(
    [{ schedule: schedule(), status: status(many), isEdited: true }],
    origin,
  ).campaigns;
  t.match(edited!.notes.join(), /has been edited/);
});

t.test('a checkpoint that is a folder of the host is marked', async (t) => {
  const { cluster, ...campaign } = syntheticCampaign('c', exampleFaults.slice(3));
  t.match(
    buildReport([{ ...campaign, cluster }], origin).campaigns[0]!.notes.join(),
    /Checkpoint not isolated/,
  );
  const { checkpoint, ...spec } = cluster.spec;
  const isolated = buildReport([{ ...campaign, cluster: { ...cluster, spec } }], origin).campaigns[0]!;
  t.notMatch(isolated.notes.join(), /heckpoint/);
  t.match(buildReport([campaign], origin).campaigns[0]!.notes.join(), /manifest is not known here/);
});

t.test('controls that are late forbid to claim a recovery time, and are no trials of a fault', async (t) => {
  const clean = reportOf([...many, control(7, 'Masked')]).campaigns[0]!;
  t.same(clean.controls, { allowed: true, violated: 0, judged: 1 });
  t.equal(clean.arms.length, 1);
  t.equal(clean.arms[0]!.trials.length, 6);
  const { arms, notes: told, controls } = reportOf([...many, control(7, 'Recovered')]).campaigns[0]!;
  t.same(controls, { allowed: false, violated: 1, judged: 1 });
  t.equal(arms[0]!.figures.recovery.median, undefined);
  t.ok(arms[0]!.figures.detection.median, 'the system notices as it does');
  t.match(arms[0]!.headline, /no recovery time is claimed/);
  t.match(told[0], /1 of 1 controls without a fault showed a violation/);
});

t.test(
  'the same fault in two schedules is compared by the ratio of medians, adjusted for all comparisons',
  async (t) => {
    const settings = { fast: { timeout: '10s', rate: '2000' }, defaults: { timeout: '120s', rate: '2000' } };
    const input = (name: keyof typeof settings, factor: number) => ({
      schedule: schedule(name),
      status: status(
        many.map((one) => ({
          ...trial(one.number, factor * one.figures.recovery!.ms),
          ...{ samples: `${name}.ndjson`, settings: settings[name] },
        })),
      ),
    });
    const report = buildReport([input('defaults', 3), input('fast', 1)], origin);
    t.match(report.comparisons, [{ first: 'defaults/crash', second: 'fast/crash', ratio: 1 / 3 }]);
    t.equal(report.comparisons[0]!.pValue, report.comparisons[0]!.adjusted);
    const curves = ecdfOf(report.campaigns.flatMap(({ arms }) => arms))!.panels[0]!.lines;
    t.same(
      curves.map(({ label }) => label),
      ['defaults/crash', 'fast/crash'],
    );
    const page = renderHtml(report, parts);
    for (const id of ['comparison', 'recovery', 'phases', 'data']) {
      const [, text = ''] = page.split(`<section id="${id}">`);
      for (const name of ['defaults', 'fast'])
        t.match(text.split('</section>')[0], new RegExp(`>${name}(/crash|<| \\d)`), `${id}: ${name}`);
    }
    t.match(page, /<th scope="row">timeout<\/th><td>120s<\/td><td>10s<\/td>/);
    const [, compared = ''] = renderMarkdown(report).split('## Compared');
    t.match(compared, /fast\/crash takes 0\.33 times the median recovery of defaults\/crash; p = 0\.00\d by/);
    t.match(compared, /\| defaults\/crash \|.*\n\| fast\/crash \|/, 'the same fault side by side');
    t.match(compared, /\| Setting \| defaults \| fast \|\n.*\n\| timeout \| 120s \| 10s \|\n/);
    t.notMatch(compared, /rate/, 'what is the same is no difference');
    const few = buildReport(
      [input('defaults', 3), { ...input('fast', 1), status: status([trial(1, 5)]) }],
      origin,
    );
    t.same(few.comparisons, [{ first: 'defaults/crash', second: 'fast/crash' }]);
    t.match(renderMarkdown(few), /No ratio for fast\/crash: it needs six valid trials of each/);
  },
);

t.test('faults of several schedules stand by fault, and in a schedule in its own order', async (t) => {
  const both = { faults: ['b', 'a'].map((name) => ({ ...schedule().spec.faults[0]!, name })) };
  const inputs = [
    { schedule: schedule('one', both), status: status([]) },
    { schedule: schedule('two', { faults: [...both.faults].reverse() }), status: status([]) },
  ];
  const report = buildReport(inputs, origin);
  t.same(
    armsOf(report).map(({ id }) => id),
    ['one/b', 'two/b', 'one/a', 'two/a'],
  );
  t.match(renderMarkdown(report), /The same settings were in force in all of them/);
});

const hostile = '</script><img src=x onerror=alert(1)>"\'`|\u2028 https://evil.example/';

t.test('names and messages from anywhere end no cell, no element and no script', async (t) => {
  const report = reportOf([
    trial(1, 21_300, { fault: hostile, targets: [hostile], message: `a\r\n${hostile}` }),
  ]);
  const page = renderHtml(report, parts);
  t.notMatch(page, /<img/);
  t.equal(page.split('</script>').length - 1, 3, 'the three scripts of the page end, and nothing else');
  t.notOk(page.slice(page.indexOf('<script')).includes('\u2028'));
  const json = /<script type="application\/json" id="report">(.*?)<\/script>/s.exec(page)![1]!;
  t.same(JSON.parse(json), JSON.parse(JSON.stringify(renderJson(report))));
  const line = renderMarkdown(report)
    .split('\n')
    .find((text) => text.startsWith('| 1 |'))!;
  t.equal(line.replaceAll('\\|', '').split('|').length, 12);
  t.notMatch(line, /<img/);
});

t.test(
  'the page asks nobody: no address but within data, and a policy that forbids connections',
  async (t) => {
    const page = renderHtml(reportOf([trial(1, 21_300)]), parts);
    const addresses = [...page.matchAll(/\b(?:src|href|action|url)\s*[=(]\s*["']?([^"')\s>]+)/g)].map(
      ([, address]) => address!,
    );
    t.ok(addresses.length > 0);
    t.same(
      addresses.filter((address) => !/^(data:|#)/.test(address)),
      [],
    );
    t.match(
      page,
      /content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:/,
    );
    for (const id of [
      'summary',
      'comparison',
      'recovery',
      'phases',
      'faults',
      'trials',
      'settings',
      'data',
      'words',
    ])
      t.equal(page.split(`<section id="${id}">`).length, 2, id);
  },
);

t.test('CSV keeps what is in a cell: quotes, commas and line breaks are quoted', async (t) => {
  const text = renderCsv(reportOf([trial(1, 21_300, { message: 'a "b", c\r\nd', targets: ['x', 'y'] })]));
  const [head = '', ...rest] = text.split(/\r\n(?=worker-crash)/);
  t.match(rest.join(), /,"a ""b"", c\r\nd",/);
  t.match(rest.join(), /,x y,/);
  t.match(rest.join(), /\r\n$/);
  t.match(
    head,
    /^schedule,trial,fault,kind,.*recovery_ms,recovery_error_ms,.*,message,rows_offset_ms,samples$/,
  );
});

const still = { stallMs: 0, speed: 2 };
const drawn = (rows: Iterable<Sample>, most = 1_000): Drawing => {
  const builder = drawingBuilder(effMs - 10_000, most);
  for (const row of rows) builder.add(row);
  return builder.build(effMs);
};

t.test('a drawing of few rows has each of them, in seconds since t_eff', async (t) => {
  const rows = [...syntheticRows({ stallMs: 8_000, speed: 3 }, seededRandom(1), [-10_000, 20_000], effMs)];
  const drawing = drawn(rows);
  t.same(
    drawing.x,
    rows.map(({ atMs }) => (atMs - effMs) / 1_000),
  );
  t.same(
    drawing.visible,
    rows.map(({ atMs, visibleMs }) => Number(((atMs - visibleMs!) / 1_000).toFixed(2))),
  );
  t.equal(drawing.rows, rows.length);
  const rate = drawing.offered.filter((value) => value !== null);
  t.same([...new Set(rate)], [2_000], 'two records a millisecond');
  const at = drawing.x.indexOf(8);
  t.equal(
    drawing.lag[at],
    2 * (rows[at]!.atMs - rows[at]!.committedMs!),
    'all that was due since the frontier',
  );
  t.equal(drawing.lag[0], null, 'nobody knows what was due before the rows began');
});

t.test('a drawing of many rows is bounded and loses no peak', async () => {
  const random = fc.record({
    seed: fc.nat(1_000),
    most: fc.integer({ min: 2, max: 40 }),
    stallMs: fc.integer({ min: 0, max: 30_000 }),
  });
  fc.assert(
    fc.property(random, ({ seed, most, stallMs }) => {
      const rows = [...syntheticRows({ stallMs, speed: 3 }, seededRandom(seed), [-10_000, 60_000], effMs)];
      const { x, visible } = drawn(rows, most);
      const ages = rows.map(({ atMs, visibleMs }) => Number(((atMs - visibleMs!) / 1_000).toFixed(2)));
      const seen = visible.map((age) => age!);
      return (
        x.length <= 2 * most &&
        x.every((at, index) => index === 0 || at > x[index - 1]!) &&
        Math.max(...seen) === Math.max(...ages) &&
        Math.min(...seen) === Math.min(...ages)
      );
    }),
    { numRuns: 50 },
  );
});

t.test('no line crosses a hole, and rows that go back in time are counted, not drawn', async (t) => {
  const holed = drawn(
    syntheticRows({ ...still, silenceMs: [2_000, 9_000] }, seededRandom(1), [-1_000, 12_000], effMs),
  );
  const gap = holed.x.findIndex((at) => at > 2 && at < 9);
  t.same([holed.x[gap], holed.visible[gap], holed.workers[gap]], [5.5, null, null]);
  const rows = [...syntheticRows(still, seededRandom(1), [0, 5_000], effMs)];
  const stepped = drawn([...rows, ...rows.slice(0, 3), { ...rows[0]!, atMs: effMs + 6_000 }]);
  t.equal(stepped.backwards, 3);
  t.same(stepped.x.at(-1), 6);
});

t.test('windows show the gravest class to which something was added in them', async (t) => {
  const rows = [
    ...syntheticRows(
      { stallMs: 1_000, speed: 3, wrong: 2, reemitted: 5 },
      seededRandom(1),
      [-5_000, 14_750],
      effMs,
    ),
  ];
  t.same(
    drawn(rows).checks.map(({ fromS, state }) => [fromS, state]),
    [
      [-5, 'ok'],
      [0, 'wrong'],
      [5, 'ok'],
      [10, 'ok'],
    ],
  );
  /** Of the window after t_eff, and of the one after that. */
  const states = (before: Partial<Correctness>, after: Partial<Correctness>) => {
    const more = rows.map((row) => ({
      ...row,
      correctness: { ...noFindings, ...before, ...(row.atMs > effMs && after) },
    }));
    return drawn(more)
      .checks.slice(1, 3)
      .map(({ state }) => state);
  };
  for (const name of errorClasses) t.match(states({}, { [name]: 1 })[0], /^(wrong|lost|short)$/, name);
  t.same(
    [{ storedTwice: 1 }, { missingWindows: 1 }, { reemitted: 1 }].map((found) => states({}, found)[0]),
    ['lost', 'short', 'reemitted'],
  );
  t.same(states({}, { unjudged: 1 }), ['ok', 'ok']);
  t.same(
    states({ shortWindows: 1 }, {}),
    ['ok', 'ok'],
    'what was given up before says nothing of this trial',
  );
  t.same(states({}, { shortWindows: 1 }), ['short', 'ok']);
});

t.test('the time from t_eff on is cut into pieces without a gap', async (t) => {
  t.same(phasesOf(trial(1, 21_000)), [
    { name: 'detection', fromS: 0, toS: 0.5 },
    { name: 'stall', fromS: 0.5, toS: 9 },
    { name: 'catch-up', fromS: 9, toS: 21 },
    { name: 'redundancy', fromS: 21, toS: 40 },
  ]);
  const early = { eff: instant(0), det: instant(10_000), first: instant(9_000), rec: instant(12_000) };
  t.same(
    phasesOf(trial(1, 12_000, { instants: early })).map(({ name }) => name),
    ['detection', 'catch-up'],
    'it noticed only after results came again',
  );
});

t.test('a timeline has every panel, and marks what happened where it did', async (t) => {
  const rows = syntheticRows({ stallMs: 8_000, speed: 3 }, seededRandom(1), [-60_000, 50_000], effMs);
  const spec = timelineOf(
    trial(1, 21_000, { instants: { ...trial(1, 21_000).instants, end: instant(5_000) } }),
    drawn(rows),
    calibration,
  );
  t.same(
    spec.panels.map(({ lines }) => lines.map(({ label }) => label)),
    [['F_visible', 'F_committed', 'F_acked'], ['acknowledged', 'offered'], ['lag'], ['workers', 'executors']],
  );
  t.same(spec.panels[0]!.levels, [
    { at: 3, label: 'theta' },
    { at: 2, label: 'baseline p99' },
  ]);
  t.same(spec.shades, [
    { from: 0, to: 5, tone: 'fault' },
    { from: 0, to: 21, tone: 'recovery' },
  ]);
  t.same(
    spec.ticks.map(({ at, label }) => [label, at]),
    [
      ['t_eff', 0],
      ['t_det', 0.5],
      ['t_end', 5],
      ['t_first', 9],
      ['t_rec', 21],
      ['t_red', 40],
    ],
  );
  for (const { lines } of spec.panels) for (const { values } of lines) t.equal(values.length, spec.x.length);
});

t.test(
  'an ECDF is a curve from six trials on, points below, and never reaches what was censored',
  async (t) => {
    const curve = (trials: readonly TrialRecord[]) => ecdfOf(reportOf(trials).campaigns[0]!.arms)!;
    const full = curve([...many, trial(7, 0, late)]);
    t.same(full.x.slice(0, 3), [0, 20, 22]);
    t.equal(full.panels[0]!.lines[0]!.look, 'steps');
    t.equal(full.panels[0]!.lines[0]!.values.at(-1), 0.857);
    const [few] = curve([trial(1, 10_000), trial(2, 30_000)]).panels[0]!.lines;
    t.equal(few!.look, 'points');
    t.same(few!.values, [null, 0.5, 1, null]);
    t.equal(
      ecdfOf(reportOf([trial(1, 10_000)]).campaigns[0]!.arms),
      undefined,
      'one trial has no distribution',
    );
  },
);

t.test('the band of thresholds is drawn for each valid trial', async (t) => {
  const band = {
    recoveryBand: [
      { factor: 1.1, thetaMs: 2_640, ms: 30_000 },
      { factor: 1.25, thetaMs: 3_000, ms: 21_000 },
      { factor: 1.5, thetaMs: 3_600 },
    ],
  };
  const spec = sensitivityOf(
    reportOf([trial(1, 21_000, band), trial(2, 1, invalid)]).campaigns[0]!.arms[0]!,
  )!;
  t.equal(spec.xLabel, 'threshold, seconds');
  t.same(spec.x, [2.64, 3, 3.6]);
  t.same(
    spec.panels[0]!.lines.map(({ values }) => values),
    [[30, 21, null]],
  );
  const ten = { recoveryBand: [2_000, 10_000].map((thetaMs) => ({ factor: 1.1, thetaMs, ms: 1_000 })) };
  t.same(sensitivityOf(reportOf([trial(1, 1, ten)]).campaigns[0]!.arms[0]!)!.x, [2, 10]);
});

t.test(
  'a median of thresholds is the one of the tables, and one that was not reached is later',
  async (t) => {
    const spread = many.map((one, index) =>
      trial(index + 1, one.figures.recovery!.ms, {
        recoveryBand: [
          { factor: 1.1, thetaMs: 2_640, ...(index < 2 && { ms: 40_000 }) },
          { factor: 1.25, thetaMs: 3_000, ms: one.figures.recovery!.ms },
        ],
      }),
    );
    const { median } = reportOf(spread).campaigns[0]!.arms[0]!.figures.recovery;
    const [panel] = sensitivityOf(reportOf(spread).campaigns[0]!.arms[0]!)!.panels;
    t.same(panel!.lines.at(-1), {
      ...{ label: 'median of trials', tone: 'strong', look: 'line', values: [null, median!.ms! / 1_000] },
    });
  },
);

const campaign = syntheticCampaign('lab-standard', exampleFaults);
const synthetic = buildReport([campaign], origin).campaigns[0]!;
const drawings = new Map(
  campaign.status.trials.map(({ runId, instants }) => {
    const builder = drawingBuilder(0, 400);
    for (const row of campaign.rows.get(runId)!) builder.add(row);
    return [runId, builder.build(instants.eff!.atMs)] as const;
  }),
);

t.test('the median of an overlay ends with the first trial of which nothing more is known', async (t) => {
  const arm = synthetic.arms.find(({ fault }) => fault === 'worker-killed')!;
  const { runId } = arm.trials[4]!;
  const { x: all, visible, ...rest } = drawings.get(runId)!;
  const short = all.filter((s) => s < 12);
  const cut = { ...rest, x: short, visible: visible.slice(0, short.length) };
  const { x, panels } = overlayOf(arm, new Map([...drawings, [runId, cut]]), calibration)!;
  const lines = panels[0]!.lines.slice(0, -1);
  const median = panels[0]!.lines.at(-1)!;
  t.equal(median.label, 'median of trials');
  t.same(
    median.values,
    x.map((s, index) => {
      const ages = lines.map(({ values }) => values[index]!).sort((a, b) => a - b);
      return s > short.at(-1)! ? null : Number(((ages[4]! + ages[5]!) / 2).toFixed(3));
    }),
  );
});

t.test('where no time of recovery is claimed no chart draws a median or a curve', async (t) => {
  const late = campaign.status.trials.map((one) =>
    one.kind === 'none' ? { ...one, ...verdict('Recovered') } : one,
  );
  const input = { ...campaign, status: { ...campaign.status, trials: late } };
  const { arms } = buildReport([input], origin).campaigns[0]!;
  for (const arm of arms) {
    for (const spec of [overlayOf(arm, drawings, calibration)!, sensitivityOf(arm)!])
      t.notOk(spec.panels[0]!.lines.some(({ label }) => label.includes('median')));
  }
  t.same([...new Set(ecdfOf(arms)!.panels[0]!.lines.map(({ look }) => look))], ['points']);
});

t.test(
  'the overlay holds every valid trial on one grid, and one that never came back does not squeeze it',
  async (t) => {
    const arm = synthetic.arms.find(({ fault }) => fault === 'broker-killed')!;
    const { x, panels } = overlayOf(arm, drawings, calibration)!;
    t.equal(panels[0]!.lines.length, 11, 'ten trials and their median');
    t.ok(x.at(-1)! < 100, 'seconds, though one was watched for 600');
    t.ok(panels[0]!.top! < 60);
    for (const { figures } of arm.trials.filter(({ verdict: it }) => it?.recovery === 'Recovered'))
      t.ok(figures.recovery!.ms / 1_000 < x.at(-1)!);
  },
);

t.test('the synthetic campaign has every character that a report has to show', async (t) => {
  t.same(
    synthetic.arms.map(({ fault, valid, verdicts }) => [fault, valid, verdicts]),
    [
      ['worker-killed', 10, { 'Recovered, Correct': 10 }],
      ['broker-killed', 10, { 'Recovered, Correct': 9, 'NotRecovered, Correct': 1 }],
      ['worker-silent', 6, { 'Recovered, Correct': 5, 'Recovered, Incorrect': 1 }],
      ['standby-paused', 6, { 'Masked, Correct': 6 }],
    ],
  );
  t.same(synthetic.controls, { allowed: true, violated: 0, judged: 7 });
});

t.test('rows that were written are read, and what is no row is left out', async (t) => {
  const dir = t.testdir({});
  const rows = [...syntheticRows(still, seededRandom(1), [0, 1_000], effMs)];
  const file = openSampleFile(dir, 'run-1');
  for (const row of rows) file.write(row);
  await file.close();
  const path = join(dir, file.path);
  const text = await readFile(path, 'utf8');
  writeFileSync(path, `${text}garbage\nnull\n{"atMs":"soon"}\n${JSON.stringify(rows[0]).slice(0, 40)}`);
  const read: Sample[] = [];
  let bytes = 0;
  for await (const row of readSampleFile(path, (chunk) => {
    bytes += chunk.length;
  }))
    read.push(row);
  t.same(read, rows);
  t.equal(bytes, (await readFile(path)).length);
  writeFileSync(`${path}.gz`, gzipSync(await readFile(path)));
  rmSync(path);
  const unpacked: Sample[] = [];
  for await (const row of readSampleFile(path)) unpacked.push(row);
  t.same(unpacked, rows, 'also from a file that somebody has gzipped');
  await t.rejects(
    async () => {
      for await (const row of readSampleFile(join(dir, 'none'))) t.fail(`${row.atMs}`);
    },
    { code: 'ENOENT' },
  );
});

t.test('the verb writes each format from a state directory alone, and says what is wrong', async (t) => {
  const dir = t.testdir({ log: '' });
  const manifest = await saveCampaign(
    syntheticCampaign('small', [{ ...exampleFaults[0]!, shapes: exampleFaults[0]!.shapes.slice(0, 2) }]),
    dir,
  );
  const run = (...args: string[]) =>
    runController(['report', '-f', manifest, '--state', dir, ...args], join(dir, 'log'));
  const out = join(dir, 'report.html');
  t.match(await run('--out', out), { code: 0, stdout: '', stderr: '' });
  const page = await readFile(out, 'utf8');
  const charts = JSON.parse(/id="charts">(.*?)<\/script>/s.exec(page)![1]!) as Record<string, ChartSpec>;
  t.same(Object.keys(charts).sort(), [
    'ecdf',
    'overlay small/worker-killed',
    'sensitivity small/worker-killed',
    'timeline small-1-worker-killed-1',
    'timeline small-1-worker-killed-2',
  ]);
  const [, packed = ''] =
    /download="small-1-worker-killed-1.ndjson.gz" href="data:application\/gzip;base64,([^"]+)"/.exec(page) ??
    [];
  t.equal(
    gunzipSync(Buffer.from(packed, 'base64')).toString(),
    await readFile(join(dir, 'samples', 'small-1-worker-killed-1.ndjson'), 'utf8'),
    'the attached rows are the file',
  );
  t.ok(page.includes('uPlot 1.6.32'), 'the script is in it');
  t.notMatch(page, packageRoot, 'a page that is shared tells nobody where it was made');
  t.match(await run('--no-raw', '--out', out), { code: 0, stdout: '', stderr: '' });
  t.notMatch(await readFile(out, 'utf8'), 'data:application/gzip');
  t.match((await run('-o', 'md')).stdout, /^## small\n/);
  t.equal((await run('-o', 'csv')).stdout.trimEnd().split('\r\n').length, 3);
  t.match(JSON.parse((await run('-o', 'json')).stdout), {
    campaigns: [{ arms: [{ fault: 'worker-killed', valid: 2 }] }],
  });
  t.match(await run('-o', 'yaml'), { code: 2, stderr: /this verb answers as html, md, csv, json/ });
  t.match(await runController(['get', 'trials', '--state', dir, '-o', 'html'], join(dir, 'log')), {
    code: 2,
    stderr: /table, json, yaml/,
  });
  t.match(await run('--state', join(dir, 'empty')), {
    code: 1,
    stdout: '',
    stderr: /nothing is known of small/,
  });
});

t.test("rows are drawn by the controller's clock, though another one stamped them", async (t) => {
  const dir = t.testdir({ log: '' });
  const one = [{ ...exampleFaults[0]!, shapes: exampleFaults[0]!.shapes.slice(0, 1) }];
  const small = syntheticCampaign('small', one, { rowsOffsetMs: 30_000 });
  const [record] = small.status.trials;
  t.match(record, { verdict: { recovery: 'Recovered' }, rowsOffsetMs: 30_000 });
  const manifest = await saveCampaign(small, dir);
  const { stdout } = await runController(['report', '-f', manifest, '--state', dir], join(dir, 'log'));
  const charts = JSON.parse(/id="charts">(.*?)<\/script>/s.exec(stdout)![1]!) as Record<string, ChartSpec>;
  const { x, ticks, panels } = charts['timeline small-1-worker-killed-1']!;
  const recS = ticks.find(({ label }) => label === 't_rec')!.at;
  const ageAt = (s: number) => panels[0]!.lines[0]!.values[x.findLastIndex((at) => at <= s)]!;
  const thetaS = record!.thetaMs! / 1_000;
  t.ok(ageAt(recS - 0.25) > thetaS, 'late until t_rec');
  t.ok(ageAt(recS) <= thetaS, 'and not from then on');
  t.equal(Math.ceil(x[0]!), -60, 'from the first row on');
});

t.test('rows that are gone cost their chart, not the report', async (t) => {
  const dir = t.testdir({ log: '' });
  const [first] = exampleFaults;
  const one = syntheticCampaign('small', [{ ...first!, shapes: first!.shapes.slice(0, 1) }]);
  const manifest = await saveCampaign({ ...one, rows: new Map() }, dir);
  const { code, stdout, stderr } = await runController(
    ['report', '-f', manifest, '--state', dir],
    join(dir, 'log'),
  );
  t.equal(code, 0);
  t.match(stderr, /rows of trial 1 cannot be read: ENOENT/);
  t.match(stdout, /Its raw rows are not there: nothing can be drawn/);
});

t.test(
  'the demo ends with a page below the state directory, and a report that fails does not fail it',
  async (t) => {
    const packageRoot = join(import.meta.dirname, '..', '..');
    const stateDir = join(t.testdir({}), 'state');
    const notes: string[] = [];
    const context = {
      ...{ version: '0.1.0', packageRoot, stateDir, cacheDir: '', output: 'table' as const },
      ...{ print: () => t.fail('the answer is the table'), note: (text: string) => void notes.push(text) },
      signal: AbortSignal.timeout(60_000),
    };
    t.equal(await demoReport(context), 'not written');
    t.match(notes, [/nothing is known of worker-crash/]);
    mkdirSync(stateDir, { recursive: true });
    await saveCampaign({ ...campaign, schedule: schedule('worker-crash') }, stateDir);
    t.equal(await demoReport(context), join(stateDir, 'report.html'));
    t.match(await readFile(join(stateDir, 'report.html'), 'utf8'), /<title>worker-crash: recovery report/);
    writeFileSync(join(stateDir, 'status', 'FaultSchedule', 'other.json'), '{');
    t.equal(
      await demoReport(context),
      join(stateDir, 'report.html'),
      'which a file of others does not forbid',
    );
    t.match(notes.at(-1), /other\.json: /);
    t.match(await demoReport({ ...context, packageRoot: join(stateDir, 'nowhere') }), /^not written: /);
  },
);

t.test('the campaigns that are kept beside their manifests can be read, rows and all', async (t) => {
  const folder = join(packageRoot, 'manifests', 'examples', 'campaigns');
  const dir = t.testdir({ log: '' });
  const files = ['quick-defaults.yaml', 'quick-fast.yaml'].flatMap((name) => ['-f', join(folder, name)]);
  const args = ['report', ...files, '--state', join(folder, 'evidence')];
  const told = await runController([...args, '-o', 'md'], join(dir, 'log'));
  t.match(told, { code: 0, stderr: '' });
  const withoutDate = (text: string) => text.replace(/^Written .*$/m, '').trim();
  t.equal(withoutDate(told.stdout), withoutDate(await readFile(join(folder, 'quick.md'), 'utf8')));
  const out = join(dir, 'page.html');
  t.match(await runController([...args, '--out', out], join(dir, 'log')), {
    code: 0,
    stdout: '',
    stderr: '',
  });
  const page = await readFile(out, 'utf8');
  t.equal(page.match(/data:application\/gzip/g)?.length, 52, 'with the rows of every trial');
  t.notMatch(page, packageRoot);
});
