import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { resourceKinds } from '../../controller/resource-kinds.ts';
import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import type { FaultKind } from '../../state-machines/contract.ts';

export const packageRoot = join(import.meta.dirname, '..', '..', '..');

/** The schedule that shows how a kind is used. */
export async function exampleOf({ name }: Pick<FaultKind, 'name'>): Promise<FaultSchedule> {
  const kebab = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const text = await readFile(join(packageRoot, 'manifests', 'examples', 'faults', `${kebab}.yaml`), 'utf8');
  return resourceKinds.FaultSchedule.parse(parse(text));
}
