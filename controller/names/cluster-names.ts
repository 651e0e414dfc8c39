import { messageOf } from '../../provisioners/contract.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { Scripts } from '../../state-machines/load-scripts.ts';
import type { Finding } from '../cluster/cluster-plan.ts';
import type { ClusterMetrics } from '../metrics/cluster-metrics.ts';
import type { ClusterAccess } from '../schedule/cluster-access.ts';
import type { NewEvent } from '../status/events.ts';
import { CLUSTER_LABEL } from '../swarm/labels.ts';
import { restartServices } from '../workload/restart-services.ts';
import { askNodes } from './ask-nodes.ts';
import {
  byNode,
  type Deafness,
  deafOf,
  describeDeafness,
  describeNames,
  type Judged,
  judgeAnswers,
  keyOf,
  stillDeaf,
} from './deafness.ts';
import { type Beyond, type Healing, planHealing } from './plan-healing.ts';
import { listSwarm, planQuestions, type SwarmLists } from './plan-questions.ts';

export interface NamePorts {
  readonly clock: Clock;
  readonly scripts: Pick<Scripts, 'resolve'>;
  /** Throws when the cluster is not known. */
  readonly clusterOf: (cluster: string) => NamedCluster;
  /** False: what differs there is only to be reported. */
  readonly mayHeal: (cluster: string) => boolean;
  /** Something that the cluster's status is to tell. */
  readonly tell: (cluster: string, event: NewEvent) => void;
  readonly metrics: Pick<ClusterMetrics, 'namesUnheard' | 'forcedForNames'>;
  readonly log: Readonly<Record<'info' | 'warn' | 'debug', (fields: object, message: string) => void>>;
}

type NamedCluster = Pick<ClusterAccess, 'nodes' | 'swarm' | 'claims' | 'interventions'>;

/** One look, or what was so in all of several. */
export interface NameLook {
  readonly judged: readonly Judged[];
  readonly deaf: readonly Deafness[];
  readonly services: SwarmLists['services'];
}

/** When names are looked after. */
export interface Occasion {
  /** A service that was updated by force for this so short a time ago is not again. */
  readonly restMs: number;
  /** Whether services may be restarted now: not while a trial is on. */
  readonly isFree: () => boolean;
}

/** Whose doing it is, in claims and interventions. */
const owner = 'the look for deaf nodes';

/**
 * Engines join those that they have lost once a minute, and tell each other all that they know every 30 s (networkdb's
 * rejoinClusterInterval, PushPullInterval): what was not heard by then is not heard by itself.
 */
const patienceMs = 75_000;
/** A new task is told of at once. */
const patienceAfterHealMs = 15_000;
const againMs = 5_000;

/** Asks every node of a cluster for all names that it should hear. */
export async function lookAtNames(
  { nodes, swarm }: Pick<NamedCluster, 'nodes' | 'swarm'>,
  scripts: NamePorts['scripts'],
  signal: AbortSignal,
): Promise<NameLook> {
  const lists = await listSwarm(await swarm(signal), signal);
  const questions = planQuestions(lists);
  const judged = judgeAnswers(questions, await askNodes(questions, nodes, scripts, signal));
  return { judged, deaf: deafOf(judged), services: lists.services };
}

/** The names of one cluster, and what was done about those that were lost; in memory, a new process looks anew. */
export class ClusterNames {
  readonly #cluster: string;
  readonly #ports: NamePorts;
  #lost: readonly Deafness[] = [];
  #beyond: readonly Beyond[] = [];
  /** Services that were updated by force for a name, by its key. */
  readonly #tried = new Map<string, readonly string[]>();
  readonly #restartedAtMs = new Map<string, number>();
  #isHealing = false;

  constructor(cluster: string, ports: NamePorts) {
    this.#cluster = cluster;
    this.#ports = ports;
  }

  /** What is left for people to mend: in the way of Ready. */
  get problems(): readonly Finding[] {
    return [...byNode(this.#beyond.map(({ deafness }) => deafness))].map(([target, own]) => {
      const advice = this.#beyond.filter(({ deafness }) => own.includes(deafness)).map((one) => one.advice);
      const message = `${describeDeafness(own)}: ${[...new Set(advice)].join('; ')}`;
      return { target, reason: 'NamesUnresolved', message };
    });
  }

  /** Services are being restarted: the cluster is not what it will be. */
  get isHealing(): boolean {
    return this.#isHealing;
  }

  /** Looks, and heals what stays lost. */
  async attend({ restMs, isFree }: Occasion, signal: AbortSignal): Promise<void> {
    const look = await this.#persisting(patienceMs, signal);
    this.#takeIn(look, '');
    const { restart, beyond } = this.#plan(look, restMs);
    this.#beyond = beyond;
    if (restart.length === 0 || !isFree()) return;
    this.#isHealing = true;
    try {
      await this.#heal(look, restart, restMs, signal);
    } finally {
      this.#isHealing = false;
    }
  }

  /** One service after another, and then another look. */
  async #heal(
    { deaf }: NameLook,
    services: readonly string[],
    restMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const restarted: string[] = [];
    for (const service of services) {
      const why = await this.#restart(service, signal);
      if (why === undefined) restarted.push(service);
      else this.#log('warn', { service, reason: why }, 'service not updated by force');
    }
    if (restarted.length === 0) return;
    for (const one of deaf) {
      const own = one.services.filter((service) => restarted.includes(service));
      this.#tried.set(keyOf(one), [...(this.#tried.get(keyOf(one)) ?? []), ...own]);
    }
    const after = await this.#persisting(patienceAfterHealMs, signal);
    this.#takeIn(after, `, after a forced update of ${restarted.join(', ')}`);
    this.#beyond = this.#plan(after, restMs).beyond;
    for (const service of restarted) {
      const isLost = after.deaf.some((one) => one.missing.length > 0 && one.services.includes(service));
      this.#ports.metrics.forcedForNames(this.#cluster, isLost ? 'failed' : 'healed');
    }
  }

  /** Looks until nothing is amiss but what is known to be beyond us, or the same was amiss for so long. */
  async #persisting(limitMs: number, signal: AbortSignal): Promise<NameLook> {
    const { clock, clusterOf, scripts } = this.#ports;
    const known = new Set(this.#beyond.map(({ deafness }) => keyOf(deafness)));
    const startMs = clock.now();
    let look = await lookAtNames(clusterOf(this.#cluster), scripts, signal);
    while (look.deaf.some((one) => !known.has(keyOf(one))) && clock.now() - startMs < limitMs) {
      await clock.sleep(againMs, signal);
      const next = await lookAtNames(clusterOf(this.#cluster), scripts, signal);
      look = { ...next, deaf: stillDeaf(look.deaf, next.deaf) };
    }
    return look;
  }

  #plan({ deaf, services }: NameLook, restMs: number): Healing {
    const { clock, mayHeal } = this.#ports;
    const own = services.filter(({ Spec }) => Spec.Labels[CLUSTER_LABEL] === this.#cluster);
    return planHealing(deaf, {
      mayHeal: mayHeal(this.#cluster),
      isOurs: (service) => own.some(({ Spec }) => Spec.Name === service),
      wasTried: (service, one) => {
        const restartedAtMs = this.#restartedAtMs.get(service) ?? Number.NEGATIVE_INFINITY;
        const isRecent = clock.now() - restartedAtMs < restMs;
        return isRecent || this.#tried.get(keyOf(one))?.includes(service) === true;
      },
    });
  }

  /** A forced update to its end, well or not; gives why it was not begun. */
  async #restart(service: string, signal: AbortSignal): Promise<string | undefined> {
    const { clock, clusterOf } = this.#ports;
    const { swarm, claims, interventions } = clusterOf(this.#cluster);
    const services = await (await swarm(signal)).listServices(signal);
    const live = services.find(({ Spec }) => Spec.Name === service);
    if (!live) return 'it is gone';
    const [conflict] = claims.conflicts(owner, [service]);
    if (conflict !== undefined) return conflict;
    const over = interventions.begin(owner, `forced update of ${service}`);
    this.#restartedAtMs.set(service, clock.now());
    this.#log('info', { service }, 'service updated by force: its name was not resolved');
    try {
      await restartServices([live], { swarm, claims, owner, clock }, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#log('warn', { service, reason: messageOf(error) }, 'forced update not finished');
    } finally {
      over();
    }
    return undefined;
  }

  /** Tells what is heard again, and what is newly lost; what could not be asked for is as it was. */
  #takeIn({ judged, deaf }: NameLook, how: string): void {
    const { tell, metrics } = this.#ports;
    const heard = new Map(judged.map((one) => [one.key, one.heard]));
    const healed = this.#lost.filter((one) => heard.get(keyOf(one)) === 'rightly');
    const unknown = this.#lost.filter((one) => heard.get(keyOf(one)) === 'unknown');
    const lost = new Set(this.#lost.map(keyOf));
    for (const [node, own] of byNode(healed)) {
      const message = `${node} resolves ${describeNames(own)} again${how}`;
      tell(this.#cluster, { type: 'Normal', reason: 'NameResolutionHealed', message });
    }
    for (const [node, own] of byNode(deaf.filter((one) => !lost.has(keyOf(one))))) {
      const message = `${node}: ${describeDeafness(own)}`;
      tell(this.#cluster, { type: 'Warning', reason: 'NameResolutionLost', message });
      this.#log('warn', { node, names: describeNames(own) }, 'service names not resolved');
    }
    for (const one of healed) this.#tried.delete(keyOf(one));
    this.#lost = [...deaf, ...unknown];
    metrics.namesUnheard(
      this.#cluster,
      [...byNode(this.#lost)].map(([node, own]) => ({ node, names: own.length })),
    );
  }

  #log(level: 'info' | 'warn', fields: object, message: string): void {
    this.#ports.log[level]({ cluster: this.#cluster, ...fields }, message);
  }
}
