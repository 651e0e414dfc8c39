import { z } from 'zod';
import { sourceSchema, trialRecordSchema } from './trial-record.ts';

const instant = z.string().describe('RFC 3339, UTC.');
const count = z.int().min(0);

/** One statement about a resource, with Kubernetes semantics. */
const conditionSchema = z.object({
  type: z.string().describe('Accepted, SourceReady, Ready, Reconciling, Stalled, Active or Complete.'),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string().describe('One CamelCase word of a fixed vocabulary.'),
  message: z.string().describe('For people.'),
  observedGeneration: count.describe('The generation that the statement is about.'),
  lastTransitionTime: instant,
});

/** Something that happened to a resource, newest last; repeats are counted, not listed. */
const objectEventSchema = z.object({
  type: z.enum(['Normal', 'Warning']),
  reason: z.string(),
  message: z.string(),
  count: z.int().min(1),
  firstTimestamp: instant,
  lastTimestamp: instant,
});

const names = z.array(z.string());

/** What a cluster's deletion destroys: only what is listed here, each by the name under which we made it. */
const inventorySchema = z.object({
  nodes: names,
  services: names,
  networks: names,
  configs: names,
  secrets: names,
  stacks: names,
});

const common = {
  uid: z.string().describe('Identity of the resource: another one under the same name has another uid.'),
  observedGeneration: count.describe('The newest generation that a pass has looked at.'),
  specHash: z
    .string()
    .exactOptional()
    .describe('Of the spec of that generation, so that a restart does not count as an edit.'),
  source: sourceSchema
    .extend({
      lastAttemptedRevision: z.string().exactOptional().describe('The newest commit that was looked at.'),
      lastAppliedRevision: z
        .string()
        .exactOptional()
        .describe('The newest commit with which the cluster was Ready, or the schedule began to run.'),
    })
    .partial()
    .exactOptional()
    .describe('Of manifests from Git: the commit that the text in force was last seen in.'),
  conditions: z.array(conditionSchema),
  events: z.array(objectEventSchema).exactOptional(),
};

/** How the update of a service goes, from before it is asked for until its tasks have run for a while, or it failed. */
const rolloutSchema = z.object({
  revision: z.string().describe('Hash of the service as it was asked for.'),
  state: z
    .enum(['Rolling', 'Failed'])
    .describe(
      'A failed revision is not applied again before the service is another one, or reconcile-at is.',
    ),
  message: z.string().exactOptional().describe('Why it failed: what its newest task that did not run says.'),
  replaces: z
    .string()
    .exactOptional()
    .describe("When the service's update before this one began, by which its end is told from ours."),
});

/** One thing that is not as the manifest asks, and is left so. */
const driftSchema = z.object({
  target: z.string(),
  field: z.string().exactOptional().describe('Absent when the step concerns the whole of its target.'),
  want: z.string().exactOptional().describe('As JSON; absent when nothing is.'),
  have: z.string().exactOptional(),
  step: z.string().describe('What would be done about it.'),
});

/** What is known of a cluster. */
export const clusterStatusSchema = z.object({
  ...common,
  inventory: inventorySchema,
  leader: z
    .object({
      holder: z.string().describe('Host and process of the operator that holds the lease of the cluster.'),
      term: count.describe('How often the lease was taken.'),
    })
    .exactOptional()
    .describe('Which of several operators acts on it, as last seen; absent when there is no election.'),
  nodes: z
    .object({
      ...{ desired: count, ready: count, managers: count, unreachable: names },
      trustedOnFirstUse: z
        .record(z.string(), z.string())
        .exactOptional()
        .describe('Fingerprints of host keys that were taken at first contact, by machine.'),
    })
    .describe('How many machines are asked for, and how many the swarm calls ready.'),
  rollouts: z
    .record(z.string(), rolloutSchema)
    .exactOptional()
    .describe('By service; those that are over and went well are left out.'),
  drift: z
    .array(driftSchema)
    .exactOptional()
    .describe('Absent when nothing differs, or what differs is being put right.'),
  lastHandledReconcileAt: z
    .string()
    .exactOptional()
    .describe('The value of the annotation spark-failures.io/reconcile-at that the last pass has seen.'),
});

/** What is known of a schedule, with a record of each trial. */
export const scheduleStatusSchema = z.object({
  ...common,
  runKey: z
    .string()
    .exactOptional()
    .describe('What ran last: uid, generation and run-at; the same key never runs twice.'),
  seed: count.exactOptional().describe('The seed in use, drawn when the spec gives none.'),
  campaign: z
    .object({
      preset: z.string(),
      planned: count.describe('Trials in all, controls among them.'),
      trials: count.describe('Of each fault.'),
      controls: count,
      calibrationMs: z.number(),
      gateMs: z.number(),
      maxRecoveryMs: z.number(),
      gapMs: z.number(),
      reset: z.string(),
    })
    .exactOptional()
    .describe('What its preset and its own settings mean in numbers; absent when nothing is measured.'),
  calibration: z
    .object({
      thetaMs: z.number(),
      p99Ms: z.number(),
      leastMs: z.number(),
      commitGapMs: z.number(),
      progressGapMs: z.number(),
      durationMs: z.number(),
      maxima: z
        .array(z.enum(['p99Ms', 'commitGapMs', 'progressGapMs']))
        .exactOptional()
        .describe('Which of these are not the 99th percentile but the maximum: of fewer than 300 values.'),
      spares: z
        .record(z.string(), z.record(z.string(), count))
        .exactOptional()
        .describe('What each control plane counted, and has to be there again before the next fault.'),
    })
    .exactOptional()
    .describe('The threshold of the campaign and what it was computed from; the same for all of its trials.'),
  trials: z.array(trialRecordSchema),
});

/** One statement about a resource. */
export type Condition = z.output<typeof conditionSchema>;
/** Something that happened to a resource. */
export type ObjectEvent = z.output<typeof objectEventSchema>;
/** What a cluster consists of, by name. */
export type Inventory = z.output<typeof inventorySchema>;
/** Rollouts that go on or failed, by service. */
export type Rollouts = Readonly<Record<string, z.output<typeof rolloutSchema>>>;
/** One thing that is left as it is. */
export type Drift = z.output<typeof driftSchema>;
/** What is known of a cluster. */
export type ClusterStatus = z.output<typeof clusterStatusSchema>;
/** What is known of a schedule. */
export type ScheduleStatus = z.output<typeof scheduleStatusSchema>;
