import { type Facts, type Target, targetName } from '../../state-machines/contract.ts';
import type { Inventory } from './select-targets.ts';

/** What a schedule may allow knowingly. */
export interface Permissions {
  readonly allowQuorumLoss: boolean;
  readonly allowMeasurementNodes: boolean;
}

/** Services that a fault may not stop, nor hit the node of: they produce and judge the measurement. */
const measuringServices = ['generator', 'kafka', 'observer'].map(named);

/**
 * Reasons to refuse a run before anything is touched; empty when it may go on. A container-scoped fault may share a
 * node with the measuring services, a node-wide one may not.
 */
export function guardRun(
  targets: readonly Target[],
  inventory: Inventory,
  permissions: Permissions,
): readonly string[] {
  const namesOf = (kind: Target['kind']) =>
    new Set(targets.filter((target) => target.kind === kind).map(targetName));
  const nodes = namesOf('node');
  return [
    ...(permissions.allowMeasurementNodes
      ? []
      : [...measuringAmong(namesOf('service')), ...measurementNodes(nodes, inventory)]),
    ...(permissions.allowQuorumLoss ? [] : lostQuorums(targets, inventory)),
  ];
}

/**
 * Why a node-wide fault may not hit the machine that this process runs on: cut off from the others, or without power, it
 * would measure its own silence. That machine has one of our addresses, also where we reach it by another one that is
 * translated on the way; or it sees us at its own, where we are in a network namespace of our own.
 */
export function guardOperator(
  { targets, nodes }: Pick<Facts, 'targets' | 'nodes'>,
  ownAddresses: readonly string[],
  { allowMeasurementNodes }: Permissions,
): readonly string[] {
  if (allowMeasurementNodes) return [];
  const own = nodes.filter(
    ({ address, controllerAddress }) => address === controllerAddress || ownAddresses.includes(address),
  );
  return own
    .filter(({ name }) => targets.some((target) => target.kind === 'node' && target.node === name))
    .map(
      ({ name }) =>
        `${name} runs this operator, which the measurement depends on (allowMeasurementNodes: true permits it)`,
    );
}

/** The servers of the checkpoint. */
const checkpointNames = ['namenode', 'datanode'].map(named);

/**
 * The services of the checkpoint that run on target nodes, sorted. They are a part of the system under test, so a fault
 * may hit them; but it is another fault then, which its record has to say.
 */
export function checkpointServices(targets: readonly Target[], { services }: Inventory): readonly string[] {
  const nodes = new Set(targets.flatMap((target) => (target.kind === 'node' ? [target.node] : [])));
  return services
    .filter(({ name }) => checkpointNames.some((one) => one.test(name)))
    .filter(({ tasks }) => tasks.some(({ node }) => nodes.has(node)))
    .map(({ name }) => name)
    .sort();
}

function measuringAmong(services: ReadonlySet<string>): string[] {
  return [...services]
    .filter(isMeasuring)
    .map((name) => `${name} is what the measurement depends on (allowMeasurementNodes: true permits it)`);
}

/** Whether the measurement depends on a service of that name. */
export function isMeasuring(service: string): boolean {
  return measuringServices.some((name) => name.test(service));
}

function measurementNodes(nodes: ReadonlySet<string>, inventory: Inventory): string[] {
  return inventory.services
    .filter(({ name }) => isMeasuring(name))
    .flatMap(({ name, tasks }) =>
      tasks
        .filter(({ node }) => nodes.has(node))
        .map(
          ({ node }) =>
            `${node} runs ${name}, which the measurement depends on (allowMeasurementNodes: true permits it)`,
        ),
    );
}

function lostQuorums(targets: readonly Target[], { nodes, services }: Inventory): string[] {
  const hit = new Set(targets.map((target) => (target.kind === 'task' ? target.taskId : targetName(target))));
  const managers = nodes.filter(({ role }) => role === 'manager');
  // One that the others do not reach is lost already.
  const managersLeft = managers.filter(({ name, controls }) => controls && !hit.has(name)).length;
  const isSwarmLost = managers.some(({ name }) => hit.has(name)) && !isQuorum(managersLeft, managers.length);
  return [
    ...(isSwarmLost ? [`${managersLeft} of ${managers.length} swarm managers would be left: no quorum`] : []),
    ...ensemblesOf('zookeeper', services)
      .map((ensemble) => countOf(ensemble, hit))
      .filter(({ left, running, all }) => left < running && !isQuorum(left, all))
      .map(({ left, all, name }) => `${left} of ${all} servers of ${name} would be left: no quorum`),
    // Usually a partition has three replicas and needs two of them: one broker may be lost, and no second one.
    ...ensemblesOf('kafka', services)
      .map((brokers) => countOf(brokers, hit))
      .filter(({ left, running, all }) => left < running && (left < all - 1 || !isQuorum(left, all)))
      .map(
        ({ left, all, name }) => `${left} of ${all} brokers of ${name} would be left: no in-sync replicas`,
      ),
  ].map((reason) => `${reason} (allowQuorumLoss: true permits it)`);
}

/** More than half: with one or two members, every one counts. */
function isQuorum(left: number, all: number): boolean {
  return left > all / 2;
}

interface Ensemble {
  readonly name: string;
  readonly services: Inventory['services'];
}

/** The service of that name in any stack, or numbered ones: `kafka-1`, `kafka2`. */
function named(kind: string): RegExp {
  return new RegExp(`^(.*_)?${kind}(-?\\d+)?$`);
}

/** What acts as one in a stack: the service of that name, or numbered ones, with all their tasks. */
function ensemblesOf(kind: string, services: Inventory['services']): readonly Ensemble[] {
  const name = named(kind);
  const stackOf = (service: { readonly name: string }) => name.exec(service.name)?.[1] ?? '';
  const members = services.filter((service) => name.test(service.name));
  return [...new Set(members.map(stackOf))].map((stack) => ({
    name: `${stack}${kind}`,
    services: members.filter((service) => stackOf(service) === stack),
  }));
}

interface Count {
  readonly name: string;
  /** Members that should be there, running or not. */
  readonly all: number;
  readonly running: number;
  /** Those that run and are not hit. */
  readonly left: number;
}

function countOf({ name, services }: Ensemble, hit: ReadonlySet<string>): Count {
  const tasks = services.flatMap((service) =>
    service.tasks.map((task) => ({ service: service.name, ...task })),
  );
  const all = services.map(({ desired = 0, tasks: own }) => Math.max(desired, own.length, 1));
  return {
    name,
    all: all.reduce((sum, count) => sum + count, 0),
    running: tasks.length,
    left: tasks.filter(({ service, node, taskId }) => ![service, node, taskId].some((one) => hit.has(one)))
      .length,
  };
}
