import { diffTrees } from './diff-trees.ts';
import type { Difference } from './difference.ts';
import type { Labels } from './swarm-types.ts';

/** Every label that is missing, other, or not wanted at all. */
export function diffLabels(want: Labels, have: Labels): readonly Difference[] {
  return diffTrees({ Labels: want }, { Labels: have });
}
