/** Who speaks for parts of the system, each of what it watches itself. */
export const controlPlanes = ['spark-master', 'spark-driver', 'kafka', 'zookeeper', 'swarm'] as const;
/** One of them. */
export type ControlPlane = (typeof controlPlanes)[number];

/**
 * Each is asked again half a second after its last answer, and waited for one second or two: a longer silence is not one
 * slow answer.
 */
export const heardWithinMs = 3_000;

/** One answer of a control plane. */
export interface ControlPlaneView {
  readonly source: ControlPlane;
  /** When it was asked; what it says is true of an instant between the two. */
  readonly askedMs: number;
  /** When it answered, epoch ms: by the controller's clock for the swarm, which the controller asks, else the observer's. */
  readonly atMs: number;
  /** What it can lose, counted, by a name that no other control plane uses: workersAlive, inSyncReplicas. */
  readonly parts: Readonly<Record<string, number>>;
  /**
   * How many of its members it has given up since the asking began. Who goes and is replaced between two answers, or
   * comes back as another, is missing in no count.
   */
  readonly losses: number;
}

/** What a control plane answered: its members by names that are never given anew, and the counts of what it can lose. */
export interface ControlPlaneAnswer {
  readonly members: readonly string[];
  readonly parts: Readonly<Record<string, number>>;
}

/** Makes views of answers, given in order; who did not answer has lost nobody. */
export function viewer(
  source: ControlPlane,
): (answer: ControlPlaneAnswer, times: Pick<ControlPlaneView, 'askedMs' | 'atMs'>) => ControlPlaneView {
  let known: readonly string[] = [];
  let losses = 0;
  return ({ members, parts }, { askedMs, atMs }) => {
    const present = new Set(members);
    losses += known.filter((member) => !present.has(member)).length;
    known = members;
    return { source, askedMs, atMs, parts, losses };
  };
}
