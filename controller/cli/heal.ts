import { messageOf, type NodeHandle } from '../../provisioners/contract.ts';
import { healNode, type Remnant, scanOrphans } from '../../state-machines/scan-orphans.ts';
import type { Operator } from '../operator.ts';
import { answer, type CliContext, type ExitCode, formatTable } from './cli-context.ts';
import { clusterNodes, lookAround } from './look-around.ts';
import type { FileOptions } from './read-files.ts';
import type { ServeOptions } from './watch.ts';

interface NodeReport {
  readonly cluster: string;
  readonly node: string;
  readonly state: 'clean' | 'healed' | 'not healed' | 'unreachable';
  readonly found: readonly Remnant[];
  readonly message?: string;
}

/**
 * `controller heal [-f ...]`: the panic button. Undoes every fault of ours that it finds on any node of the clusters
 * that are known here or named by files, by the marks on the nodes themselves: no journal, no lock, no running operator.
 */
export function heal(context: CliContext, serve: ServeOptions, files: FileOptions): Promise<ExitCode> {
  const { stateDir, note, signal } = context;
  return lookAround(context, serve, files, async (operator) => {
    const nodes = clusterNodes(operator);
    if (nodes.length === 0) note(`no cluster is known in ${stateDir}: name its manifest with -f`);
    const reports = await Promise.all(nodes.map((each) => healOne(each, operator, signal)));
    answer(context, reports, formatReports);
    return reports.every(({ state }) => state === 'clean' || state === 'healed') ? 0 : 1;
  });
}

async function healOne(
  { cluster, node }: ReturnType<typeof clusterNodes>[number],
  operator: Operator,
  signal: AbortSignal,
): Promise<NodeReport> {
  let handle: NodeHandle | undefined;
  try {
    const { nodes, switches } = operator.access(cluster);
    // Being off, or cut off, may be the fault, and nothing else of ours can be found before it is reached.
    await switches.power?.on(node, signal);
    await switches.zone?.on(node, signal);
    handle = await nodes(node);
    const found = await scanOrphans(handle, operator.scripts, signal);
    if (found.length === 0) return { cluster, node, state: 'clean', found };
    const left = await healNode(handle, operator.scripts, signal);
    if (left.length > 0) return { cluster, node, state: 'not healed', found: left };
    return { cluster, node, state: 'healed', found };
  } catch (error) {
    signal.throwIfAborted();
    const state = handle ? 'not healed' : 'unreachable';
    return { cluster, node, state, found: [], message: messageOf(error) };
  }
}

function formatReports(reports: readonly NodeReport[]): string {
  const rows = reports.map(({ cluster, node, state, found, message }) => [
    cluster,
    node,
    state,
    message ??
      found
        .map((remnant) => (remnant.kind === 'run' ? remnant.run : `${remnant.mechanism} ${remnant.mark}`))
        .join(', '),
  ]);
  return formatTable(['CLUSTER', 'NODE', 'STATE', 'FOUND'], rows);
}
