import type { NodeHandle } from '../../provisioners/contract.ts';
import { healNode, type Remnant, scanOrphans } from '../../state-machines/scan-orphans.ts';
import type { Operator } from '../operator.ts';
import { answer, type CliContext, type ExitCode, formatTable } from './cli-context.ts';
import { lookAround } from './look-around.ts';
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

interface ClusterNode {
  readonly cluster: string;
  readonly node: string;
}

function clusterNodes({ store }: Operator): readonly ClusterNode[] {
  return store
    .list()
    .flatMap(({ name, resource }) =>
      resource?.kind === 'ClusterSpec'
        ? resource.spec.nodes.map((node) => ({ cluster: name, node: node.name }))
        : [],
    );
}

async function healOne(
  { cluster, node }: ClusterNode,
  operator: Operator,
  signal: AbortSignal,
): Promise<NodeReport> {
  let handle: NodeHandle | undefined;
  try {
    const { nodes, power } = operator.access(cluster);
    // Being off may be the fault, and nothing else of ours can be found before it is on.
    await power?.on(node, signal);
    handle = await nodes(node);
    const found = await scanOrphans(handle, operator.scripts, signal);
    if (found.length === 0) return { cluster, node, state: 'clean', found };
    const left = await healNode(handle, operator.scripts, signal);
    return {
      cluster,
      node,
      state: left.length === 0 ? 'healed' : 'not healed',
      found: left.length === 0 ? found : left,
    };
  } catch (error) {
    signal.throwIfAborted();
    const message = error instanceof Error ? error.message : String(error);
    return { cluster, node, state: handle ? 'not healed' : 'unreachable', found: [], message };
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
