import type { LiveConfig } from '../swarm/swarm-types.ts';

/**
 * Who may act on a cluster, as labels of a config in the cluster's own swarm: labels can be changed, and only by who names
 * the version that he has read; raft gives everybody the same answer, and without a quorum nobody can change anything.
 */
export interface LeaseRecord {
  /** Empty: let go. */
  readonly holder: string;
  /** Counts the holders; grows each time that the lease is taken. */
  readonly term: number;
  /** Without a sign of life for so long it may be taken by another one. */
  readonly durationMs: number;
  /** When it was last renewed, for people: nobody compares clocks. */
  readonly renewed: string;
  /** Runs of schedules that were begun, by schedule: who leads next does not begin them again. */
  readonly runs: Readonly<Record<string, string>>;
}

const prefix = 'spark-failures.io/lease';
const label = {
  cluster: prefix,
  holder: `${prefix}-holder`,
  term: `${prefix}-term`,
  durationMs: `${prefix}-duration-ms`,
  renewed: `${prefix}-renewed`,
  run: `${prefix}-run.`,
} as const;

/** The holder of a record that was just made: it has to stand still as if somebody held it. */
export const nobody = 'nobody';

/** A config must have some content, which can never be changed. */
export const leaseData = Buffer.from('Its labels say which operator acts on the cluster.\n').toString(
  'base64',
);

export function leaseName(cluster: string): string {
  return `spark-failures-lease-${cluster}`;
}

export function leaseLabels(cluster: string, record: LeaseRecord): Readonly<Record<string, string>> {
  const runs = Object.entries(record.runs).map(([schedule, run]) => [`${label.run}${schedule}`, run]);
  return {
    [label.cluster]: cluster,
    [label.holder]: record.holder,
    [label.term]: String(record.term),
    [label.durationMs]: String(record.durationMs),
    [label.renewed]: record.renewed,
    ...(Object.fromEntries(runs) as Record<string, string>),
  };
}

/** What somebody's hand has spoiled reads as held by a stranger: it has to stand still before it is taken. */
export function readLease({ Spec: { Labels } }: Pick<LiveConfig, 'Spec'>): LeaseRecord {
  const number = (text: string | undefined) => (/^\d{1,15}$/.test(text ?? '') ? Number(text) : 0);
  const runs = Object.entries(Labels ?? {})
    .filter(([name]) => name.startsWith(label.run))
    .map(([name, run]) => [name.slice(label.run.length), run]);
  return {
    holder: Labels?.[label.holder] ?? 'unknown',
    term: number(Labels?.[label.term]),
    durationMs: number(Labels?.[label.durationMs]),
    renewed: Labels?.[label.renewed] ?? '',
    runs: Object.fromEntries(runs) as Record<string, string>,
  };
}
