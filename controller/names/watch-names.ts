import { messageOf } from '../../provisioners/contract.ts';
import { untilAborted } from '../../provisioners/shared/until-aborted.ts';
import type { Finding } from '../cluster/cluster-plan.ts';
import { ClusterNames, lookAtNames, type NameLook, type NamePorts, type Occasion } from './cluster-names.ts';

export interface NameWatchPorts extends NamePorts {
  /** Those that are to be looked after. */
  readonly clusters: () => readonly string[];
  /** Whether a schedule runs there: it has the names looked after itself, between its trials. */
  readonly isOnTrial: (cluster: string) => boolean;
}

/** Sees to it that every service's name is resolved on every node. */
export interface NameWatch {
  /** Asks once, and does nothing about it. */
  look(cluster: string, signal: AbortSignal): Promise<NameLook>;
  /** Resolves when all is heard everywhere, or no more can be done about it; rejects only as the signal says. */
  settle(cluster: string, signal: AbortSignal): Promise<void>;
  /** Services are being restarted for it. */
  isHealing(cluster: string): boolean;
  /** What is left for people to mend. */
  problems(cluster: string): readonly Finding[];
  /** A node has come back, or a run is over: the next look does not wait. */
  hint(): void;
  /** Looks after all clusters on which no schedule runs, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

const everyMs = 60_000;
/** Where no trial is to blame, what makes a node deaf again and again is not answered by restarts without end. */
const restMs = 600_000;

export function nameWatch(ports: NameWatchPorts): NameWatch {
  const { clock, clusterOf, scripts, log } = ports;
  const watched = new Map<string, { readonly names: ClusterNames; busy: Promise<void> }>();
  let wake = () => {};
  const watch = (cluster: string) => {
    const one = watched.get(cluster) ?? {
      names: new ClusterNames(cluster, ports),
      busy: Promise.resolve(),
    };
    watched.set(cluster, one);
    return one;
  };
  /** One at a time for each cluster. That nobody can be asked is the reconciler's to tell. */
  const attend = (cluster: string, occasion: Occasion, signal: AbortSignal): Promise<void> => {
    const one = watch(cluster);
    one.busy = one.busy
      .then(() => one.names.attend(occasion, signal))
      .catch((error: unknown) => {
        if (!signal.aborted) log.debug({ cluster, reason: messageOf(error) }, 'names not asked for');
      });
    return untilAborted(one.busy, signal);
  };
  return {
    look: (cluster, signal) => lookAtNames(clusterOf(cluster), scripts, signal),
    settle: (cluster, signal) => attend(cluster, { restMs: 0, isFree: () => true }, signal),
    isHealing: (cluster) => watched.get(cluster)?.names.isHealing ?? false,
    problems: (cluster) => watched.get(cluster)?.names.problems ?? [],
    hint: () => wake(),
    async run(signal) {
      for (;;) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const clusters = ports.clusters();
        for (const cluster of watched.keys()) if (!clusters.includes(cluster)) watched.delete(cluster);
        const looks = clusters.map((cluster) => ({
          cluster,
          restMs,
          isFree: () => !ports.isOnTrial(cluster),
        }));
        const free = looks.filter(({ isFree }) => isFree());
        await Promise.all(free.map(({ cluster, ...occasion }) => attend(cluster, occasion, signal)));
        await Promise.race([clock.sleep(everyMs, signal), woken]);
      }
    },
  };
}
