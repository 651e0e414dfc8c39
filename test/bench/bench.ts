import { rmSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { measureAnalyzeDay } from './analyze-day.ts';
import { type BenchSite, bareSite, type Measure, openSite } from './bench-site.ts';
import { measureEc2Create } from './ec2-create.ts';
import { kindFigures, measureFaultKinds } from './fault-kinds.ts';
import { measureFaultLatency } from './fault-latency.ts';
import { type Reading, toFigure } from './figure.ts';
import { measureGeneratorRate } from './generator-rate.ts';
import { measureGitToApi } from './git-to-api.ts';
import { measureHolds } from './holds.ts';
import { measureIdlePass } from './idle-pass.ts';
import { keepFigures } from './known-figures.ts';
import { measureLeaseTakeover } from './lease-takeover.ts';
import { measureNodesReady } from './nodes-ready.ts';
import { measureOperatorIdle } from './operator-idle.ts';
import { measureOracleSpeed } from './oracle-speed.ts';
import { measureQueueAdds } from './queue-adds.ts';
import { measureRecoveryTruth } from './recovery-truth.ts';
import { measureReportDay } from './report-day.ts';
import { measureServiceRm } from './service-rm.ts';
import { measureServices } from './services.ts';
import { measureThousandServices } from './services-1000.ts';
import { measureSoak } from './soak.ts';
import { measureSshAdopt } from './ssh-adopt.ts';
import { measureSshExec } from './ssh-exec.ts';
import { measureStackConverged } from './stack-converged.ts';

// `npm run bench [names] [-- --runs N --lanes N --keep]`: one JSON line per figure on standard output, progress on standard
// error. A name is a figure's, or what several begin with. `--keep` puts what was measured into test/bench/README.md. Not a
// test: a figure that misses its target is a line with `pass: false`, and only one that could not be had makes the exit
// code 1.

interface Measurement {
  readonly figures: readonly string[];
  readonly measure: (site: BenchSite, signal: AbortSignal) => Promise<Readonly<Record<string, Reading>>>;
  /** It needs neither engine nor images: they are not made ready when nothing else is measured. */
  readonly bare: boolean;
}

const measurement = <Name extends string>(
  figures: readonly Name[],
  measure: Measure<Name>,
  bare = false,
): Measurement => ({ figures, measure, bare });

const bare = true;

/** Every figure, in the order in which they are measured; those of one line come from the same runs. */
const measurements: readonly Measurement[] = [
  measurement(['nodes-ready'], measureNodesReady),
  measurement(['stack-converged'], measureStackConverged),
  measurement(['idle-pass-writes', 'idle-pass-median', 'idle-pass-max'], measureIdlePass),
  measurement(['fault-latency-median', 'fault-latency-max'], measureFaultLatency),
  measurement(['operator-idle-cpu', 'operator-idle-rss'], measureOperatorIdle),
  measurement(['generator-rate', 'generator-memory'], measureGeneratorRate),
  measurement(kindFigures, measureFaultKinds),
  measurement(['barrier-skew-median', 'barrier-skew-max', 'hold-overhead'], measureHolds),
  measurement(
    ['recovery-error', 'recovery-bound', 'recovery-outside', 'recovery-verdicts'],
    measureRecoveryTruth,
  ),
  measurement(['report-day-time', 'report-day-rss'], measureReportDay, bare),
  measurement(['oracle-rate', 'oracle-rss'], measureOracleSpeed, bare),
  measurement(['soak-leftovers', 'soak-services-lost', 'soak-not-healed'], measureSoak),
  measurement(['queue-adds'], measureQueueAdds, bare),
  measurement(['analyze-day-time', 'analyze-day-memory'], measureAnalyzeDay, bare),
  measurement(['ssh-adopt'], measureSshAdopt),
  measurement(['ssh-exec-median', 'ssh-held-memory'], measureSshExec),
  measurement(['git-to-api'], measureGitToApi, bare),
  measurement(['ec2-create-time', 'ec2-create-calls'], measureEc2Create, bare),
  measurement(['lease-takeover-median', 'lease-takeover-max'], measureLeaseTakeover, bare),
  measurement(['services-30', 'services-30-unchanged', 'services-30-writes'], measureServices(30), bare),
  measurement(['services-200', 'services-200-unchanged', 'services-200-writes'], measureServices(200), bare),
  measurement(
    ['services-1000-first', 'services-1000-look', 'services-1000-memory'],
    measureThousandServices,
    bare,
  ),
  measurement(['service-rm-median', 'service-rm-max'], measureServiceRm, bare),
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    lanes: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
  },
});
const isWanted = (figure: string) =>
  positionals.length === 0 || positionals.some((name) => figure.startsWith(name));
const note = (line: string) => void process.stderr.write(`${line}\n`);
const machine = () =>
  `${availableParallelism()} cores, load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => stop.abort(new Error(`ended by ${signal}`)));

/** True when there was something to print. */
async function printFigures({ figures, measure }: Measurement, site: BenchSite): Promise<boolean> {
  note(`${figures.join(', ')}: ${machine()}`);
  try {
    const readings = await measure(site, stop.signal);
    const measured = figures.filter(isWanted).flatMap((name) => {
      const reading = readings[name];
      return reading ? [toFigure(name, reading)] : [];
    });
    for (const figure of measured) process.stdout.write(`${JSON.stringify(figure)}\n`);
    if (values.keep) keepFigures(measured);
    return true;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    note(`${figures.join(', ')}: could not be measured: ${reason}`);
    return false;
  }
}

const wanted = measurements.filter(({ figures }) => figures.some(isWanted));
const unknown = positionals.filter(
  (name) => !measurements.some(({ figures }) => figures.some((figure) => figure.startsWith(name))),
);
if (unknown.length > 0) {
  note(`no figure is called ${unknown.join(', ')}; there are:`);
  for (const { figures } of measurements) for (const figure of figures) note(`  ${figure}`);
  process.exitCode = 2;
} else {
  const asked = {
    runs: values.runs === undefined ? undefined : Number(values.runs),
    ...{ lanes: Number(values.lanes), isWanted, progress: note },
  };
  const isBare = wanted.every(({ bare }) => bare);
  const site = isBare ? bareSite(asked) : await openSite(asked, stop.signal);
  let measured = 0;
  for (const each of wanted) {
    if (stop.signal.aborted) break;
    if (await printFigures(each, site)) measured++;
  }
  note(machine());
  if (measured === wanted.length) rmSync(site.workDir, { recursive: true, force: true });
  else {
    note(`logs of what went wrong: ${site.workDir}`);
    process.exitCode = 1;
  }
}
