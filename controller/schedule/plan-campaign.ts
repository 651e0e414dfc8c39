import { windowMs } from '../../compose/streaming/records/window.ts';
import { CONTROL, type FaultGroup, type FaultSchedule, faultGroups } from '../../crds/fault-schedule.ts';
import { measurementPlan } from '../../crds/presets.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import { shuffle } from './select-targets.ts';

/** One trial of a campaign, before it begins. */
export interface CampaignTrial {
  /** From 1, in the order of the campaign. */
  readonly number: number;
  /** What is broken; of a control, what it stands for: it has its hold and its watch, and nothing is done. */
  readonly group: FaultGroup;
  readonly isControl: boolean;
  /** Every random choice of this trial comes from it: targets, phase. */
  readonly seed: number;
}

/** Each kind of draw has a stream of its own: what is drawn for one must not decide the other. */
const streams = { order: 0x6f726465, phase: 0x70686173 } as const;

/**
 * All trials of a schedule in their order, which the seed alone decides: every fault as often as it is measured,
 * shuffled, so that nothing that drifts with time is taken for a difference between faults; and one control at a random
 * place in each of as many equal stretches, so that they see the whole of the campaign. Injections without measurement
 * stay in the order in which they are written: it is a script.
 */
export function planCampaign(spec: FaultSchedule['spec'], seed: number): readonly CampaignTrial[] {
  const { trials, controls } = measurementPlan(spec);
  const groups = faultGroups(spec);
  const written = Array.from({ length: Math.max(1, trials) }, () => groups).flat();
  const random = seededRandom(seed ^ streams.order);
  const broken = spec.preset === 'none' ? written : shuffle(written, random);
  const drawn = shuffle(groups, random);
  const alike = Array.from({ length: controls }, (_, index) => drawn[index % drawn.length]!);
  const models = shuffle(alike, random);
  const places = stretches(broken.length + controls, controls).map(
    ({ from, length }) => from + Math.floor(random() * length),
  );
  return Array.from({ length: broken.length + controls }, (_, index) => {
    const isControl = places.includes(index);
    const group = (isControl ? models : broken).shift()!;
    return { number: index + 1, group, isControl, seed: trialSeed(seed, index + 1) };
  });
}

/** What a trial is called in records, tables and metrics. */
export function titleOf({ isControl, group }: Pick<CampaignTrial, 'isControl' | 'group'>): string {
  return isControl ? CONTROL : group.name;
}

/** The first trial of each fault, in the order of the campaign. */
export function firstOfEach(campaign: readonly CampaignTrial[]): readonly CampaignTrial[] {
  const broken = campaign.filter(({ isControl }) => !isControl);
  return broken.filter((one) => broken.find(({ group }) => group === one.group) === one);
}

/** `count` stretches of as equal a length as can be, which cover [0, whole). */
function stretches(
  whole: number,
  count: number,
): readonly { readonly from: number; readonly length: number }[] {
  const bounds = Array.from({ length: count + 1 }, (_, index) => Math.floor((index * whole) / count));
  return bounds.slice(1).map((to, index) => ({ from: bounds[index]!, length: to - bounds[index]! }));
}

/** The seed of one trial of a schedule: each draws its own targets, and any can be repeated alone. */
export function trialSeed(seed: number, number: number): number {
  return seed + number - 1;
}

/**
 * How long to wait between gate and fault, ms, so that the instant is uniform both within the trigger interval and within
 * the window, and faults do not lock to the rhythm of either. A uniform draw over the longer one is enough when the other
 * divides it; else the sum of a draw for each: whatever is added to an independent number that is uniform modulo m, the
 * sum is uniform modulo m.
 */
export function phaseOf(seed: number, triggerMs: number): number {
  const random = seededRandom(seed ^ streams.phase);
  const [longer, shorter] = [Math.max(triggerMs, windowMs), Math.min(triggerMs, windowMs)];
  const ofLonger = random() * longer;
  return Math.floor(longer % shorter === 0 ? ofLonger : ofLonger + random() * shorter);
}
