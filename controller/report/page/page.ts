import uPlot from 'uplot';
import type { ChartSpec, Line, Panel } from '../chart-spec.ts';

/*! Holds uPlot 1.6.32, Copyright (c) 2022 Leon Sorokin, MIT License. */
// The page's only script: draws what the report says, and hands out the JSON that is in it. It asks no network.

const charts = JSON.parse(document.getElementById('charts')!.textContent!) as Record<string, ChartSpec>;

/** Room for the values of y, the same for all panels, so that their x agree. */
const yAxisPx = 54;
const rightPx = 14;
const rowPx = 14;

/** Colours are the style sheet's, read anew at each drawing: light, dark and paper differ. */
function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const font = (px: number) => `${px}px ${getComputedStyle(document.body).fontFamily}`;

const formatValue = (unit: string) => (_: unknown, value: number | null | undefined) => {
  if (value === null || value === undefined) return '–';
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : 2;
  return `${value.toFixed(digits)}${unit && ` ${unit}`}`;
};

const lineWidths = { line: 2.25, fine: 1.25, thin: 1.25, steps: 1.75, points: 0 } as const;

function seriesOf({ label, tone, look, dash }: Line, { unit, lines }: Panel): uPlot.Series {
  const isQuiet = look === 'thin' && lines.length >= 6;
  return {
    label,
    stroke: () => color(tone),
    width: lineWidths[look],
    alpha: isQuiet ? 0.45 : 1,
    ...(isQuiet && { class: 'quiet' }),
    ...(dash && dash.length > 0 && { dash: [...dash] }),
    ...(look === 'steps' && { paths: uPlot.paths.stepped!({ align: 1 }) }),
    ...(look === 'points' && { paths: () => null }),
    points: look === 'points' ? { show: true, size: 8, fill: () => color(tone) } : { show: false },
    value: formatValue(unit),
  };
}

function axes({ height, lines }: Panel, spec: ChartSpec, isLast: boolean): uPlot.Axis[] {
  const xLabel = isLast ? spec.xLabel : undefined;
  const common: uPlot.Axis = {
    stroke: () => color('muted'),
    grid: { stroke: () => color('grid'), width: 1 },
    ticks: { stroke: () => color('grid'), width: 1, size: 4 },
    font: font(11),
  };
  const isCount = lines.every(({ look }) => look === 'steps' && lines.length < 3);
  return [
    {
      ...common,
      ...(spec.x.length <= 4 && { splits: [...spec.x] }),
      ...(xLabel === undefined
        ? { size: 6 }
        : { size: 34, label: xLabel, labelSize: 16, labelFont: font(11), labelGap: 0 }),
      values:
        xLabel === undefined
          ? (_: uPlot, splits: number[]) => splits.map(() => '')
          : (_: uPlot, splits: number[]) => splits.map((split) => `${Number(split.toFixed(3))}`),
    },
    {
      ...common,
      size: yAxisPx,
      space: height > 100 ? 36 : 22,
      ...(isCount && { incrs: [1, 2, 5, 10, 20, 50] }),
      values: (_: uPlot, splits: number[]) => splits.map(short),
    },
  ];
}

function short(value: number): string {
  const rounded = Number(value.toPrecision(6));
  return Math.abs(rounded) >= 10_000 ? `${Number((rounded / 1_000).toFixed(1))}k` : `${rounded}`;
}

/** Fault and recovery behind the lines, levels and instants over them. */
function marks(spec: ChartSpec, panel: Panel, isFirst: boolean): uPlot.Plugin {
  const within = (u: uPlot, draw: (ctx: CanvasRenderingContext2D) => void) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    draw(ctx);
    ctx.restore();
  };
  return {
    hooks: {
      drawClear: (u) =>
        within(u, (ctx) => {
          for (const { from, to, tone } of spec.shades) {
            const left = u.valToPos(from, 'x', true);
            ctx.fillStyle = color(`${tone}-shade`);
            ctx.fillRect(
              left,
              u.bbox.top,
              Math.max(u.valToPos(to, 'x', true) - left, uPlot.pxRatio),
              u.bbox.height,
            );
          }
        }),
      draw: (u) => {
        within(u, (ctx) => {
          for (const level of panel.levels) drawLevel(u, ctx, level);
          for (const { at } of spec.ticks) {
            const x = Math.round(u.valToPos(at, 'x', true)) + 0.5;
            ctx.strokeStyle = color('tick');
            ctx.lineWidth = uPlot.pxRatio;
            ctx.setLineDash([2 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
            ctx.beginPath();
            ctx.moveTo(x, u.bbox.top);
            ctx.lineTo(x, u.bbox.top + u.bbox.height);
            ctx.stroke();
          }
        });
        if (isFirst) drawTickLabels(u, spec);
      },
    },
  };
}

/** The threshold is named where it lies; the baseline lies among the lines, so that its name stands in the title. */
function drawLevel(u: uPlot, ctx: CanvasRenderingContext2D, { at, label }: Panel['levels'][number]): void {
  const ratio = uPlot.pxRatio;
  const isTheta = label === 'theta';
  const y = Math.round(u.valToPos(at, 'y', true)) + 0.5;
  ctx.strokeStyle = color(isTheta ? 'late' : 'muted');
  ctx.lineWidth = ratio * (isTheta ? 1.5 : 1);
  ctx.setLineDash(isTheta ? [8 * ratio, 3 * ratio] : [2 * ratio, 4 * ratio]);
  ctx.beginPath();
  ctx.moveTo(u.bbox.left, y);
  ctx.lineTo(u.bbox.left + u.bbox.width, y);
  ctx.stroke();
  ctx.setLineDash([]);
  if (!isTheta) return;
  ctx.font = font(11 * ratio);
  ctx.textAlign = 'right';
  ctx.textBaseline = 'bottom';
  const place = [u.bbox.left + u.bbox.width - 4 * ratio, y - 2 * ratio] as const;
  const text = `${label} ${formatValue('s')(u, at)}`;
  ctx.strokeStyle = color('paper');
  ctx.lineWidth = 3 * ratio;
  ctx.strokeText(text, ...place);
  ctx.fillStyle = color('late');
  ctx.fillText(text, ...place);
}

/** Names stand above the panel, in the lowest of some rows in which they do not overlap. */
function drawTickLabels(u: uPlot, { ticks }: ChartSpec): void {
  const { ctx, bbox } = u;
  const ratio = uPlot.pxRatio;
  ctx.save();
  ctx.font = font(11 * ratio);
  ctx.fillStyle = color('ink');
  ctx.textBaseline = 'bottom';
  const ends: number[] = [];
  for (const { at, label } of [...ticks].sort((a, b) => a.at - b.at)) {
    const x = u.valToPos(at, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const width = ctx.measureText(label).width;
    const left = Math.min(x, bbox.left + bbox.width - width);
    const free = ends.findIndex((end) => end + 6 * ratio <= left);
    const row = free < 0 ? ends.length : free;
    ends[row] = left + width;
    ctx.fillText(label, left, bbox.top - (3 + row * rowPx) * ratio);
  }
  ctx.restore();
}

/** How many rows of names there can be at worst: those that lie closer together than they are wide. */
function tickRows({ ticks, x, view }: ChartSpec, width: number): number {
  const [from, to] = view ?? [x[0] ?? 0, x.at(-1) ?? 1];
  const perPx = (to - from) / Math.max(1, width - yAxisPx - rightPx);
  const crowd = ticks.map(
    ({ at }) => ticks.filter((other) => other.at <= at && at - other.at < 46 * perPx).length,
  );
  return Math.max(0, ...crowd);
}

const drawn = new Map<Element, uPlot[]>();
let builds = 0;

function draw(place: HTMLElement): void {
  for (const plot of drawn.get(place) ?? []) plot.destroy();
  place.replaceChildren();
  const spec = charts[place.dataset.chart!]!;
  const width = Math.floor(place.clientWidth);
  const sync = uPlot.sync(`${++builds}`);
  const plots = spec.panels.map((panel, index) => {
    const isFirst = index === 0;
    const isLast = index === spec.panels.length - 1;
    const top = isFirst && spec.ticks.length > 0 ? 6 + rowPx * tickRows(spec, width) : 8;
    const xPx = isLast ? 34 + 16 : 6;
    if (spec.panels.length > 1) {
      const title = document.createElement('p');
      title.className = 'panel';
      const dotted = panel.levels.filter(({ label }) => label !== 'theta');
      const levels = dotted.map(
        ({ at, label }) => ` · dotted: ${label} ${formatValue(panel.unit)(undefined, at)}`,
      );
      title.textContent = [`${panel.title}, ${panel.unit}`, ...levels].join('');
      place.append(title);
    }
    const options: uPlot.Options = {
      width,
      height: panel.height + top + xPx,
      padding: [top, rightPx, 0, 0],
      pxAlign: 1,
      scales: {
        x: { time: false, ...(spec.view && { range: viewOf(spec) }) },
        y: {
          range: (_, least, most) => {
            const high = Math.max(most ?? 0, ...panel.levels.map(({ at }) => at)) || 1;
            return [Math.min(0, least ?? 0), panel.top ?? high * 1.08];
          },
        },
      },
      axes: axes(panel, spec, isLast),
      cursor: { sync: { key: sync.key }, points: { size: 6 }, drag: { x: true, y: false } },
      legend: {
        markers: {
          width: 2,
          stroke: (_, at) => `var(--${panel.lines[at - 1]?.tone ?? 'ink'})`,
          dash: (u, at) => (u.series[at]?.dash ? 'dashed' : 'solid'),
        },
      },
      series: [
        {
          label: 'at',
          value: formatValue(spec.xLabel.startsWith('seconds') || spec.xLabel.endsWith('seconds') ? 's' : ''),
        },
        ...panel.lines.map((line) => seriesOf(line, panel)),
      ],
      plugins: [marks(spec, panel, isFirst)],
    };
    const data = [spec.x, ...panel.lines.map(({ values }) => values)] as unknown as uPlot.AlignedData;
    return new uPlot(options, data, place);
  });
  drawn.set(place, plots);
  document.documentElement.dataset.charts = `${drawn.size}`;
}

/** The first view until somebody zooms by dragging; a double click asks for all of it. */
function viewOf(spec: ChartSpec): uPlot.Range.Function {
  let isFirst = true;
  return (_, from, to) => {
    if (!isFirst) return [from!, to!];
    isFirst = false;
    return [spec.view![0], spec.view![1]];
  };
}

const places = [...document.querySelectorAll<HTMLElement>('[data-chart]')];
const isSeen = (place: HTMLElement) => place.clientWidth > 0;

function drawSeen(): void {
  for (const place of places) if (isSeen(place)) draw(place);
}

/** Arrow keys move the cursor by a hundredth of what is seen, with shift by a tenth. */
function moveCursor(place: HTMLElement, event: KeyboardEvent): void {
  const [plot] = drawn.get(place) ?? [];
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!plot || direction === undefined) return;
  event.preventDefault();
  const width = plot.over.clientWidth;
  const left = Math.min(
    width,
    Math.max(0, Math.max(plot.cursor.left ?? 0, 0) + (direction * width * (event.shiftKey ? 10 : 1)) / 100),
  );
  for (const each of drawn.get(place) ?? []) each.setCursor({ left, top: 1 }, false);
}

for (const place of places) {
  place.addEventListener('keydown', (event) => moveCursor(place, event));
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth === width) return;
    width = place.clientWidth;
    if (isSeen(place)) draw(place);
  }).observe(place);
}

for (const select of document.querySelectorAll<HTMLSelectElement>('select[data-trials]')) {
  select.addEventListener('change', () => {
    for (const trial of document.querySelectorAll<HTMLElement>('[data-trial]'))
      if (trial.dataset.arm === select.dataset.trials) trial.hidden = trial.dataset.trial !== select.value;
  });
}

// Paper is light and narrow: drawn for it, and back again.
const root = document.documentElement;
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawSeen);
addEventListener('beforeprint', () => {
  root.dataset.print = 'yes';
  drawSeen();
});
addEventListener('afterprint', () => {
  delete root.dataset.print;
  drawSeen();
});

const json = document.getElementById('report')!.textContent!;
document
  .getElementById('json-link')!
  .setAttribute('href', URL.createObjectURL(new Blob([json], { type: 'application/json' })));

drawSeen();
