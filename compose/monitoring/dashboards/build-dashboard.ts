/** One line of a panel: what is asked, in PromQL, and how it is called; `{{label}}` stands for the label's value. */
export type Query = readonly [expr: string, legend: string];

/** A panel without its place; heights and widths in units of Grafana's grid, which is 24 wide. */
export interface Panel {
  readonly height: number;
  readonly width: number;
  /** As Grafana takes it. */
  readonly model: PanelModel;
}

interface PanelModel {
  readonly type: 'stat' | 'timeseries' | 'state-timeline' | 'table';
  readonly title: string;
  readonly description: string;
  readonly targets: readonly Target[];
  readonly [more: string]: unknown;
}

interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat: string;
}

/** A dashboard as Grafana 12 takes it from a file. */
export interface Dashboard {
  readonly uid: string;
  readonly panels: readonly (PlacedPanel | Heading)[];
  readonly annotations: { readonly list: readonly Annotation[] };
  readonly [more: string]: unknown;
}

interface Annotation {
  readonly target: Pick<Target, 'refId' | 'expr'> & { readonly interval: string };
  readonly [more: string]: unknown;
}

interface Place {
  readonly id: number;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}
type PlacedPanel = PanelModel & Place;
interface Heading extends Place {
  readonly type: 'row';
  readonly title: string;
}

interface About {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
}

interface Look {
  readonly title: string;
  readonly description: string;
  readonly width: number;
  readonly queries: readonly Query[];
}

/** The version of the format that Grafana 12.4 writes itself: nothing is converted when it is read. */
const SCHEMA_VERSION = 42;
const GRID_WIDTH = 24;
const faultsInForce = 'max by (schedule, fault, target) (sparkfailures_fault_active)';

/** The uid under which grafana.yaml provisions Prometheus. */
const datasource = { type: 'prometheus', uid: 'prometheus' } as const;

/**
 * A dashboard of rows from top to bottom; a text is a heading. Shades the time in which a fault is in force: Grafana joins
 * the points of a series that are above zero.
 */
export function dashboard(about: About, rows: readonly (readonly Panel[] | string)[]): Dashboard {
  return {
    ...about,
    tags: ['spark-failures'],
    schemaVersion: SCHEMA_VERSION,
    editable: false,
    graphTooltip: 1, // one crosshair for all panels
    timezone: 'browser',
    refresh: '5s',
    time: { from: 'now-15m', to: 'now' },
    links: [{ type: 'dashboards', title: 'spark-failures', tags: ['spark-failures'], keepTime: true }],
    annotations: {
      list: [
        {
          ...{ name: 'Faults', datasource, enable: true, iconColor: 'red' },
          target: { ...{ refId: 'Anno', interval: '1s' }, expr: faultsInForce },
          ...{ titleFormat: '{{fault}} on {{target}}', textFormat: 'schedule {{schedule}}' },
          tagKeys: 'schedule,fault,target',
        },
      ],
    },
    templating: { list: [] },
    panels: place(rows),
  };
}

function place(rows: readonly (readonly Panel[] | string)[]): readonly (PlacedPanel | Heading)[] {
  const placed: (PlacedPanel | Heading)[] = [];
  let y = 0;
  for (const row of rows) {
    if (typeof row === 'string') {
      const gridPos = { x: 0, y, w: GRID_WIDTH, h: 1 };
      placed.push({ id: placed.length + 1, type: 'row', title: row, collapsed: false, gridPos } as Heading);
      y += 1;
      continue;
    }
    let x = 0;
    for (const { height, width, model } of row) {
      placed.push({
        id: placed.length + 1,
        ...model,
        gridPos: { x, y, w: width, h: height },
        datasource,
      });
      x += width;
    }
    y += Math.max(...row.map(({ height }) => height));
  }
  return placed;
}

const targets = (queries: readonly Query[]): readonly Target[] =>
  queries.map(([expr, legendFormat], index) => ({ refId: 'ABCDEFGH'.charAt(index), expr, legendFormat }));
/** Asked once, for the end of the time that is shown. */
const instant = (queries: readonly Query[], format: 'time_series' | 'table') =>
  targets(queries).map((target) => ({ ...target, format, instant: true, range: false }));

/** The color of values from each limit on; the first one has none. */
export const thresholds = (...steps: readonly (readonly [from: number | null, color: string])[]) => ({
  mode: 'absolute',
  steps: steps.map(([value, color]) => ({ value, color })),
});
const neutral = thresholds([null, 'green']);
/** Anything but zero is bad. */
export const noneAtAll = thresholds([null, 'green'], [1, 'red']);

/** Words and colors for zero and one. */
export const zeroOrOne = (
  zero: readonly [text: string, color: string],
  one: readonly [text: string, color: string],
) => [
  {
    type: 'value',
    options: Object.fromEntries([zero, one].map(([text, color], index) => [index, { text, color, index }])),
  },
];

/** Changes to the line of that name. */
export const forLine = (name: string, properties: Readonly<Record<string, unknown>>) => ({
  matcher: { id: 'byName', options: name },
  properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
});
export const colored = (color: string) => ({ color: { mode: 'fixed', fixedColor: color } });
export const dashed = { 'custom.lineStyle': { fill: 'dash', dash: [8, 8] } } as const;
/** On an axis of its own, in a unit of its own. */
export const atRight = (unit: string) => ({ unit, 'custom.axisPlacement': 'right' });

interface StatLook extends Look {
  readonly unit?: string;
  readonly decimals?: number;
  readonly thresholds?: ReturnType<typeof thresholds>;
  readonly mappings?: ReturnType<typeof zeroOrOne>;
}

/** Numbers as they are at the end of the time that is shown. */
export function stat({ title, description, width, queries, unit = 'short', ...look }: StatLook): Panel {
  const { thresholds = neutral, mappings = [], decimals } = look;
  const isAlone = queries.length === 1 && queries[0]?.[1] === '';
  return {
    ...{ height: 4, width },
    model: {
      ...{ type: 'stat', title, description },
      fieldConfig: {
        defaults: { unit, thresholds, mappings, ...(decimals !== undefined && { decimals }) },
        overrides: [],
      },
      options: {
        ...{ colorMode: 'value', graphMode: 'none', textMode: isAlone ? 'value' : 'value_and_name' },
        reduceOptions: { calcs: ['lastNotNull'] },
      },
      targets: instant(queries, 'time_series'),
    },
  };
}

interface LinesLook extends Look {
  readonly height?: number;
  readonly unit?: string;
  readonly max?: number;
  readonly overrides?: readonly ReturnType<typeof forLine>[];
  /** Between two points, at least: rates are taken over about as long, and at least four scrapes. */
  readonly interval?: string;
  /** For counts of things: no slope between two numbers. */
  readonly steps?: boolean;
  /** Columns of the legend. */
  readonly legend?: readonly ('lastNotNull' | 'max')[];
}

/** Lines over time, from zero. */
export function lines({ title, description, width, queries, ...look }: LinesLook): Panel {
  const { height = 8, unit = 'short', max, overrides = [], interval, steps = false, legend = [] } = look;
  const isTable = legend.length > 0;
  return {
    ...{ height, width },
    model: {
      ...{ type: 'timeseries', title, description, ...(interval !== undefined && { interval }) },
      fieldConfig: {
        defaults: {
          ...{ unit, min: 0, ...(max !== undefined && { max }) },
          custom: {
            ...{ drawStyle: 'line', lineInterpolation: steps ? 'stepAfter' : 'linear' },
            ...{ lineWidth: 1, fillOpacity: 0, showPoints: 'never' },
          },
        },
        overrides,
      },
      options: {
        legend: {
          displayMode: isTable ? 'table' : 'list',
          ...{ placement: isTable ? 'right' : 'bottom', showLegend: true, calcs: legend },
        },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
      targets: targets(queries),
    },
  };
}

interface BandsLook extends Look {
  readonly height: number;
  readonly mappings: ReturnType<typeof zeroOrOne>;
}

/** A band for each series, in the colors of its values. */
export function bands({ title, description, width, queries, height, mappings }: BandsLook): Panel {
  return {
    ...{ height, width },
    model: {
      ...{ type: 'state-timeline', title, description },
      fieldConfig: {
        defaults: { mappings, thresholds: neutral, custom: { lineWidth: 0, fillOpacity: 80 } },
        overrides: [],
      },
      options: {
        ...{ mergeValues: true, showValue: 'never', rowHeight: 0.8, alignValue: 'left' },
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
        tooltip: { mode: 'single', sort: 'none' },
      },
      targets: targets(queries),
    },
  };
}

interface TableLook extends Look {
  readonly unit: string;
  /** Labels that are columns, in this order; a column for each query follows, called as its legend. */
  readonly by: readonly string[];
}

/** A row for each set of labels, a column for each query. */
export function table({ title, description, width, queries, unit, by }: TableLook): Panel {
  const columns = targets(queries).map(({ refId, legendFormat }) => [`Value #${refId}`, legendFormat]);
  return {
    ...{ height: 8, width },
    model: {
      ...{ type: 'table', title, description },
      fieldConfig: { defaults: { unit, decimals: 1, thresholds: neutral }, overrides: [] },
      options: { showHeader: true, cellHeight: 'sm' },
      transformations: [
        { id: 'merge', options: {} },
        {
          id: 'organize',
          options: {
            excludeByName: { Time: true },
            indexByName: Object.fromEntries(by.map((label, index) => [label, index])),
            renameByName: Object.fromEntries(columns),
          },
        },
      ],
      targets: instant(queries, 'table'),
    },
  };
}
