import type { Deafness } from './deafness.ts';

/** What is to be done about names that stay unheard. */
export interface Healing {
  /** Services to be updated by force, one after another. */
  readonly restart: readonly string[];
  /** Those for which no forced update is of use, or allowed, with what to do instead. */
  readonly beyond: readonly Beyond[];
}

export interface Beyond {
  readonly deafness: Deafness;
  readonly advice: string;
}

/** What bears on it, beside what is unheard. */
export interface HealingContext {
  /** False: what differs is only to be reported. */
  readonly mayHeal: boolean;
  /** Whether a service was made by the cluster's manifest. */
  readonly isOurs: (service: string) => boolean;
  /** Whether a service was updated by force for that name, or so short a time ago that it is not to be done again. */
  readonly wasTried: (service: string, deafness: Deafness) => boolean;
}

/**
 * A name that is lost is republished by the tasks of its service when they are made anew: the counter-measure of moby#53141.
 * What is heard of tasks that are gone stays through that (moby#30487); only the engine that hears it can forget it.
 */
export function planHealing(deaf: readonly Deafness[], context: HealingContext): Healing {
  const { mayHeal, isOurs, wasTried } = context;
  const adviceFor = (one: Deafness): string | undefined => {
    const engine = `restart the engine of ${one.node}`;
    if (one.missing.length === 0) return engine;
    const names = one.services.join(', ');
    if (!mayHeal) return `the cluster is only reported on: update ${names} by force, or ${engine}`;
    if (!one.services.every(isOurs))
      return `${names} is not of this cluster: update it by force, or ${engine}`;
    const isLeft = one.services.some((service) => !wasTried(service, one));
    return isLeft ? undefined : `a forced update of ${names} did not help: ${engine}`;
  };
  const judged = deaf.map((deafness) => ({ deafness, advice: adviceFor(deafness) }));
  const healable = judged.flatMap(({ deafness, advice }) => (advice === undefined ? [deafness] : []));
  const restart = healable.flatMap((one) => one.services.filter((service) => !wasTried(service, one)));
  return {
    restart: [...new Set(restart)],
    beyond: judged.flatMap(({ deafness, advice }) => (advice === undefined ? [] : [{ deafness, advice }])),
  };
}
