import { z } from 'zod';
import { checked } from '../../../crds/exactly-one.ts';
import { isSelected, sideField } from '../../../crds/selector.ts';
import { type Facts, type FaultKind, type FaultStep, type NodeFacts, RefusedError } from '../../contract.ts';
import { ipv4, sidesOf } from '../aimed-at-nodes.ts';
import { type TaskGroup, taskGroups } from '../steps-on-tasks.ts';
import { bare, isBalanced, peersOfTasks, refuseMisspelt } from '../task-peers.ts';

/** What drop/inject.sh stops; its arguments, in their order. */
interface Cut {
  readonly action: 'drop' | 'reject';
  readonly direction: 'both' | 'in' | 'out';
  /** `all`, or a protocol and ports: `tcp/8080,9092`; or `dns`. */
  readonly service: string;
}

const shared = {
  direction: z
    .enum(['both', 'in', 'out'])
    .default('both')
    .describe('Which packets are stopped, as seen from the chosen nodes or tasks.'),
  action: z
    .enum(['drop', 'reject'])
    .default('drop')
    .describe('drop is silence; reject resets open connections and refuses new ones.'),
};

const isolateParams = z.strictObject({});

/** The chosen machines hear and reach no other node, while they go on working: silence, not a crash. */
export const isolateNode: FaultKind<z.output<typeof isolateParams>> = {
  name: 'isolateNode',
  level: 'network',
  mechanism: 'drop',
  summary:
    'Drops all traffic between the chosen nodes and every other node, containers included; ssh stays open.',
  params: isolateParams,
  needs: ['systemd', 'iptables'],
  death: 'silence',
  targets: ['nodes'],
  instant: false,
  plan(_params, facts) {
    const { chosen, others } = sidesOf('isolateNode', facts);
    const cut: Cut = { action: 'drop', direction: 'both', service: 'all' };
    return chosen.map((node) =>
      cutOff('isolateNode', cut, { node, ...allBut(node, facts.nodes, others[0]) }),
    );
  },
};

const partitionParams = z.strictObject({
  from: sideField()
    .exactOptional()
    .describe(
      'Who is on the other side; all other nodes, and of tasks also all other tasks on their networks, when absent.',
    ),
  ...shared,
});

/** Two groups of machines, or of tasks, that cannot reach each other, or only one way; within a group all is well. */
export const partition: FaultKind<z.output<typeof partitionParams>> = {
  name: 'partition',
  level: 'network',
  mechanism: 'drop',
  summary:
    'Stops traffic between the chosen nodes, containers included, or tasks, and a group of others, both ways or one; ssh stays open.',
  params: partitionParams,
  needs: ['systemd', 'iptables', 'ping'],
  death: 'silence',
  targets: ['nodes', 'tasks'],
  instant: false,
  plan({ from = {}, ...cut }, facts) {
    if (isAimedAtTasks(facts)) {
      return taskGroups(partition, facts.targets).map((group) => {
        if (cut.direction !== 'out' && isBalanced(group, facts)) {
          throw new RefusedError(
            `partition: ${group.service} has a virtual address, through which packets do not say from whom they come: give it endpoint mode dnsrr, or choose direction out`,
          );
        }
        return cutOffTasks({ ...cut, service: 'all' }, group, peersOfTasks('partition', group, from, facts));
      });
    }
    if (from.services)
      throw new RefusedError('partition: nodes do not see services, only each other: aim it at tasks');
    const { chosen, others } = sidesOf('partition', facts);
    refuseMisspelt('partition', from, facts);
    const peers = others.filter((node) => isSelected(from.nodes ?? {}, node));
    if (peers.length === 0) throw new RefusedError('partition: no other node is on the other side');
    return chosen.map((node) =>
      cutOff('partition', { ...cut, service: 'all' }, { node, peers, witness: peers[0] }),
    );
  },
};

const blockPortParams = checked(
  z.strictObject({
    protocol: z
      .enum(['tcp', 'udp'])
      .default('udp')
      .describe('Of the ports; by default those that carry the overlay networks (VXLAN).'),
    ports: z
      .array(z.int().min(1).max(65_535))
      .min(1)
      .max(8)
      .default([4789])
      .describe(
        'Destination ports as the other side asks for them. Traffic inside an overlay network travels in udp/4789.',
      ),
    ...shared,
  }),
  ({ protocol, ports }, report) => {
    if (protocol !== 'tcp' || !Array.isArray(ports)) return;
    const at = ports.indexOf(22);
    if (at >= 0) report(['ports', at], 'port 22 stays open: the controller needs it to undo the fault');
  },
);

/** A port of the chosen machines or tasks that nobody reaches, or that they do not reach anywhere. */
export const blockPort: FaultKind<z.output<typeof blockPortParams>> = {
  name: 'blockPort',
  level: 'network',
  mechanism: 'drop',
  summary:
    'Stops what is sent to ports of the chosen nodes, containers included, or tasks, by them to such ports elsewhere, or both.',
  params: blockPortParams,
  needs: ['systemd', 'iptables'],
  death: 'silence',
  targets: ['nodes', 'tasks'],
  instant: false,
  plan({ protocol, ports, ...cut }, facts) {
    const service = `${protocol}/${[...new Set(ports)].join()}`;
    // Only a connection tells a peer whether a port can be reached, and only where it is the one who asks.
    const isWitnessed = protocol === 'tcp' && cut.direction !== 'out';
    if (isAimedAtTasks(facts)) {
      return taskGroups(blockPort, facts.targets).map((group) => {
        const { addresses, tasks } = peersOfTasks('blockPort', group, {}, facts);
        const asked = { addresses: addresses.slice(0, mostAsked), tasks: isWitnessed ? tasks : [] };
        return cutOffTasks({ ...cut, service }, group, asked);
      });
    }
    const { chosen, others } = sidesOf('blockPort', facts);
    const witness = isWitnessed ? others[0] : undefined;
    return chosen.map((node) =>
      cutOff('blockPort', { ...cut, service }, { node, ...allBut(node, facts.nodes, witness) }),
    );
  },
};

const dnsParams = z.strictObject({ action: shared.action });

/** The chosen tasks' lookups fail, while every connection that they have goes on. */
export const dns: FaultKind<z.output<typeof dnsParams>> = {
  name: 'dns',
  level: 'network',
  mechanism: 'drop',
  summary: 'Stops name lookups of the chosen tasks, whatever server they ask; connections go on.',
  params: dnsParams,
  needs: ['systemd', 'iptables'],
  death: 'silence',
  targets: ['tasks'],
  instant: false,
  plan: ({ action }, { targets }) =>
    taskGroups(dns, targets).map((group) =>
      cutOffTasks({ action, direction: 'out', service: 'dns' }, group, { addresses: [], tasks: [] }),
    ),
};

const mirrored = { both: 'both', in: 'out', out: 'in' } as const;

interface Parties {
  readonly node: NodeFacts;
  readonly peers: readonly NodeFacts[];
  readonly witness: NodeFacts | undefined;
}

function allBut(
  node: NodeFacts,
  nodes: readonly NodeFacts[],
  witness: NodeFacts | undefined,
): Omit<Parties, 'node'> {
  return { peers: nodes.filter(({ name }) => name !== node.name), witness };
}

function cutOff(kind: string, cut: Cut, { node, peers, witness }: Parties): FaultStep {
  if (peers.length === 0)
    throw new RefusedError(`${kind}: ${node.name} has no other node to be cut off from`);
  const controller = ipv4(kind, node.controllerAddress);
  const args = ({ action, direction, service }: Cut, towards: readonly NodeFacts[]) => [
    ...[controller, action, direction, service],
    ...towards.map(({ address }) => ipv4(kind, address)),
  ];
  const fromPeer = { ...cut, direction: mirrored[cut.direction] };
  return {
    node: node.name,
    target: node.name,
    mechanism: 'drop',
    args: args(cut, peers),
    ...(witness && { witness: { node: witness.name, args: args(fromPeer, [node]) } }),
  };
}

function isAimedAtTasks({ targets }: Facts): boolean {
  return targets.some(({ kind }) => kind === 'task');
}

/** A check opens a connection to each, all at once. */
const mostAsked = 16;

/** The rules are for the network namespaces of the tasks' containers; a peer's own is where it is witnessed. */
function cutOffTasks(
  { action, direction, service }: Cut,
  { node, target, tasks }: TaskGroup,
  peers: ReturnType<typeof peersOfTasks>,
): FaultStep {
  const ids = tasks.map(({ containerId }) => containerId).join();
  const [peer] = peers.tasks;
  const own = tasks.flatMap(({ addresses = [] }) => addresses.map(bare));
  return {
    ...{ node, target, mechanism: 'drop' },
    args: [ids, action, direction, service, ...peers.addresses],
    ...(peer && {
      witness: { node: peer.node, args: [peer.containerId, action, mirrored[direction], service, ...own] },
    }),
  };
}
