import { z } from 'zod';

/** When something happened, who says so, and how finely they can tell. */
const instantSchema = z.object({
  atMs: z.number().describe("Epoch ms of the controller's clock."),
  source: z
    .string()
    .describe('Who says so: controller, check, samples, or a control plane such as spark-master.'),
  resolutionMs: z.number().describe('Time between the last look that saw nothing and the first that saw it.'),
});

/** A duration with the bound of its error. */
const figureSchema = z.object({ ms: z.number(), errorMs: z.number() });

const instants = z.object({
  cmd: instantSchema.exactOptional().describe('Injection ordered.'),
  eff: instantSchema.exactOptional().describe('Effect seen by an independent check.'),
  det: instantSchema.exactOptional().describe('The system noticed.'),
  end: instantSchema.exactOptional().describe('Fault undone and verified gone.'),
  first: instantSchema.exactOptional().describe('First result visible after the stall.'),
  rec: instantSchema.exactOptional().describe('Recovered: end of the last violation.'),
  red: instantSchema.exactOptional().describe('Redundancy back.'),
});

const figures = z.object({
  detection: figureSchema.exactOptional().describe('t_det - t_eff.'),
  stall: figureSchema.exactOptional().describe('Time without visible progress beyond the normal gap.'),
  recovery: figureSchema
    .exactOptional()
    .describe('TTR: end of the last violation - t_eff; absent when censored.'),
  firstOutput: figureSchema.exactOptional().describe('t_first - t_eff.'),
  catchUp: figureSchema.exactOptional().describe('Recovery - time to first output.'),
  catchUpPredicted: figureSchema
    .exactOptional()
    .describe(
      'D x rho / (1 - rho): D the stall, rho the offered rate over that of the first half of catching up.',
    ),
  redundancy: figureSchema.exactOptional().describe('t_red - t_eff.'),
  skew: figureSchema
    .exactOptional()
    .describe('Of several targets: t_eff of the last one - t_eff of the first.'),
});

/** How the job came back, and whether its results are right: never one without the other. */
const verdictSchema = z.object({
  recovery: z.enum(['Masked', 'Recovered', 'RecoveredDegraded', 'NotRecovered', 'Invalid']),
  correctness: z.enum(['Correct', 'Incorrect', 'Unknown']),
});

/** The commit that a manifest is from. */
export const sourceSchema = z.object({
  revision: z.string().describe('As Flux writes it: main@sha1:1f0c...'),
  message: z.string().describe('First line.'),
  author: z.string().exactOptional(),
});

/** One trial, complete enough for a sceptical reader to judge it without us. */
export const trialRecordSchema = z.object({
  number: z.int().min(1).describe('Position in the schedule, from 1.'),
  fault: z
    .string()
    .describe('Name of the entry in spec.faults; of several that are together, joined by +; or control.'),
  kind: z.string().describe('Fault kind, or kinds joined by +; none of a control.'),
  standsFor: z
    .string()
    .exactOptional()
    .describe('Of a control: the fault whose hold and watch it has, while nothing is done.'),
  runId: z.string().describe('Of the journal; of several that are together, without the number at its end.'),
  seed: z.int().min(0).describe('Every random choice of this trial comes from it.'),
  source: sourceSchema.exactOptional().describe('Of a schedule from Git: the commit that it ran with.'),
  targets: z.array(z.string()).describe('What was hurt: node4 or node4/streaming_spark-worker-1.'),
  outcome: z
    .enum(['Healed', 'Aborted', 'Refused', 'Stuck', 'Unknown'])
    .describe('How the fault run ended; of a control that came to its instant Healed.'),
  startedAt: z.string().describe('RFC 3339, UTC.'),
  finishedAt: z.string().exactOptional().describe('RFC 3339, UTC.'),
  phaseMs: z
    .number()
    .exactOptional()
    .describe('Waited between gate and fault, drawn from the seed over trigger and window.'),
  instants,
  noticed: z
    .array(instantSchema)
    .exactOptional()
    .describe(
      'Each control plane that showed a loss, and when it did first: t_det is the earliest, but for one that was told to.',
    ),
  figures,
  recoveryBand: z
    .array(z.object({ factor: z.number(), thetaMs: z.number(), ms: z.number().exactOptional() }))
    .exactOptional()
    .describe(
      'Recovery time for thresholds of 1.1, 1.25 and 1.5 in place of 1.25; no ms when it was not reached.',
    ),
  thetaMs: z.number().exactOptional().describe('Threshold of F_visible in force.'),
  calibratedMs: z.number().exactOptional().describe('Length of the calibration that it was computed from.'),
  excursions: z
    .int()
    .min(0)
    .exactOptional()
    .describe('Crossings of the threshold too short to be violations.'),
  smallestStallMs: z
    .number()
    .exactOptional()
    .describe('For Masked: the smallest stall that would have been seen.'),
  redundancy: z
    .enum(['kept', 'restored', 'lost', 'unknown'])
    .exactOptional()
    .describe('What the control planes count, from workers to in-sync replicas, as before the fault.'),
  afterHeal: z
    .object({ recovery: figureSchema.exactOptional(), violatedInHoldMs: z.number() })
    .exactOptional()
    .describe(
      'For a fault with a hold: recovery counted from its end, and the time in violation before that.',
    ),
  verdict: verdictSchema.exactOptional().describe('Absent when nothing was measured.'),
  correctness: z
    .record(z.string(), z.number())
    .exactOptional()
    .describe('Records and windows by class of error.'),
  clocks: z
    .array(z.object({ node: z.string(), offsetMs: z.number(), boundMs: z.number() }))
    .exactOptional()
    .describe(
      "Of each node that answered, right before the fault: its clock minus the controller's, and the bound.",
    ),
  checkpointHit: z
    .array(z.string())
    .exactOptional()
    .describe('Services that keep the checkpoint and ran on a node that was hurt: the job lost that, too.'),
  settings: z
    .record(z.string(), z.string())
    .exactOptional()
    .describe('Every setting that governs detection.'),
  rowsOffsetMs: z
    .number()
    .exactOptional()
    .describe("The clock that stamps the raw rows, the observer's, minus the controller's, at the fault."),
  samples: z.string().exactOptional().describe('File of the raw rows, NDJSON, below the state directory.'),
  message: z.string().exactOptional().describe('Why it is Invalid, Stuck, Unknown or Refused.'),
});

/** When something happened, who says so, and how finely they can tell. */
export type Instant = z.output<typeof instantSchema>;
/** A duration with the bound of its error. */
export type Figure = z.output<typeof figureSchema>;
/** How the job came back, and whether its results are right. */
export type TrialVerdict = z.output<typeof verdictSchema>;
/** One trial. */
export type TrialRecord = z.output<typeof trialRecordSchema>;
