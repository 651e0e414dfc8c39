import { z } from 'zod';
import { exactlyOne } from './exactly-one.ts';

type Labels = Readonly<Record<string, string>>;

/** What a manifest names things by: exactly one of the two is present. */
export interface Selector {
  readonly matchNames?: readonly string[];
  readonly matchLabels?: Labels;
}

const names = z.array(z.string().min(1)).min(1);
const labels = z
  .record(z.string().min(1), z.string())
  .refine((wanted) => Object.keys(wanted).length > 0, 'expected at least 1 label, got none')
  .meta({ minProperties: 1 });

/** A choice among `what` by names, which take `nameForm`, or by labels. */
export function selectorField(what: string, nameForm: string) {
  return exactlyOne(
    {},
    {
      matchNames: names.describe(`These ${what}, ${nameForm}.`),
      matchLabels: labels.describe(`The ${what} that carry all of these labels.`),
    },
  );
}

/** A choice among the nodes of a cluster. */
export const nodesField = () => selectorField('nodes', 'as the manifest of the cluster names them');

/** A choice among the services of a cluster. */
export const servicesField = () =>
  selectorField('services', 'as the compose file or the swarm names them: kafka, streaming_kafka');

/** One side of a network fault: exactly one of the two is present. */
export interface Side {
  readonly nodes?: Selector;
  readonly services?: Selector;
}

/** Who is on the other side of a network fault. */
export const sideField = () =>
  exactlyOne(
    {},
    {
      nodes: nodesField().describe('Machines; of a fault aimed at tasks, also all tasks that run there.'),
      services: servicesField().describe(
        'All tasks of services, by the networks that they share with the chosen tasks; only of a fault aimed at tasks.',
      ),
    },
  );

/** Whether a selector means this one. A service answers to its full name and to the one in its compose file. */
export function isSelected(
  { matchNames, matchLabels = {} }: Selector,
  { name, labels }: { readonly name: string; readonly labels: Labels },
): boolean {
  const isNamed = matchNames?.some((wanted) => name === wanted || name.endsWith(`_${wanted}`)) ?? true;
  return isNamed && Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
}
