import { z } from 'zod';
import { checked } from '../../../crds/exactly-one.ts';
import { isSelected, nodesField } from '../../../crds/selector.ts';
import { type FaultKind, type FaultStep, type NodeFacts, RefusedError } from '../../contract.ts';
import { ipv4, sidesOf } from '../aimed-at-nodes.ts';

/** What drop/inject.sh stops; its arguments, in their order. */
interface Cut {
  readonly action: 'drop' | 'reject';
  readonly direction: 'both' | 'in' | 'out';
  /** `all`, or a protocol and ports: `tcp/8080,9092`. */
  readonly service: string;
}

const shared = {
  direction: z
    .enum(['both', 'in', 'out'])
    .default('both')
    .describe('Which packets are stopped, as seen from the chosen nodes.'),
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
  from: nodesField()
    .exactOptional()
    .describe('The nodes on the other side; every node that was not chosen when absent.'),
  ...shared,
});

/** Two groups of machines that cannot reach each other, or only one way; within a group all is well. */
export const partition: FaultKind<z.output<typeof partitionParams>> = {
  name: 'partition',
  level: 'network',
  mechanism: 'drop',
  summary:
    'Stops traffic between the chosen nodes and a group of others, both ways or one, containers included; ssh stays open.',
  params: partitionParams,
  needs: ['systemd', 'iptables'],
  death: 'silence',
  targets: ['nodes'],
  instant: false,
  plan({ from = {}, ...cut }, facts) {
    const { chosen, others } = sidesOf('partition', facts);
    const unknown = (from.matchNames ?? []).find(
      (wanted) => !facts.nodes.some(({ name }) => name === wanted),
    );
    if (unknown !== undefined) throw new RefusedError(`partition: the cluster has no node "${unknown}"`);
    const peers = others.filter((node) => isSelected(from, node));
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

/** A service of the chosen machines that nobody reaches, or that they do not reach anywhere. */
export const blockPort: FaultKind<z.output<typeof blockPortParams>> = {
  name: 'blockPort',
  level: 'network',
  mechanism: 'drop',
  summary:
    'Stops what is sent to ports of the chosen nodes, by them to such ports elsewhere, or both, containers included.',
  params: blockPortParams,
  needs: ['systemd', 'iptables'],
  death: 'silence',
  targets: ['nodes'],
  instant: false,
  plan({ protocol, ports, ...cut }, facts) {
    const { chosen, others } = sidesOf('blockPort', facts);
    const service = `${protocol}/${[...new Set(ports)].join()}`;
    // Only a connection tells a peer whether a port can be reached, and only where it is the one who asks.
    const witness = protocol === 'tcp' && cut.direction !== 'out' ? others[0] : undefined;
    return chosen.map((node) =>
      cutOff('blockPort', { ...cut, service }, { node, ...allBut(node, facts.nodes, witness) }),
    );
  },
};

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
  const mirrored = { both: 'both', in: 'out', out: 'in' } as const;
  const fromPeer = { ...cut, direction: mirrored[cut.direction] };
  return {
    node: node.name,
    target: node.name,
    mechanism: 'drop',
    args: args(cut, peers),
    ...(witness && { witness: { node: witness.name, args: args(fromPeer, [node]) } }),
  };
}
