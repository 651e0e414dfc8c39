import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { DASHBOARDS } from '../../compose/monitoring/dashboards/catalog.ts';
import { packageRoot } from './examples.ts';

/** One thing that Prometheus is asked, as it gets it. */
export interface MonitoringQuery {
  /** Dashboard, panel and line, or the rule. */
  readonly where: string;
  readonly expr: string;
}

/** What Grafana puts in the place of its variables; a range that reaches back over a restart of the controller. */
const variables: Readonly<Record<string, string>> = { $__rate_interval: '15s', $__range: '1h' };
const interpolate = (expr: string) => expr.replace(/\$\w+/g, (name) => variables[name] ?? name);

/** Every query of every panel, and of what shades the faults. */
export const panelQueries: readonly MonitoringQuery[] = Object.values(DASHBOARDS).flatMap((dashboard) => [
  ...dashboard.annotations.list.map(({ target }) => ({
    where: `${dashboard.uid}: annotation`,
    expr: interpolate(target.expr),
  })),
  ...dashboard.panels.flatMap((panel) =>
    'targets' in panel
      ? panel.targets.map(({ expr, legendFormat }) => ({
          where: [`${dashboard.uid}: ${panel.title}`, legendFormat].filter((part) => part !== '').join(', '),
          expr: interpolate(expr),
        }))
      : [],
  ),
]);

interface RuleFile {
  readonly groups: readonly {
    readonly name: string;
    readonly rules: readonly Rule[];
  }[];
}

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export const rulesFolder = join(packageRoot, 'compose/monitoring/rules');

/** All rules of all files. */
export async function readRules(): Promise<readonly Rule[]> {
  const texts = (await readdir(rulesFolder)).map((name) => readFile(join(rulesFolder, name), 'utf8'));
  const files = (await Promise.all(texts)).map((text) => parse(text) as RuleFile);
  return files.flatMap(({ groups }) => groups.flatMap(({ rules }) => rules));
}

/** What must have an answer whenever the job runs and a fault is in force: panels, and rules that record. */
export async function queriesWithAnswer(): Promise<readonly MonitoringQuery[]> {
  const recorded = (await readRules()).flatMap(({ record, expr }) =>
    record === undefined ? [] : [{ where: `rule ${record}`, expr }],
  );
  return [...panelQueries, ...recorded].filter(({ where }) => !mayBeEmpty.has(where));
}

/** What may have no answer even then, and why. */
export const mayBeEmpty: ReadonlyMap<string, string> = new Map([
  ['sf-recovery: Last figures, catch-up', 'a trial whose fault was masked has none'],
  ['sf-recovery: Last figures, redundancy', 'a trial in which nobody was missed has none'],
  ['sf-cluster: Pressure, cpu', 'a kernel may not count it'],
  ['sf-cluster: Pressure, io', 'a kernel may not count it'],
  ['sf-cluster: Pressure, memory', 'a kernel may not count it'],
]);

const keywords = new Set(
  'and or unless by without on ignoring group_left group_right bool offset'.split(' '),
);

/** The metrics that an expression selects. Enough for ours: no metric of theirs is called as a label or a function. */
export function metricsIn(expr: string): readonly string[] {
  const bare = expr
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, '')
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '');
  const words = bare.match(/(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()\b/g) ?? [];
  return [...new Set(words.filter((word) => !keywords.has(word)))];
}
