import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import { didYouMean } from '../../crds/explain-issue.ts';
import { type FaultSchedule, faultOf } from '../../crds/fault-schedule.ts';
import { formatDuration, parseDuration } from '../../crds/parse-duration.ts';
import type { Problem } from '../../crds/problem.ts';
import { isSelected } from '../../crds/selector.ts';
import { noticedWithinMs } from '../../state-machines/recovery/watch.ts';
import { faultKindsByName } from '../resource-kinds.ts';
import { type LoadedDocument, problemAt } from './load-manifest.ts';

/** What is wrong with documents that claim one name: each names the others. */
export function duplicateProblems(documents: readonly LoadedDocument[]): readonly Problem[] {
  if (documents.length < 2) return [];
  const path = ['metadata', 'name'];
  return documents.map((document) => {
    const others = documents
      .filter((other) => other !== document)
      .map((other) => `${other.file}:${other.locate(path).line}`);
    return problemAt(document, path, `${document.key} is also in ${others.join(' and ')}: neither is taken`);
  });
}

/** What is wrong with a schedule in view of the clusters that exist: no such cluster, no such node, too few nodes. */
export function scheduleProblems(
  document: LoadedDocument,
  schedule: FaultSchedule,
  clusters: ReadonlyMap<string, ClusterSpec>,
): readonly Problem[] {
  const { name } = schedule.spec.clusterRef;
  const cluster = clusters.get(name);
  if (!cluster) {
    const message = `there is no ClusterSpec "${name}"${didYouMean(name, [...clusters.keys()])}`;
    return [problemAt(document, ['spec', 'clusterRef', 'name'], message)];
  }
  return [
    ...watchProblems(document, schedule),
    ...schedule.spec.faults.flatMap((_, index) => targetProblems(document, schedule, index, cluster)),
  ];
}

/** A recovery counts once the fault could not be noticed for the first time any more: T_max must leave room for that. */
function watchProblems(document: LoadedDocument, { spec }: FaultSchedule): readonly Problem[] {
  if (spec.maxRecovery === undefined) return [];
  const limitMs = parseDuration(spec.maxRecovery);
  const patient = spec.faults.flatMap((fault) => {
    const { kind } = faultOf(fault);
    const death = faultKindsByName[kind]?.death;
    const watchMs = death === undefined ? 0 : noticedWithinMs[death];
    return watchMs > limitMs ? [`${fault.name} counts as recovered after ${formatDuration(watchMs)}`] : [];
  });
  if (patient.length === 0) return [];
  const message = `every trial would be censored: ${patient.join(', ')} at the earliest`;
  return [problemAt(document, ['spec', 'maxRecovery'], message)];
}

function targetProblems(
  document: LoadedDocument,
  schedule: FaultSchedule,
  index: number,
  cluster: ClusterSpec,
): Problem[] {
  const { nodes: selector, count } = schedule.spec.faults[index]!.target;
  if (!selector) return []; // services are known only once they run
  const at = ['spec', 'faults', index, 'target'];
  const known = cluster.spec.nodes.map((node) => node.name);
  const missing = (selector.matchNames ?? []).flatMap((wanted, position) => {
    if (known.includes(wanted)) return [];
    const message = `cluster ${cluster.metadata.name} has no node "${wanted}"${didYouMean(wanted, known)}`;
    return [problemAt(document, [...at, 'nodes', 'matchNames', position], message)];
  });
  if (missing.length > 0) return missing;
  const matching = cluster.spec.nodes.filter((node) => isSelected(selector, node)).length;
  if (matching === 0)
    return [problemAt(document, [...at, 'nodes'], `no node of cluster ${cluster.metadata.name} matches`)];
  if (count === undefined || count <= matching) return [];
  return [
    problemAt(
      document,
      [...at, 'count'],
      `only ${matching} of cluster ${cluster.metadata.name}'s nodes match`,
    ),
  ];
}
