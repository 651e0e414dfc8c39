import { type Phase, phasesOf } from './charts.ts';
import type { Check } from './drawing.ts';
import { type Html, html } from './html-text.ts';
import { type Arm, isValid, pointOf, type Spread } from './report.ts';
import {
  formatBounded,
  formatInterval,
  formatMs,
  formatShare,
  formatSpread,
  plural,
  words,
} from './sentences.ts';

// Figures of boxes, placed in per cent: sharp at every width, on paper, and without a script.

/** Of the width: what is not in time stands to the right of it. */
const lateAt = 92;

interface Axis {
  /** Per cent of the width. */
  readonly place: (ms: number | null) => number;
  readonly ticks: readonly number[];
  readonly hasLate: boolean;
}

/** From zero to the largest value in steps that people count in. */
export function axisTo(largestMs: number, hasLate: boolean): Axis {
  const end = largestMs > 0 ? largestMs * 1.04 : 1_000;
  const stepMs = niceStep(end / 6);
  const width = hasLate ? lateAt - 4 : 100;
  const ticks = Array.from({ length: Math.floor(end / stepMs) + 1 }, (_, index) => index * stepMs);
  return {
    place: (ms) => (ms === null ? lateAt + 4 : Number(((Math.min(ms, end) / end) * width).toFixed(2))),
    ...{ ticks, hasLate },
  };
}

function niceStep(atLeast: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(atLeast));
  return [1, 2, 5, 10].map((factor) => factor * magnitude).find((step) => step >= atLeast)!;
}

function axisHtml({ place, ticks, hasLate }: Axis): Html {
  return html`<div class="row axis"><span class="name"></span><span class="track">${ticks.map(
    (ms, index) =>
      html`<span class="tick${index % 2 === 1 && ' odd'}" style="left:${place(ms)}%">${ms / 1_000}${index === 0 && ' s'}</span>`,
  )}${hasLate && html`<span class="tick late" style="left:${place(null)}%">${formatMs(null)}</span>`}</span><span class="value"></span></div>`;
}

/** A row for each: all points with the bounds of their errors, and from six on the median with its interval. */
export function dotStrip(
  rows: readonly { readonly name: string; readonly spread: Spread; readonly arm: Arm }[],
): Html {
  const told = rows.flatMap(({ spread }) => [
    ...spread.points,
    { ms: spread.median?.highMs ?? 0, errorMs: 0 },
  ]);
  const largest = Math.max(0, ...told.map(({ ms, errorMs }) => (ms ?? 0) + errorMs));
  const hasLate = rows.some(({ spread }) => spread.points.some(({ ms }) => ms === null));
  const axis = axisTo(largest, hasLate);
  return html`<div class="strip">${rows.map(({ name, spread, arm }) => dotRow(name, spread, arm, axis))}${axisHtml(axis)}</div>`;
}

function dotRow(name: string, spread: Spread, arm: Arm, axis: Axis): Html {
  const { points, median } = spread;
  const dots = points.map(({ trial, ms, errorMs }, index) => {
    const top = points.length === 1 ? 50 : 26 + ((index * 29) % 52);
    const [left, right] = [
      axis.place(ms === null ? null : Math.max(0, ms - errorMs)),
      axis.place(ms === null ? null : ms + errorMs),
    ];
    const bound =
      ms !== null &&
      html`<i class="bound" style="left:${left}%;width:${Number((right - left).toFixed(2))}%;top:${top}%"></i>`;
    const title = `trial ${trial}: ${formatBounded({ ms, errorMs })}`;
    return html`${bound}<i class="dot ${dotClass(arm, trial, ms)}" style="left:${axis.place(ms)}%;top:${top}%" title="${title}"></i>`;
  });
  const interval =
    median &&
    html`<i class="interval" style="left:${axis.place(median.lowMs)}%;width:${Number((axis.place(median.highMs) - axis.place(median.lowMs)).toFixed(2))}%" title="${Math.round(1000 * median.coverage) / 10} % interval of the median"></i><i class="median" style="left:${axis.place(median.ms)}%" title="median ${formatMs(median.ms)}"></i>`;
  const value = formatSpread(spread) || (arm.valid === 0 ? 'no valid trial' : 'not seen');
  return html`<div class="row"><span class="name">${name}</span><span class="track">${axis.hasLate && html`<i class="limit" style="left:${lateAt}%"></i>`}${interval}${dots}</span><span class="value">${points.length > 3 && !median ? `${plural(points.length, 'point')}${formatShare(spread)}` : value}</span></div>`;
}

function dotClass({ trials }: Arm, number: number, ms: number | null): string {
  if (ms === null) return 'late';
  return trials.find((trial) => trial.number === number)?.verdict?.correctness === 'Incorrect'
    ? 'incorrect'
    : '';
}

/** A bar for each valid trial, shortest recovery first: what its time from t_eff on went into. */
export function phaseBars(arms: readonly Arm[]): Html {
  const rows = arms.flatMap((arm) =>
    arm.trials
      .filter(isValid)
      .map((trial) => ({ arm, trial, phases: phasesOf(trial), end: pointOf('recovery', trial)?.ms ?? null }))
      .sort((a, b) => (a.end ?? Number.POSITIVE_INFINITY) - (b.end ?? Number.POSITIVE_INFINITY)),
  );
  const axis = axisTo(
    1_000 * Math.max(0, ...rows.flatMap(({ phases }) => phases.map(({ toS }) => toS))),
    false,
  );
  const bars = rows.map(({ arm, trial, phases, end }) => {
    const { recovery } = trial.verdict!;
    const never = recovery === 'NotRecovered' && html`<i class="never"></i>`;
    const told =
      recovery === 'NotRecovered' || recovery === 'Masked' ? words(recovery).trim() : formatMs(end);
    return html`<div class="row"><span class="name">${arm.label} <small>${trial.number}</small></span><span class="track">${never}${phases.map((phase) => phaseBox(phase, axis))}</span><span class="value">${told}</span></div>`;
  });
  const names = ['detection', 'stall', 'catch-up', 'redundancy'] as const;
  return html`<p class="key">${names.map((name) => html`<span><i class="phase ${name}"></i>${name}</span>`)}</p><div class="strip bars">${bars}${axisHtml(axis)}</div>`;
}

function phaseBox({ name, fromS, toS }: Phase, { place }: Axis): Html {
  const [left, right] = [place(1_000 * fromS), place(1_000 * toS)];
  const title = `${name}: ${formatMs(1_000 * (toS - fromS))}`;
  return html`<i class="phase ${name}" style="left:${left}%;width:${Number((right - left).toFixed(2))}%" title="${title}"></i>`;
}

const checkWords: Readonly<Record<Check['state'], string>> = {
  ok: 'as the oracle says',
  reemitted: 'the same result once more (benign)',
  short: 'a window that lacks records',
  lost: 'a record lost, stored twice or not as sent',
  wrong: 'a result wrong, too long, conflicting or phantom',
  unknown: 'no result seen',
};

/** A cell for each few seconds of what is seen of the trial first: the gravest that the observer found in it. */
export function checkStrip(checks: readonly Check[], [from, to]: readonly [number, number]): Html {
  const shown = checks.filter(({ fromS, toS }) => toS > from && fromS < to);
  const place = (s: number) =>
    Number((((Math.min(Math.max(s, from), to) - from) / (to - from)) * 100).toFixed(2));
  const states = Object.keys(checkWords).filter((state) => shown.some((check) => check.state === state));
  return html`<div class="checks" role="img" aria-label="Correctness of the results over time: ${states.map((state) => checkWords[state as Check['state']]).join(', ')}">${shown.map(
    ({ fromS, toS, state }) =>
      html`<i class="check ${state}" style="left:${place(fromS)}%;width:${Number((place(toS) - place(fromS)).toFixed(2))}%" title="${fromS} to ${toS} s: ${checkWords[state]}"></i>`,
  )}</div><p class="key">${states.map((state) => html`<span><i class="check ${state}"></i>${checkWords[state as Check['state']]}</span>`)}</p>`;
}

/** A spread in a cell: the figure with its bound, and below it the interval. */
export function spreadCell(spread: Spread): Html {
  const { median, errorMs } = spread;
  if (!median) return html`${formatSpread(spread)}`;
  return html`<span class="figure">${formatBounded({ ms: median.ms, errorMs })}<small>${formatInterval(median)}${formatShare(spread)}</small></span>`;
}
