import type { Question } from './plan-questions.ts';

/** What the engine's name server said to one question; `cut`: there were more addresses than it told. */
export interface Answer {
  readonly container: string;
  readonly name: string;
  readonly state: 'whole' | 'cut' | 'none';
  readonly addresses: readonly string[];
}

/** A name for which a node hears something else than the swarm says. */
export interface Deafness {
  readonly node: string;
  readonly network: string;
  readonly name: string;
  /** Those that go by that name there. */
  readonly services: readonly string[];
  /** Addresses that it should hear. */
  readonly missing: readonly string[];
  /** Addresses that it hears, and that no task has. */
  readonly stale: readonly string[];
}

/** What came of one question. */
export type Judged =
  /** Nobody answered: the node cannot be asked, or the container is gone. */
  | { readonly heard: 'unknown'; readonly key: string; readonly node: string }
  | { readonly heard: 'rightly'; readonly key: string; readonly node: string }
  | { readonly heard: 'wrongly'; readonly key: string; readonly node: string; readonly deafness: Deafness };

/** Compares what was answered with what the swarm says. */
export function judgeAnswers(questions: readonly Question[], answers: readonly Answer[]): readonly Judged[] {
  const byQuestion = new Map(answers.map((answer) => [`${answer.container} ${answer.name}`, answer]));
  return questions.map((question): Judged => {
    const { node, container, name, meanings } = question;
    const [{ network, services, running }] = meanings;
    const asked = { key: keyOf({ node, network, name }), node };
    const answer = byQuestion.get(`${container} ${name}`);
    if (!answer) return { ...asked, heard: 'unknown' };
    const { state, addresses } = answer;
    const missingFrom = (running: readonly string[]) =>
      state === 'cut' ? [] : running.filter((address) => !addresses.includes(address));
    const stale = addresses.filter((address) => !meanings.some(({ known }) => known.includes(address)));
    const isComplete = meanings.some((meaning) => missingFrom(meaning.running).length === 0);
    const missing = isComplete ? [] : missingFrom(running);
    if (missing.length + stale.length === 0) return { ...asked, heard: 'rightly' };
    return { ...asked, heard: 'wrongly', deafness: { node, network, name, services, missing, stale } };
  });
}

/** Those of the judgements that tell of a node that does not hear. */
export function deafOf(judged: readonly Judged[]): readonly Deafness[] {
  return judged.flatMap((one) => (one.heard === 'wrongly' ? [one.deafness] : []));
}

/** What was so at both looks: the swarm's list and the names of its tasks do not change in the same instant. */
export function stillDeaf(before: readonly Deafness[], now: readonly Deafness[]): readonly Deafness[] {
  return now.flatMap((one) => {
    const earlier = before.find((other) => keyOf(other) === keyOf(one));
    const missing = one.missing.filter((address) => earlier?.missing.includes(address));
    const stale = one.stale.filter((address) => earlier?.stale.includes(address));
    return missing.length + stale.length === 0 ? [] : [{ ...one, missing, stale }];
  });
}

/** Which name, asked where. */
export function keyOf({ node, network, name }: Pick<Deafness, 'node' | 'network' | 'name'>): string {
  return `${node} ${network} ${name}`;
}

/** By the node that is deaf. */
export function byNode(deaf: readonly Deafness[]): ReadonlyMap<string, readonly Deafness[]> {
  const nodes = [...new Set(deaf.map(({ node }) => node))];
  return new Map(nodes.map((node) => [node, deaf.filter((one) => one.node === node)]));
}

/** Their names alone, for people. */
export function describeNames(deaf: readonly Deafness[]): string {
  return listed([...new Set(deaf.map(({ name }) => name))], ', ');
}

/** What one node does not hear as it should, for people. */
export function describeDeafness(deaf: readonly Deafness[]): string {
  const told = deaf.map(({ name, network, missing, stale }) => {
    const lacks = missing.length > 0 ? [`lacks ${missing.join(', ')}`] : [];
    const has = stale.length > 0 ? [`has ${stale.join(', ')}, which no task has`] : [];
    return `${name} on ${network} ${[...lacks, ...has].join(' and ')}`;
  });
  return listed(told, '; ');
}

const shown = 5;

function listed(all: readonly string[], separator: string): string {
  const more = all.length > shown ? [`and ${all.length - shown} more`] : [];
  return [...all.slice(0, shown), ...more].join(separator);
}
