import { stringify } from 'yaml';
import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { Instant, TrialRecord } from '../../crds/trial-record.ts';
import type { ChartSpec } from './chart-spec.ts';
import {
  type Drawings,
  ecdfOf,
  instantNames,
  overlayOf,
  secondsAt,
  sensitivityOf,
  timelineOf,
} from './charts.ts';
import { checkStrip, dotStrip, phaseBars, spreadCell } from './html-figures.ts';
import { Html, html, scriptJson } from './html-text.ts';
import { renderCsv } from './render-csv.ts';
import { renderJson } from './render-json.ts';
import {
  armCells,
  armHead,
  comparedFigures,
  describeComparisons,
  describeDiffering,
  differingTable,
  trialCells,
  trialHead,
} from './render-markdown.ts';
import { type Arm, armsOf, type Campaign, figureNames, type Report } from './report.ts';
import { formatBounded, plural, words } from './sentences.ts';

/** What the page is made of beside the report. */
export interface PageParts {
  /** The page's own script, with uPlot in it, and the style sheet of both. */
  readonly script: string;
  readonly style: string;
  readonly drawings: Drawings;
  /** Raw rows by run id, gzipped NDJSON; those that are missing are named with the reason. */
  readonly attached: ReadonlyMap<string, Uint8Array>;
  /** In words: what is too large to be attached. */
  readonly attachLimit: string;
}

/** One page that needs nothing else, no network least of all; its own policy forbids every connection. */
export function renderHtml(report: Report, parts: PageParts): string {
  const charts = new Map<string, ChartSpec>();
  const body = [
    headerOf(report),
    html`<main>${[
      section('summary', '', summaryOf(report)),
      section('comparison', 'All faults', comparisonOf(report)),
      section('recovery', 'Recovery time', recoveryOf(report, charts)),
      section('phases', 'Where the time went', phasesSection(report)),
      section('faults', 'Fault by fault', faultsOf(report, parts, charts)),
      section('trials', 'Every trial', trialsOf(report)),
      section('settings', 'Settings and versions', settingsOf(report)),
      section('data', 'Raw data', dataOf(report, parts)),
      section('words', 'Words', wordsSection()),
    ]}</main>`,
  ];
  const title = report.campaigns.map(({ schedule }) => schedule.metadata.name).join(', ');
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'">
<title>${title}: recovery report</title>
<link rel="icon" href="data:,">
<style>${new Html(parts.style.replaceAll('</', '<\\/'))}</style>
</head>
<body>
${body}
<script type="application/json" id="report">${scriptJson(renderJson(report))}</script>
<script type="application/json" id="charts">${scriptJson(Object.fromEntries(charts))}</script>
<script>${new Html(parts.script.replaceAll('</script', '<\\/script'))}</script>
</body>
</html>
`.text;
}

function section(id: string, title: string, content: Html): Html {
  return html`<section id="${id}">${title !== '' && html`<h2>${title}</h2>`}${content}</section>`;
}

function headerOf({ campaigns, versions, writtenAt }: Report): Html {
  const names = campaigns.map(({ schedule }) => schedule.metadata.name).join(' and ');
  const facts = campaigns.map(({ schedule, trials }) => {
    const { clusterRef, preset } = schedule.spec;
    return `${schedule.metadata.name}: cluster ${clusterRef.name}, preset ${preset}, ${plural(trials.length, 'trial')}`;
  });
  const days = [
    ...new Set(campaigns.flatMap(({ trials }) => trials.map(({ startedAt }) => startedAt.slice(0, 10)))),
  ];
  const ran = days.length > 0 && ` · ran ${days.length > 1 ? `${days[0]} to ${days.at(-1)}` : days[0]}`;
  return html`<header><p class="brand">spark-failures ${versions['spark-failures']} · recovery report</p><h1>${names}</h1><p class="facts">${facts.map(
    (fact) => html`<span>${fact}</span>`,
  )}<span>written ${writtenAt.slice(0, 16).replace('T', ' ')} UTC${ran}</span></p></header>`;
}

function summaryOf({ campaigns }: Report): Html {
  return html`${campaigns.map(
    ({ arms, notes, schedule }) =>
      html`${campaigns.length > 1 && html`<h2>${schedule.metadata.name}</h2>`}${arms.map(headlineCard)}${
        notes.length > 0 && html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`
      }`,
  )}`;
}

function headlineCard(arm: Arm): Html {
  const [deed, ...rest] = splitOnce(arm.headline, ': ');
  const isGood = (pair: string) => /^(Masked|Recovered), Correct$/.test(pair);
  const pairs = Object.entries(arm.verdicts);
  const tone = arm.valid === 0 ? 'none' : pairs.every(([pair]) => isGood(pair)) ? 'good' : 'bad';
  const badges = pairs.map(
    ([pair, count]) =>
      html`<span class="badge ${isGood(pair) ? 'good' : 'bad'}">${pair}${arm.valid > 1 && ` × ${count}`}</span>`,
  );
  return html`<article class="headline ${tone}"><h3>${deed} <small>${arm.fault}</small></h3><p>${rest}</p><p class="badges">${badges}${
    arm.valid === 0 && html`<span class="badge none">no valid trial</span>`
  }</p></article>`;
}

function splitOnce(text: string, by: string): readonly string[] {
  const at = text.indexOf(by);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + by.length)];
}

function table(head: readonly string[], rows: readonly (readonly (string | Html)[])[], label: string): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table><thead><tr>${head.map(
    (cell) => html`<th scope="col">${cell}</th>`,
  )}</tr></thead><tbody>${rows.map(
    (cells) =>
      html`<tr>${cells.map((cell, index) => (index === 0 ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`))}</tr>`,
  )}</tbody></table></div>`;
}

function comparisonOf(report: Report): Html {
  const { campaigns, comparisons } = report;
  const rows = armsOf(report).map((arm) => [
    arm.label,
    ...armCells(arm).slice(1, -comparedFigures.length),
    ...comparedFigures.map((name) => spreadCell(arm.figures[name])),
  ]);
  const [head, values] = differingTable(report);
  return html`${table(armHead, rows, 'All faults')}<p class="hint">From six valid trials on a figure is the median [with its order-statistic interval of 95 % or more]; below that, every point. ± is the largest bound of one trial's error. Back and correct: Masked or Recovered with correct results, with the 95 % Clopper-Pearson interval.</p>${
    campaigns.length > 1 &&
    html`<ul>${describeComparisons(comparisons).map((text) => html`<li>${text}</li>`)}</ul><p>${describeDiffering(report)}</p>${
      values.length > 0 && table(head, values, 'Settings that were not the same')
    }`
  }`;
}

function recoveryOf(report: Report, charts: Map<string, ChartSpec>): Html {
  const arms = armsOf(report);
  if (arms.every(({ figures }) => figures.recovery.points.length === 0))
    return html`<p class="empty">No valid trial, so there is no recovery time to show.</p>`;
  const rows = arms.map((arm) => ({ arm, name: arm.label, spread: arm.figures.recovery }));
  return html`${dotStrip(rows)}<p class="hint">Every valid trial: a dot with the bound of its error, a triangle where it was not recovered in time (no number), a cross where results were incorrect. The box is the interval of the median.</p>${chart(
    charts,
    'ecdf',
    'Share of valid trials that had recovered by a time',
    ecdfOf(arms),
  )}`;
}

function phasesSection(report: Report): Html {
  const arms = armsOf(report);
  if (arms.every(({ valid }) => valid === 0)) return html`<p class="empty">No valid trial.</p>`;
  return html`${phaseBars(arms)}<p class="hint">From t_eff: until the system noticed, until the first result after the stall, until recovered, and what redundancy took beyond that. One bar per valid trial; the number is its recovery time.</p>`;
}

function faultsOf(report: Report, parts: PageParts, charts: Map<string, ChartSpec>): Html {
  return html`${report.campaigns.flatMap((campaign) => campaign.arms.map((arm) => faultOf(arm, campaign, parts, charts)))}`;
}

function faultOf(arm: Arm, campaign: Campaign, parts: PageParts, charts: Map<string, ChartSpec>): Html {
  const { calibration } = campaign;
  const own = figureNames.filter((name) => arm.figures[name].points.length > 0);
  const rows = own.map((name) => ({
    arm,
    name: name === 'catchUp' ? 'catch-up' : words(name),
    spread: arm.figures[name],
  }));
  const overlay = arm.valid > 1 ? overlayOf(arm, parts.drawings, calibration) : undefined;
  return html`<article class="fault"><h3>${arm.deed} <small>${arm.id}</small></h3>${
    rows.length > 0 && dotStrip(rows)
  }${timelines(arm, campaign, parts, charts)}<div class="pair">${chart(
    charts,
    `overlay ${arm.id}`,
    'All valid trials, aligned at t_eff',
    overlay,
  )}${chart(charts, `sensitivity ${arm.id}`, 'Recovery time for other thresholds', sensitivityOf(arm))}</div></article>`;
}

/** All trials of a fault, of which one is seen at a time: at first the valid one of middling recovery. */
function timelines(arm: Arm, campaign: Campaign, parts: PageParts, charts: Map<string, ChartSpec>): Html {
  const { trials } = arm;
  if (trials.length === 0) return html`<p class="empty">No trial.</p>`;
  const byLength = [...arm.figures.recovery.points].sort((a, b) => (a.ms ?? Infinity) - (b.ms ?? Infinity));
  const first = byLength[Math.floor((byLength.length - 1) / 2)]?.trial ?? trials[0]!.number;
  const name = (trial: TrialRecord) => `trial ${trial.number}: ${verdictOf(trial)}`;
  const select = html`<label class="choice">Trial <select data-trials="${arm.id}">${trials.map(
    (trial) =>
      html`<option value="${trial.runId}"${trial.number === first && new Html(' selected')}>${name(trial)}</option>`,
  )}</select></label>`;
  return html`${trials.length > 1 && select}${trials.map(
    (trial) =>
      html`<div class="trial" data-arm="${arm.id}" data-trial="${trial.runId}"${trial.number !== first && new Html(' hidden')}>${timeline(trial, campaign, parts, charts)}</div>`,
  )}`;
}

function timeline(
  trial: TrialRecord,
  { calibration }: Campaign,
  { drawings }: PageParts,
  charts: Map<string, ChartSpec>,
): Html {
  const drawing = drawings.get(trial.runId);
  const title = `Trial ${trial.number}, ${trial.targets.join(', ') || 'no target'}: ${verdictOf(trial)}`;
  const why = trial.message !== undefined && html`<p class="why">${trial.message}</p>`;
  if (!drawing || drawing.x.length === 0)
    return html`<p class="caption">${title}</p>${why}<p class="empty">Its raw rows are not there: nothing can be drawn.</p>`;
  const spec = timelineOf(trial, drawing, calibration);
  const skipped =
    drawing.backwards > 0 &&
    html`<p class="why">${plural(drawing.backwards, 'row')} not drawn: time went back, the observer's clock was stepped.</p>`;
  return html`${why}${skipped}${chart(charts, `timeline ${trial.runId}`, title, spec)}<div class="under"><p class="caption">Correctness of the results</p>${checkStrip(drawing.checks, spec.view!)}</div>${instantsTable(trial)}`;
}

function verdictOf({ verdict, figures, outcome }: TrialRecord): string {
  if (!verdict) return `${outcome}, not measured`;
  const pair = `${verdict.recovery}, ${verdict.correctness}`;
  const isTold = figures.recovery && verdict.recovery !== 'NotRecovered' && verdict.recovery !== 'Masked';
  return isTold ? `${pair}, ${formatBounded(figures.recovery!)}` : pair;
}

const instantWords: Readonly<Record<(typeof instantNames)[number], string>> = {
  cmd: 'injection ordered',
  eff: 'effect seen',
  det: 'the system noticed',
  end: 'undone and verified gone',
  first: 'first result after the stall',
  rec: 'recovered',
  red: 'redundancy back',
};

function instantsTable(trial: TrialRecord): Html {
  const row = (name: string, what: string, { atMs, source, resolutionMs }: Instant) => [
    ...[name, what, secondsAt(trial, atMs).toFixed(2), source],
    `${(resolutionMs / 1_000).toFixed(2)}`,
  ];
  const others = trial.noticed?.slice(1).map((instant) => row('', 'noticed as well', instant)) ?? [];
  const rows = instantNames.flatMap((name) => {
    const instant = trial.instants[name];
    if (!instant) return [];
    return [row(`t_${name}`, instantWords[name], instant), ...(name === 'det' ? others : [])];
  });
  if (rows.length === 0) return html``;
  return html`<details><summary>Instants, with source and resolution</summary>${table(
    ['Instant', 'What', 'Seconds', 'Source', 'Resolution, s'],
    rows,
    'Instants',
  )}</details>`;
}

/** A place for the script to draw in; its caption says what is to be seen, also to those who do not see it. */
function chart(charts: Map<string, ChartSpec>, id: string, title: string, spec: ChartSpec | undefined): Html {
  if (!spec) return html``;
  charts.set(id, spec);
  return html`<figure class="chart"><figcaption>${title}</figcaption><div class="plot" data-chart="${id}" tabindex="0" role="group" aria-label="${title}. Left and right arrow keys move the cursor, values stand below."></div><noscript><p class="empty">This chart needs the page's script.</p></noscript></figure>`;
}

function trialsOf({ campaigns }: Report): Html {
  const rows = campaigns.flatMap(({ trials, schedule }) =>
    trials.map((trial) => {
      const [number, ...cells] = trialCells(trial);
      return [nameOf(number!, schedule, campaigns), ...cells];
    }),
  );
  return rows.length === 0
    ? html`<p class="empty">No trial has run.</p>`
    : table(trialHead, rows, 'Every trial, in the order in which they ran');
}

/** A trial's number, which several schedules have. */
function nameOf(number: string, { metadata }: FaultSchedule, campaigns: readonly Campaign[]): string {
  return campaigns.length > 1 ? `${metadata.name} ${number}` : number;
}

function settingsOf({ campaigns, versions, images }: Report): Html {
  const pairs = (values: Readonly<Record<string, string>>) =>
    table(['Name', 'Value'], Object.entries(values), 'Settings');
  return html`<h3>Versions</h3>${pairs(versions)}<details><summary>Images that this version deploys</summary>${pairs(images)}</details>${campaigns.map(
    (campaign) => {
      const { schedule, cluster, settings, calibration, plan, seed, controls } = campaign;
      const measured = {
        ...(seed !== undefined && { seed: `${seed}` }),
        ...Object.fromEntries(
          Object.entries(plan).map(([name, value]) => [words(name.replace(/Ms$/, '')), asText(name, value)]),
        ),
        ...Object.fromEntries(
          Object.entries({ ...numbersOf(calibration), ...sparesOf(calibration) }).map(([name, value]) => [
            `calibrated ${words(name.replace(/Ms$/, ''))}`,
            asText(name, value),
          ]),
        ),
        controls: `${controls.judged} judged, ${controls.violated} with a violation`,
      };
      const name = campaigns.length > 1 && ` of ${schedule.metadata.name}`;
      const varied = Object.fromEntries(
        Object.entries(settings).map(([key, values]) => [key, values.join(' | ')]),
      );
      return html`<h3>Measurement${name}</h3>${pairs(measured)}${
        Object.keys(varied).length > 0 && html`<h3>What governs detection${name}</h3>${pairs(varied)}`
      }<details><summary>The schedule${name}, with its defaults</summary><pre>${stringify(schedule)}</pre></details>${
        cluster &&
        html`<details><summary>The cluster${name}, with its defaults</summary><pre>${stringify(cluster)}</pre></details>`
      }`;
    },
  )}`;
}

/** What all control planes counted; their parts have names of their own. */
function sparesOf(calibration: ScheduleStatus['calibration']): Readonly<Record<string, number>> {
  return Object.assign({}, ...Object.values(calibration?.spares ?? {}));
}

/** Those fields of a calibration that are numbers. */
function numbersOf(calibration: ScheduleStatus['calibration']): Readonly<Record<string, number>> {
  const { spares: _spares, maxima: _maxima, ...numbers } = calibration ?? {};
  return numbers;
}

/** `calibrationMs: 15000` as `15 s`. */
function asText(name: string, value: number): string {
  return name.endsWith('Ms') ? `${value / 1_000} s` : `${value}`;
}

function dataOf(report: Report, { attached, attachLimit, drawings }: PageParts): Html {
  const csv = `data:text/csv;charset=utf-8;base64,${Buffer.from(renderCsv(report)).toString('base64')}`;
  const rows = report.campaigns.flatMap(({ trials, schedule }) =>
    trials.flatMap((trial): (string | Html)[][] => {
      if (trial.samples === undefined) return [];
      const bytes = attached.get(trial.runId);
      const link =
        bytes &&
        html`<a download="${trial.runId}.ndjson.gz" href="data:application/gzip;base64,${Buffer.from(bytes).toString('base64')}">download, ${Math.ceil(bytes.length / 1024)} KiB</a>`;
      const count = drawings.get(trial.runId)?.rows;
      return [
        [
          nameOf(`${trial.number}`, schedule, report.campaigns),
          trial.samples,
          count === undefined ? '' : `${count}`,
          link ?? (count === undefined ? 'not there' : 'no'),
        ],
      ];
    }),
  );
  return html`<p><a download="trials.csv" href="${csv}">trials.csv</a>, one line per trial · <a id="json-link" download="report.json" href="#report">report.json</a>, everything that is told here</p>${
    rows.length > 0 &&
    table(['Trial', 'Rows, below the state directory', 'Count', 'Attached'], rows, 'Raw rows')
  }<p class="hint">Raw rows are the observer's, one every 250 ms, NDJSON, gzipped, by its own clock; instants and charts are by the controller's, from which it differed by rows_offset_ms of trials.csv. ${attachLimit} Charts keep the least and the most of each bucket of rows.</p>`;
}

function wordsSection(): Html {
  const entries: readonly (readonly [string, string])[] = [
    [
      'Frontier age F',
      'Now minus the intended time of the oldest record that is not yet acknowledged, committed or visible in its result, in the slowest partition. F_visible is what a user of the results feels.',
    ],
    [
      'Theta',
      'max(1.25 x p99 of F_visible, p99 + max(trigger, p99 commit gap)), calibrated without a fault and fixed for the campaign.',
    ],
    ['Violation', 'F_visible above theta for longer than one p99 commit gap; shorter ones are excursions.'],
    ['Detection', 't_det - t_eff: how long until the first of its control planes had noticed.'],
    ['Stall', 'Time without visible progress beyond the normal gap.'],
    [
      'Recovery',
      'End of the last violation - t_eff. Without a violation the fault was Masked. Not within T_max: NotRecovered, censored, no number.',
    ],
    ['Catch-up', 'Recovery minus the time to the first output.'],
    [
      'Redundancy',
      't_red - t_eff: all that the control planes count, from workers to in-sync replicas, as before.',
    ],
    ['Error bound ±', 'Sampling + resolution of t_eff + p99 commit gap + clock bound.'],
    [
      'Verdict',
      'A pair: how it came back, and whether its results are right. Invalid trials bear no figure.',
    ],
  ];
  return html`<dl>${entries.map(([word, meaning]) => html`<dt>${word}</dt><dd>${meaning}</dd>`)}</dl>`;
}
