import { z } from 'zod';
import { checked } from '../../../crds/exactly-one.ts';
import { durationField } from '../../../crds/fields.ts';
import { DURATION_PATTERN, parseDuration } from '../../../crds/parse-duration.ts';
import { isSelected, type Selector, selectorField } from '../../../crds/selector.ts';
import {
  type Facts,
  type FaultKind,
  type FaultStep,
  RefusedError,
  type TaskTarget,
  targetName,
} from '../../contract.ts';
import { ipv4, sidesOf } from '../aimed-at-nodes.ts';
import { bitRateField, bitsPerSecond } from '../bit-rate.ts';
import { stepsOnTasks } from '../steps-on-tasks.ts';
import { bare, refuseMisspelt, subnetOf } from '../task-peers.ts';

/** What netem/inject.sh puts in force: netem's own words, and how many packets may wait there. */
interface Effect {
  readonly words: string;
  readonly limit: number;
}

const percentField = (what: string) =>
  z.number().min(0.01).max(100).describe(`How many of a hundred packets ${what}, by chance.`);

const shared = {
  correlation: z
    .number()
    .min(0)
    .max(100)
    .default(0)
    .describe(
      "How much of a packet's luck is that of the one before, in percent: by it, luck comes in bursts.",
    ),
  to: selectorField('peers', 'nodes for a fault on nodes, services for one on services')
    .exactOptional()
    .describe(
      'Whose packets are affected: what is sent to these nodes, or to tasks of these services. All of them when absent.',
    ),
};

const waiting = {
  ...shared,
  rate: bitRateField()
    .default('1gbit')
    .describe('Up to which rate of sending no packet is lost because too many wait.'),
};

/** What every kind of this mechanism is. */
const emulated = {
  level: 'network',
  mechanism: 'netem',
  needs: ['systemd', 'netem', 'ping'],
  death: 'slowness',
  targets: ['nodes', 'tasks'],
  instant: false,
} as const;

const longestMs = 10_000;
const delayField = () =>
  durationField().refine((text) => !DURATION_PATTERN.test(text) || isDelay(parseDuration(text)), {
    error: 'expected a duration from 1ms to 10s',
  });

const delayParams = checked(
  z.strictObject({
    delay: delayField().default('100ms').describe('By how much later each packet leaves.'),
    jitter: durationField()
      .default('0s')
      .describe('By how much that varies, up and down; at most the delay.'),
    distribution: z
      .enum(['uniform', 'normal', 'pareto', 'paretonormal'])
      .default('uniform')
      .describe('How the jitter is distributed.'),
    ...waiting,
  }),
  ({ delay = '100ms', jitter = '0s', distribution = 'uniform', correlation = 0 }, report) => {
    const [delayMs, jitterMs] = [delay, jitter].map((text) =>
      typeof text === 'string' && DURATION_PATTERN.test(text) ? parseDuration(text) : 0,
    );
    if (jitterMs! > delayMs!) report(['jitter'], 'expected at most the delay');
    if (jitterMs === 0 && distribution !== 'uniform')
      report(['distribution'], 'there is no jitter that could be distributed');
    if (jitterMs === 0 && correlation !== 0)
      report(['correlation'], 'there is no jitter that could be correlated');
  },
);

/** Packets arrive late, as over a long line: whoever waits for an answer does less. */
export const delay: FaultKind<z.output<typeof delayParams>> = {
  name: 'delay',
  ...emulated,
  summary:
    'Delays what the chosen nodes or tasks send to others, with jitter if asked for; ssh stays as it was.',
  params: delayParams,
  plan({ delay: text, jitter, correlation, distribution, rate, to }, facts) {
    const [delayMs, jitterMs] = [parseDuration(text), parseDuration(jitter)];
    const spread = jitterMs > 0 ? [`${jitterMs}ms`, `${correlation}%`] : [];
    const shape = distribution === 'uniform' ? [] : ['distribution', distribution];
    const words = ['delay', `${delayMs}ms`, ...spread, ...shape].join(' ');
    return stepsFor(delay, { words, limit: packetsOnTheWay(rate, delayMs + jitterMs) }, to, facts);
  },
};

const lossParams = z.strictObject({ percent: percentField('are lost').default(10), ...shared });

/** Packets vanish, as on a bad line; TCP sends them again, later each time. */
export const loss: FaultKind<z.output<typeof lossParams>> = {
  name: 'loss',
  ...emulated,
  death: 'silence', // up to all of them
  summary: 'Loses a share of what the chosen nodes or tasks send to others; ssh stays as it was.',
  params: lossParams,
  plan: ({ percent, correlation, to }, facts) =>
    stepsFor(loss, byChance('loss', percent, correlation), to, facts),
};

const duplicateParams = z.strictObject({ percent: percentField('arrive twice').default(10), ...shared });

/** Packets arrive twice, as where two ways lead to the same place. */
export const duplicate: FaultKind<z.output<typeof duplicateParams>> = {
  name: 'duplicate',
  ...emulated,
  summary: 'Sends a share of what the chosen nodes or tasks send to others twice; ssh stays as it was.',
  params: duplicateParams,
  plan: ({ percent, correlation, to }, facts) =>
    stepsFor(duplicate, byChance('duplicate', percent, correlation), to, facts),
};

const corruptParams = z.strictObject({ percent: percentField('have one bit turned').default(10), ...shared });

/** A bit of a packet turns: most are noticed by a checksum and dropped, and a few may not be. */
export const corrupt: FaultKind<z.output<typeof corruptParams>> = {
  name: 'corrupt',
  ...emulated,
  summary:
    'Turns a bit in a share of what the chosen nodes or tasks send to others: checksums notice and drop; ssh stays as it was.',
  params: corruptParams,
  plan: ({ percent, correlation, to }, facts) =>
    stepsFor(corrupt, byChance('corrupt', percent, correlation), to, facts),
};

const reorderParams = z.strictObject({
  percent: z
    .number()
    .min(0.01)
    .max(99)
    .default(25)
    .describe('How many of a hundred packets overtake the others.'),
  delay: delayField().default('50ms').describe('By how much later the others leave.'),
  ...waiting,
});

/** Some packets overtake the others, which are late: TCP takes that for a loss, and slows down. */
export const reorder: FaultKind<z.output<typeof reorderParams>> = {
  name: 'reorder',
  ...emulated,
  summary:
    'Delays what the chosen nodes or tasks send to others, except a share that goes at once and overtakes it; ssh stays as it was.',
  params: reorderParams,
  plan({ percent, delay: text, correlation, rate, to }, facts) {
    const delayMs = parseDuration(text);
    const words = `delay ${delayMs}ms ${byChance('reorder', percent, correlation).words}`;
    return stepsFor(reorder, { words, limit: packetsOnTheWay(rate, delayMs) }, to, facts);
  },
};

function isDelay(ms: number): boolean {
  return ms >= 1 && ms <= longestMs;
}

/** Nothing waits: netem's own limit is that of any interface. */
function byChance(what: string, percent: number, correlation: number): Effect {
  return { words: `${what} ${percent}% ${correlation}%`, limit: 1000 };
}

/**
 * How many packets wait in a delay at once: Little's law, L = lambda x W, lambda being the rate over the size of a packet
 * (1000 bytes: a mix of full and small ones), half as many again and an interface's usual queue for bursts. netem drops
 * what finds so many, and its default of 1000 would do so at 80 Mbit/s and 100 ms.
 */
function packetsOnTheWay(rate: string, waitMs: number): number {
  return 1000 + Math.ceil((1.5 * bitsPerSecond(rate) * waitMs) / 1000 / (8 * 1000));
}

function stepsFor(
  kind: Pick<FaultKind, 'name' | 'mechanism'>,
  effect: Effect,
  to: Selector | undefined,
  facts: Facts,
): readonly FaultStep[] {
  return facts.targets.some((target) => target.kind === 'task')
    ? stepsInTasks(kind, effect, to, facts)
    : stepsOnNodes(kind, effect, to, facts);
}

function stepsOnNodes(
  { name: kind, mechanism }: Pick<FaultKind, 'name' | 'mechanism'>,
  effect: Effect,
  to: Selector | undefined,
  facts: Facts,
): readonly FaultStep[] {
  const { chosen, others } = sidesOf(kind, facts);
  refuseMisspelt(kind, to && { nodes: to }, facts);
  return chosen.map((node) => {
    const isPeer = ({ name }: { readonly name: string }) => name !== node.name;
    const wanted = facts.nodes.filter((each) => isPeer(each) && isSelected(to ?? {}, each));
    const peers = wanted.map(({ address }) => ipv4(kind, address));
    if (peers.length === 0) throw new RefusedError(`${kind}: ${node.name} has no such node to send to`);
    const healthy = others.map(({ address }) => address);
    const args = asArgs(ipv4(kind, node.controllerAddress), effect, peers, measuredBy(peers, healthy));
    return { node: node.name, target: node.name, mechanism, args };
  });
}

/** Inside the tasks' containers, on the networks of the swarm that they are attached to, and on no other. */
function stepsInTasks(
  kind: Pick<FaultKind, 'name' | 'mechanism'>,
  effect: Effect,
  to: Selector | undefined,
  facts: Facts,
): readonly FaultStep[] {
  const { targets, services } = facts;
  refuseMisspelt(kind.name, to && { services: to }, facts);
  const victims = targets.flatMap((target) => (target.kind === 'task' ? [target] : []));
  const isVictim = ({ containerId }: Pick<TaskTarget, 'containerId'>) =>
    victims.some((victim) => victim.containerId === containerId);
  const meant = services.filter((service) => isSelected(to ?? {}, service));
  const all = meant.flatMap((service) => service.tasks);
  const others = [...all, ...(to ? [] : victims)];
  return stepsOnTasks(kind, targets, []).map((step) => {
    const own = victims.filter((task) => targetName(task) === step.target);
    const networks = new Set(own.flatMap(({ addresses = [] }) => addresses).map(subnetOf));
    const near = (attached: readonly Pick<TaskTarget, 'addresses'>[]) =>
      attached
        .flatMap(({ addresses = [] }) => addresses)
        .filter((address) => networks.has(subnetOf(address)))
        .map(bare);
    const peers = near(others.filter(({ containerId }) => !step.args.includes(containerId)));
    if (peers.length === 0)
      throw new RefusedError(`${kind.name}: ${step.target} shares no network with any other such task`);
    const healthy = near(all.filter((task) => !isVictim(task)));
    // Who looks a service up may be told its virtual address, and sends to that.
    const destinations = to ? [...peers, ...near(meant)] : [...networks];
    const args = asArgs('-', effect, destinations, measuredBy(peers, healthy));
    return { ...step, args: [...args, ...step.args] };
  });
}

/** At most three peers, those that are no victims themselves before the others. */
function measuredBy(peers: readonly string[], healthy: readonly string[]): readonly string[] {
  const rank = (address: string) => (healthy.includes(address) ? 0 : 1);
  return peers.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).slice(0, 3);
}

/** The order of inject.sh, undo.sh and check.sh; containers' ids follow. */
function asArgs(
  controller: string,
  { words, limit }: Effect,
  destinations: readonly string[],
  measured: readonly string[],
): readonly string[] {
  const list = (addresses: readonly string[]) => [...new Set(addresses)].join();
  return [controller, words, String(limit), list(destinations.toSorted()), list(measured)];
}
