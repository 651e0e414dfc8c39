import { existsSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ManifestError } from '../../crds/problem.ts';
import { messageOf } from '../../provisioners/contract.ts';
import { localDocker } from '../../provisioners/shared/docker-client.ts';
import { type MachineFacts, readMachineFacts } from '../../provisioners/shared/node-facts.ts';
import type { Need } from '../../state-machines/contract.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { writeBundle } from '../bundle/write-bundle.ts';
import { systemClock } from '../clock.ts';
import { byNode, describeDeafness } from '../names/deafness.ts';
import type { Operator } from '../operator.ts';
import { faultKindsByName } from '../resource-kinds.ts';
import { readManifests } from '../source/read-manifests.ts';
import { readRunJournal } from '../status/run-journal.ts';
import { readLockHolder } from '../status/state-lock.ts';
import { answer, type CliContext, type ExitCode, formatTable } from './cli-context.ts';
import { clusterNodes, lookAround } from './look-around.ts';
import { type FileOptions, readFiles } from './read-files.ts';
import type { ServeOptions } from './watch.ts';

const kinds = Object.values(faultKindsByName);
const needs = [...new Set(kinds.flatMap((kind) => kind.needs))];

export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'note' | 'problem';
  readonly message: string;
  /** What a node lacks of that which faults may need, and the kinds that are not possible there because of it. */
  readonly lacks?: readonly { readonly need: Need; readonly kinds: readonly string[] }[];
}

/** Where a support bundle goes, and where an operator's log is, if that is kept in a file. */
export interface BundleFiles {
  readonly bundle?: string;
  readonly log?: string;
}

/** `controller doctor [-f ...] [--bundle FILE]`: what is missing on this machine and on the nodes, before anything needs it. */
export function doctor(
  context: CliContext,
  serve: ServeOptions,
  files: FileOptions,
  { bundle, log }: BundleFiles = {},
): Promise<ExitCode> {
  const { stateDir, version, signal, note } = context;
  return lookAround(context, serve, { ...files, files: [] }, async (operator) => {
    const manifests = await checkManifests(operator, files, bundle !== undefined, signal);
    const here = await Promise.all([
      checkNode(),
      checkEngine(),
      checkState(context),
      checkLock(stateDir),
      checkJournal(stateDir),
    ]);
    const there = await Promise.all([checkMachines(operator, signal), checkNames(operator, signal)]);
    const findings = [...manifests, ...here, ...there.flat()];
    answer(context, findings, (all) =>
      formatTable(
        ['CHECK', 'STATE', 'MESSAGE'],
        all.map(({ check, state, message }) => [check, state, message]),
      ),
    );
    if (bundle !== undefined) {
      const { files: read } = await readManifests(
        files.files,
        { ...operator, ...files, clock: systemClock },
        signal,
      );
      const to = { file: bundle, ...(log !== undefined && { logFile: log }) };
      const from = {
        manifests: read.map(({ path }) => path),
        nodes: clusterNodes(operator),
        port: serve.port,
      };
      await writeBundle({ ...to, ...from, version, stateDir, findings, operator }, signal);
      note(`${bundle}: for somebody who helps; what looks like a secret is not in it`);
    }
    return findings.some(({ state }) => state === 'problem') ? 1 : 0;
  });
}

/** Who asks for help may do so because of a manifest: then what is wrong with it is a finding as any other. */
async function checkManifests(
  operator: Operator,
  files: FileOptions,
  isTold: boolean,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  if (files.files.length === 0) return [];
  try {
    await readFiles(operator, files, signal);
    return [];
  } catch (error) {
    if (!isTold || !(error instanceof ManifestError)) throw error;
    return [{ check: 'manifests', state: 'problem', message: error.message }];
  }
}

async function checkNode(): Promise<Finding> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return {
    check: 'node',
    state: ok ? 'ok' : 'problem',
    message: `Node ${process.versions.node}${ok ? '' : ', 20.19 or newer is needed'}`,
  };
}

async function checkEngine(): Promise<Finding> {
  try {
    const { Version } = await localDocker().version();
    return { check: 'engine', state: 'ok', message: `Docker ${Version} on this machine` };
  } catch (error) {
    return {
      check: 'engine',
      state: 'note',
      message: `no Docker engine answers here, the lab would install or start one: ${messageOf(error)}`,
    };
  }
}

async function checkState({ stateDir }: CliContext): Promise<Finding> {
  try {
    await access(nearestFolder(stateDir), constants.W_OK);
    return { check: 'state', state: 'ok', message: `${stateDir} can be written` };
  } catch (error) {
    return { check: 'state', state: 'problem', message: messageOf(error) };
  }
}

/** Itself, or the one in which it would be made: a look makes nothing. */
function nearestFolder(path: string): string {
  return existsSync(path) ? path : nearestFolder(dirname(path));
}

async function checkLock(stateDir: string): Promise<Finding> {
  const holder = await readLockHolder(stateDir);
  const message = holder ? `held by "${holder.verb}", pid ${holder.pid} on ${holder.host}` : 'free';
  return { check: 'lock', state: 'ok', message };
}

async function checkJournal(stateDir: string): Promise<Finding> {
  const { runs, problems } = await readRunJournal(stateDir);
  const open = runs
    .filter(({ outcome }) => outcome === undefined)
    .map(({ runId, phase }) => `${runId} (${phase})`);
  const bad = problems.map(({ line, problem }) => `line ${line}: ${problem}`);
  if (bad.length > 0) return { check: 'journal', state: 'problem', message: bad.join('; ') };
  if (open.length > 0) return { check: 'journal', state: 'note', message: `unfinished: ${open.join(', ')}` };
  return { check: 'journal', state: 'ok', message: `${runs.length} runs, all closed` };
}

async function checkMachines(operator: Operator, signal: AbortSignal): Promise<readonly Finding[]> {
  return Promise.all(
    clusterNodes(operator).map(async ({ cluster, node }): Promise<Finding> => {
      const check = `${cluster}/${node}`;
      try {
        const handle = await operator.access(cluster).nodes(node);
        const [facts, missing] = await Promise.all([
          readMachineFacts(handle, signal),
          missingNeeds(handle, needs, operator.scripts, signal),
        ]);
        return { check, ...judge(facts, missing) };
      } catch (error) {
        return { check, state: 'problem', message: messageOf(error) };
      }
    }),
  );
}

/** One look: a task that has just started or ended may seem lost in it. */
async function checkNames(operator: Operator, signal: AbortSignal): Promise<readonly Finding[]> {
  const clusters = [...new Set(clusterNodes(operator).map(({ cluster }) => cluster))];
  return Promise.all(
    clusters.map(async (cluster): Promise<Finding> => {
      const check = `${cluster}/names`;
      try {
        const { judged, deaf } = await operator.names.look(cluster, signal);
        const lost = [...byNode(deaf)].map(([node, own]) => `${node}: ${describeDeafness(own)}`);
        if (lost.length > 0) return { check, state: 'problem', message: lost.join('; ') };
        const silent = judged.filter(({ heard }) => heard === 'unknown').map(({ node }) => node);
        const unasked = [...new Set(silent)].join(', ');
        if (unasked !== '') return { check, state: 'note', message: `not all could be asked on ${unasked}` };
        const nodes = new Set(judged.map(({ node }) => node)).size;
        return { check, state: 'ok', message: `all service names are resolved on ${nodes} nodes` };
      } catch (error) {
        return { check, state: 'note', message: `not asked for: ${messageOf(error)}` };
      }
    }),
  );
}

/** What the node cannot have done to it is a note: it matters once a schedule asks for it. */
export function judge(
  { operatingSystem, kernel, engineVersion, cgroupVersion }: Omit<MachineFacts, 'addresses'>,
  missing: readonly Need[],
): Omit<Finding, 'check'> {
  const about = `${operatingSystem}, kernel ${kernel}, engine ${engineVersion || 'none'}, cgroup v${cgroupVersion}`;
  if (missing.length === 0) return { state: 'ok', message: `${about}; every fault kind is possible` };
  const lacks = missing.map((need) => ({
    need,
    kinds: kinds.filter((kind) => kind.needs.includes(need)).map(({ name }) => name),
  }));
  const told = lacks.map((each) => `lacks ${each.need}: no ${each.kinds.join(', ')}`);
  return { state: 'note', message: [about, ...told].join('; '), lacks };
}
