import type { Instant } from '../../crds/trial-record.ts';
import { type ControlPlane, type ControlPlaneView, controlPlanes, heardWithinMs } from './control-planes.ts';
import type { Sample } from './sample.ts';

/** What became of the system's spare parts, on the observer's clock. */
export interface Redundancy {
  /** `kept`: never seen below what it was; `unknown`: not everybody who was heard before could be asked at the end. */
  readonly state: 'kept' | 'restored' | 'lost' | 'unknown';
  /** When each control plane first showed a loss, the first one first; resolution: since it was asked for the answer before. */
  readonly noticed: readonly Instant[];
  /** From when on everything was as before, to the end of the rows; as the last control plane says. */
  readonly restored?: Instant;
}

/**
 * Compares the control planes' answers after the fault was ordered with the last ones before: from the effect itself
 * would be too late, for a closed socket may be noticed sooner than the check sees it. Whoever gives no answer for longer
 * than `heardWithinMs` has noticed nothing by that, but is not there until it answers again. `offsetMs`: the observer's
 * clock minus the controller's.
 */
export function judgeRedundancy(rows: readonly Sample[], orderedMs: number, offsetMs: number): Redundancy {
  const stories = new Map<ControlPlane, Story>();
  const heardAtMs = new Map<ControlPlane, number>();
  for (const [index, { atMs, views }] of rows.entries()) {
    // A row without an answer tells of silence; a hole between rows is the observer's.
    const previousMs = rows[index - 1]?.atMs ?? atMs;
    for (const view of views) {
      const story = stories.get(view.source);
      const isBack = previousMs - (heardAtMs.get(view.source) ?? previousMs) > heardWithinMs;
      heardAtMs.set(view.source, atMs);
      // An answer stays in the rows until the next one.
      if (story?.last.atMs === view.atMs) continue;
      const shiftMs = view.source === 'swarm' ? offsetMs : 0;
      const silentUntilMs = isBack ? previousMs : undefined;
      stories.set(view.source, continued(story, view, { orderedMs, shiftMs, silentUntilMs }));
    }
  }
  const heard = new Set(rows.at(-1)?.views.map(({ source }) => source));
  // One that was not heard before the fault tells nothing: nobody knows what it had.
  const fates = controlPlanes
    .flatMap((source) => stories.get(source) ?? [])
    .filter(({ before }) => before !== undefined)
    .map((story) => ({ ...story, state: stateOf(story, heard.has(story.last.source)) }));
  const states = new Set(fates.map(({ state }) => state));
  const graver = (['lost', 'unknown', 'restored', 'kept'] as const).find((state) => states.has(state));
  const state = graver ?? 'unknown';
  const restored = fates.flatMap((fate) => fate.restored ?? []).sort((a, b) => b.atMs - a.atMs)[0];
  return {
    state,
    noticed: fates.flatMap((fate) => fate.noticed ?? []).sort((a, b) => a.atMs - b.atMs),
    ...(state === 'restored' && restored && { restored }),
  };
}

/** What one control plane's answers tell, so far. */
interface Story {
  readonly last: ControlPlaneView;
  /** The last one before the fault was ordered; undefined when it was not heard then. */
  readonly before: ControlPlaneView | undefined;
  /** Of the last one, when it was given after the fault. */
  readonly isWhole: boolean | undefined;
  readonly noticed: Instant | undefined;
  /** Undefined as long as something lacks, and when nothing ever did. */
  readonly restored: Instant | undefined;
}

/**
 * With one more answer; `shiftMs`: the observer's clock minus that of the answer; `silentUntilMs`: the last row without
 * any, after a longer silence.
 */
function continued(
  story: Story | undefined,
  view: ControlPlaneView,
  {
    orderedMs,
    shiftMs,
    silentUntilMs,
  }: { readonly orderedMs: number; readonly shiftMs: number; readonly silentUntilMs: number | undefined },
): Story {
  const unhurt = { isWhole: undefined, noticed: undefined, restored: undefined };
  const atMs = view.atMs + shiftMs;
  if (atMs <= orderedMs) return { last: view, before: view, ...unhurt };
  if (!story?.before) return { last: view, before: undefined, ...unhurt };
  const { before, last, noticed } = story;
  // What the answer before was made from may be as old as its question.
  const askedMs = last.askedMs + shiftMs;
  const since = (ms: number): Instant => ({ atMs, source: view.source, resolutionMs: atMs - ms });
  const isWhole = Object.entries(before.parts).every(([part, count]) => (view.parts[part] ?? 0) >= count);
  const hasLost = !isWhole || view.losses > before.losses;
  const wasGone = story.isWhole === false || view.losses > last.losses || silentUntilMs !== undefined;
  const silentMs = (silentUntilMs ?? Number.NEGATIVE_INFINITY) - heardWithinMs;
  const back = wasGone ? since(Math.max(askedMs, silentMs)) : story.restored;
  return {
    last: view,
    before,
    isWhole,
    noticed: noticed ?? (hasLost ? since(askedMs) : undefined),
    restored: isWhole ? back : undefined,
  };
}

function stateOf({ isWhole, restored }: Story, isHeard: boolean): Redundancy['state'] {
  if (isWhole === false) return 'lost';
  if (isWhole === undefined || !isHeard) return 'unknown';
  return restored ? 'restored' : 'kept';
}
