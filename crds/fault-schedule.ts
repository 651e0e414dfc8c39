import { z } from 'zod';
import { checked, exactlyOne, type Report } from './exactly-one.ts';
import { durationField, nameField } from './fields.ts';
import { resourceSchema } from './object-meta.ts';
import { DURATION_PATTERN, parseDuration } from './parse-duration.ts';
import { nodesField, servicesField } from './selector.ts';
import { reportDuplicateNames } from './unique-names.ts';

/** What a schedule needs to know of a fault kind; every `FaultKind` of the catalogue has it. */
interface FaultKindSchema {
  readonly summary: string;
  readonly params: z.ZodType;
  readonly targets: readonly ('tasks' | 'nodes' | 'services')[];
  readonly instant: boolean;
}
type Kinds = Readonly<Record<string, FaultKindSchema>>;

const byName = { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] };

const port = (usual: number) =>
  z.strictObject({
    port: z
      .int()
      .min(1)
      .max(65_535)
      .default(usual)
      .describe('Where its tasks are asked, in their containers.'),
  });

const leadsSchema = exactlyOne(
  {},
  {
    sparkMaster: port(8080).describe("The standalone masters' active one (status ALIVE, not STANDBY)."),
    zookeeper: port(2181).describe('The leader of the ensemble, or its only server.'),
    kafkaController: port(9093).describe("The leader of Kafka's metadata quorum (KRaft)."),
    kafkaPartition: z
      .strictObject({
        topic: z.string().min(1).max(249),
        partition: z.int().min(0),
        port: port(9092).shape.port,
      })
      .describe('The broker that leads this partition.'),
  },
);

/** What a task of a service may lead, and how it is asked: exactly one is present. */
export type Leads = z.output<typeof leadsSchema>;

const targetSchema = checked(
  exactlyOne(
    {
      pick: z
        .enum(['one', 'all', 'minority', 'majority', 'leader'])
        .exactOptional()
        .describe(
          "How many of those that match, one when nothing is said; or the one that leads: among nodes the swarm's leader.",
        ),
      leads: leadsSchema
        .exactOptional()
        .describe('With pick leader, among services: what it is that the task leads.'),
      count: z.int().min(1).exactOptional().describe('How many of those that match, instead of pick.'),
    },
    {
      nodes: nodesField().describe('Whole machines.'),
      services: servicesField().describe(
        'Running tasks of services, or services as a whole: as the kind of fault is aimed.',
      ),
    },
  ),
  (target, report) => {
    if (target.pick !== undefined && target.count !== undefined)
      report(['count'], 'only one of pick, count may be given');
    checkLeader(target, report);
  },
);

/** Among nodes there is one leader, the swarm's; a service's task may lead several things. */
function checkLeader(
  { nodes, services, pick, leads }: Readonly<Record<string, unknown>>,
  report: Report,
): void {
  if (leads !== undefined && pick !== 'leader')
    report(['leads'], 'says what a leader leads: it goes with pick: leader');
  else if (leads !== undefined && nodes !== undefined && services === undefined)
    report(['leads'], "is for services: among nodes the leader is the swarm's");
  else if (leads === undefined && pick === 'leader' && services !== undefined)
    report(['pick'], `leader of what? Say leads: one of ${Object.keys(leadsSchema.shape).join(', ')}`);
}

const faultBase = {
  name: nameField().describe('Names the fault in trials, metrics and tables.'),
  target: targetSchema.describe('What is hurt; found anew when the run starts, chosen by the seed.'),
  hold: durationField()
    .default('0s')
    .describe('How long the effect lasts once it is seen; 0s for a kind that is over at once.'),
  onRestart: z
    .enum(['sticky', 'follow'])
    .default('sticky')
    .describe(
      'A task that restarts during the hold: sticky, the fault is over for it; follow, the new one is hurt as well.',
    ),
};

/** One entry of `spec.faults`; `faultOf` gives its kind and parameters. */
export type FaultEntry = z.output<z.ZodObject<typeof faultBase>> & Readonly<Record<string, unknown>>;

function faultSchema(kinds: Kinds): z.ZodType<FaultEntry> {
  const params: Readonly<Record<string, z.ZodType>> = Object.fromEntries(
    Object.entries(kinds).map(([name, kind]) => [name, kind.params.describe(kind.summary)]),
  );
  const schema = checked(exactlyOne(faultBase, params), (fault, report) => {
    const [[name, kind] = [], ...others] = Object.entries(kinds).filter(([one]) => fault[one] !== undefined);
    if (name !== undefined && kind !== undefined && others.length === 0)
      checkFault(fault, name, kind, report);
  });
  // The compiler cannot see that an object with the fields of the base and of any kind is an entry.
  return schema as unknown as z.ZodType<FaultEntry>;
}

/** What only the kind knows: whether there is anything to hold, and whether it hurts tasks or machines. */
function checkFault(
  fault: Readonly<Record<string, unknown>>,
  name: string,
  kind: FaultKindSchema,
  report: Report,
): void {
  const { nodes, services } = (fault.target ?? {}) as { nodes?: unknown; services?: unknown };
  if (!kind.targets.includes('nodes') && nodes !== undefined && services === undefined)
    report(['target', 'nodes'], `${name} is aimed at services, not at nodes`);
  if (kind.targets.every((aim) => aim === 'nodes') && services !== undefined && nodes === undefined)
    report(['target', 'services'], `${name} is aimed at nodes, not at services`);
  if (fault.onRestart === 'follow' && (kind.instant || !kind.targets.includes('tasks')))
    report(['onRestart'], `${name} is not held on tasks: there is nothing to follow`);
  if (!isDuration(fault.hold)) return;
  const holds = parseDuration(fault.hold) > 0;
  if (kind.instant && holds)
    report(['hold'], `${name} is over at once: there is nothing to hold, leave hold out or say 0s`);
  if (!kind.instant && !holds)
    report(['hold'], `${name} lasts until it is undone: say for how long, such as 30s`);
}

/** The presets by name, from inject-only to a publication; the numbers behind them are in `presets.ts`. */
const presetField = z
  .enum(['none', 'smoke', 'quick', 'standard', 'paper'])
  .default('quick')
  .describe(
    'How much is measured: smoke 1 trial, quick 3, standard 10, paper 30; none injects once and measures nothing.',
  );

function specSchema(kinds: Kinds) {
  const shape = z.strictObject({
    clusterRef: z.strictObject({ name: nameField() }).describe('The ClusterSpec whose cluster is hurt.'),
    seed: z
      .int()
      .min(0)
      .max(0xffff_ffff)
      .exactOptional()
      .describe('Every random choice comes from it; drawn and written to status when absent.'),
    when: exactlyOne({}, { now: z.strictObject({}).describe('Once per uid and generation.') }).describe(
      'When it runs.',
    ),
    preset: presetField,
    trials: z
      .int()
      .min(1)
      .max(1000)
      .exactOptional()
      .describe('Trials of each fault, instead of the number of the preset.'),
    controls: z
      .int()
      .min(0)
      .max(1000)
      .exactOptional()
      .describe(
        'Trials in which nothing is done, in all, among the others: instead of one for every five of these, at least 1 ' +
          'with quick, 10 with standard and paper, and none with smoke.',
      ),
    calibration: durationField()
      .exactOptional()
      .describe('Fault-free time that sets the threshold, instead of that of the preset.'),
    gate: durationField()
      .exactOptional()
      .describe('Steady time demanded before each fault, instead of that of the preset.'),
    maxRecovery: durationField()
      .exactOptional()
      .describe('After it a trial that has not recovered is censored, instead of 10m.'),
    gap: durationField()
      .exactOptional()
      .describe('Quiet time between the end of one trial and the next, instead of that of the preset.'),
    reset: z
      .enum(['none', 'job'])
      .default('none')
      .describe(
        'What is made anew between trials. job: the tasks of the service that is called driver, and with them its ' +
          'executors; checkpoint and topics stay.',
      ),
    maxHold: durationField()
      .default('10m')
      .describe('No fault of this schedule may be held longer: a typing error costs minutes, not a night.'),
    allowQuorumLoss: z
      .boolean()
      .default(false)
      .describe('Permit a fault that breaks a quorum: managers, ZooKeeper, in-sync replicas.'),
    allowMeasurementNodes: z
      .boolean()
      .default(false)
      .describe(
        "Permit a fault that stops the generator, the broker or the observer, or hits the whole of its node or of the operator's.",
      ),
    together: z
      .array(nameField())
      .min(2)
      .exactOptional()
      .describe('Faults of this schedule, by name, that begin at the same moment and are one trial.'),
    faults: z
      .array(faultSchema(kinds))
      .min(1)
      .meta(byName)
      .describe(
        'What is broken, one after another but for those that are together: in an order drawn from the seed, and with ' +
          'preset none as it is written.',
      ),
  });
  return checked(shape, checkSchedule).describe('The faults to inject, and how they are measured.');
}

function checkSchedule(spec: Readonly<Record<string, unknown>>, report: Report): void {
  reportDuplicateNames(spec.faults, 'faults', report);
  checkTogether(spec, report);
  reportLongHolds(spec, report);
  reportControlsName(spec, report);
  const isUnmeasured = spec.preset === 'none';
  for (const field of ['trials', 'controls', 'calibration', 'gate', 'maxRecovery', 'reset']) {
    const isGiven = spec[field] !== undefined && !(field === 'reset' && spec.reset === 'none');
    if (isUnmeasured && isGiven)
      report([field], 'preset none measures nothing: leave it out, or choose another preset');
  }
  for (const field of ['calibration', 'gate']) {
    const window = spec[field];
    if (!isUnmeasured && isDuration(window) && parseDuration(window) < shortestWindowMs)
      report([field], `${window} is too short to be judged: 5s at least`);
  }
}

/** Nothing can be told of the rhythm of a job from less: calibration needs five commits. */
const shortestWindowMs = 5_000;

/** What trials in which nothing is done are called in records, tables and metrics. */
export const CONTROL = 'control';

function reportControlsName({ faults }: Readonly<Record<string, unknown>>, report: Report): void {
  if (!Array.isArray(faults)) return;
  for (const [index, fault] of (faults as readonly unknown[]).entries()) {
    if ((Object(fault) as { readonly name?: unknown }).name === CONTROL)
      report(['faults', index, 'name'], `"${CONTROL}" is what trials without a fault are called`);
  }
}

function checkTogether({ together, faults }: Readonly<Record<string, unknown>>, report: Report): void {
  if (!Array.isArray(together) || !Array.isArray(faults)) return;
  const names = faults.map((fault: { name?: unknown } | null) => fault?.name);
  for (const [index, name] of together.entries()) {
    if (!names.includes(name)) report(['together', index], `there is no fault "${String(name)}"`);
    else if (together.indexOf(name) < index) report(['together', index], `"${String(name)}" is named twice`);
  }
}

function reportLongHolds({ faults, maxHold }: Readonly<Record<string, unknown>>, report: Report): void {
  if (!isDuration(maxHold) || !Array.isArray(faults)) return;
  for (const [index, fault] of (faults as readonly unknown[]).entries()) {
    const { hold } = Object(fault) as { readonly hold?: unknown };
    if (isDuration(hold) && parseDuration(hold) > parseDuration(maxHold))
      report(['faults', index, 'hold'], `${hold} is longer than this schedule's limit, maxHold ${maxHold}`);
  }
}

function isDuration(value: unknown): value is string {
  return typeof value === 'string' && DURATION_PATTERN.test(value);
}

/** The schema of a FaultSchedule manifest; takes the fault kinds of the catalogue by name. */
export function faultScheduleSchema(kinds: Kinds) {
  return resourceSchema('FaultSchedule', specSchema(kinds)).describe(
    'Faults for one cluster, and how their recovery is measured.',
  );
}

/** A valid FaultSchedule with its defaults filled in; durations stay text, for `parseDuration`. */
export type FaultSchedule = z.output<ReturnType<typeof faultScheduleSchema>>;

/** What one trial of a schedule breaks: a fault, or those that are together, in the place of the first of them. */
export interface FaultGroup {
  /** As trials and metrics call it: of several the names, joined by `+`. */
  readonly name: string;
  readonly faults: readonly FaultEntry[];
}

/** The groups of a schedule, in the order of their trials. */
export function faultGroups({
  faults,
  together = [],
}: Pick<FaultSchedule['spec'], 'faults' | 'together'>): readonly FaultGroup[] {
  const joined = faults.filter(({ name }) => together.includes(name));
  return faults.flatMap((fault) => {
    if (!joined.includes(fault)) return [{ name: fault.name, faults: [fault] }];
    if (fault !== joined[0]) return [];
    return [{ name: joined.map(({ name }) => name).join('+'), faults: joined }];
  });
}

/** The one kind that an entry names, and its parameters, which that kind's own schema has checked. */
export function faultOf(entry: FaultEntry): { readonly kind: string; readonly params: unknown } {
  const [kind, params] = Object.entries(entry).find(([key]) => !(key in faultBase)) ?? ['', undefined];
  return { kind, params };
}
