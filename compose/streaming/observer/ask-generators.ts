import { lookup } from 'node:dns/promises';
import { type GeneratorFrontier, joinFrontiers } from '../records/frontier.ts';
import { getJson } from './poll.ts';

/** What all generators together say, and when the one that was silent longest said its part; epoch ms. */
export interface JoinedAnswer {
  readonly frontier: GeneratorFrontier;
  readonly seenMs: number;
}

/** Asks every generator: a name may stand for several tasks. Rejects when none answers. */
export async function askGenerators(
  urls: readonly string[],
  signal: AbortSignal,
): Promise<readonly GeneratorFrontier[]> {
  const tasks = await Promise.all(urls.map(async (url) => eachTask(new URL('/frontier', url))));
  const answers = await Promise.allSettled(
    tasks.flat().map((task) => getJson<GeneratorFrontier>(task, signal)),
  );
  const frontiers = answers.flatMap((it) => (it.status === 'fulfilled' ? [it.value] : []));
  if (frontiers.length === 0) throw new Error(`no generator answers at ${urls.join(', ')}`);
  return frontiers;
}

async function eachTask(url: URL): Promise<readonly string[]> {
  const addresses = await lookup(url.hostname, { all: true, family: 4 });
  return addresses.map(({ address }) => Object.assign(new URL(url), { hostname: address }).href);
}

/** The newest answer of each generator: one that falls silent is still part of the whole. */
export class GeneratorAnswers {
  private newest: readonly JoinedAnswer[] = [];

  /** Null until every partition's generator has answered once. */
  add(frontiers: readonly GeneratorFrontier[], nowMs: number): JoinedAnswer | null {
    const fresh = frontiers.map((frontier) => ({ frontier, seenMs: nowMs }));
    const kept = this.newest.filter(({ frontier }) => frontiers.every((one) => isBeside(frontier, one)));
    this.newest = [...kept, ...fresh];
    const frontier = joinFrontiers(this.newest.map((it) => it.frontier));
    return frontier && { frontier, seenMs: Math.min(...this.newest.map(({ seenMs }) => seenMs)) };
  }
}

/** True of another one of the same number of generators: when that changes, the old ones say no more. */
function isBeside({ share: old }: GeneratorFrontier, { share: now }: GeneratorFrontier): boolean {
  return old !== undefined && now !== undefined && old.count === now.count && old.index !== now.index;
}
