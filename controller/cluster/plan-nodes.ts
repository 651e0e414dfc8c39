import { neededImages } from '../stack/needed-images.ts';
import { CLUSTER_LABEL, NODE_LABEL, TRIED_LABEL } from '../swarm/labels.ts';
import type { Labels, LiveNode } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { chooseInitializer, findSwarmNode, isOurs, staleTwins } from './node-identity.ts';
import { type DesiredNode, machineOf, type ObservedMachine, type PlanContext } from './plan-context.ts';
import { joinParts, note, type PlanPart, problem, step, waiting } from './plan-part.ts';
import { planRemoval } from './plan-removal.ts';

/** Machines, their engines and their membership in the swarm. */
export function planNodes(context: PlanContext): PlanPart {
  const initializer = chooseInitializer(context);
  const init =
    initializer === undefined
      ? undefined
      : step(initializer, 'no machine is in a swarm yet', [], { kind: 'init-swarm' });
  const chain: ManagerChain = { init, last: init, shared: ensureShared(context) };
  // The manager that makes the swarm comes first: everyone else joins what it made.
  const order = [...context.desired.nodes].sort(
    (a, b) => Number(b.name === initializer) - Number(a.name === initializer),
  );
  const made = order.map((node) => planNode(node, chain, context));
  const shared = { steps: chain.shared ? [chain.shared] : [] };
  const present = joinParts([shared, swarmTrouble(context, initializer), ...made]);
  return joinParts([present, planRemoval(context, present.steps)]);
}

/** Managers enter the raft one by one; `last` is the step that the next one waits for. */
interface ManagerChain {
  readonly init: Step | undefined;
  last: Step | undefined;
  /** What machines are made on. */
  readonly shared: Step | undefined;
}

function ensureShared({ desired, observed: { sharedLacks } }: PlanContext): Step | undefined {
  return sharedLacks && step(desired.name, sharedLacks.join('; '), [], { kind: 'ensure-shared' });
}

function swarmTrouble({ observed, desired }: PlanContext, initializer: string | undefined): PlanPart {
  if (observed.swarm || initializer !== undefined) return {};
  const message = observed.swarmError ?? 'no manager answers, and a new swarm would abandon the old one';
  return problem(desired.name, 'SwarmUnavailable', message);
}

function planNode(node: DesiredNode, chain: ManagerChain, context: PlanContext): PlanPart {
  const owner = context.heldBy(node.name);
  if (owner !== undefined) return { held: [{ target: node.name, owner }] };
  const seen = machineOf(context.observed, node.name);
  if (!seen) return planNewMachine(node, chain, context);
  const mismatch = seen.machine.settingsHash !== node.settingsHash;
  return joinParts([
    mismatch && !context.desired.mayReplace ? note(node.name, 'DriftReported', otherSettings) : {},
    mismatch && context.replaced === node.name ? {} : planExisting(node, seen, chain, context),
  ]);
}

const otherSettings =
  'was made with other settings than the manifest asks for; with `replace: allow` workers are made anew, one by one';

function planNewMachine(node: DesiredNode, chain: ManagerChain, context: PlanContext): PlanPart {
  const create = createStep(node, 'the machine does not exist', chain, context);
  const verify = step(node.name, 'the machine is new', [create], { kind: 'verify-engine' });
  const entry = enterSwarm(node, verify, chain, context, false);
  return { steps: [create, verify, ...entry, ...deliver(node, verify, {}, context)] };
}

function createStep(
  node: DesiredNode,
  reason: string,
  { shared }: ManagerChain,
  { desired }: PlanContext,
): Step {
  const { name, role, shape } = node;
  const spec = { name, role, index: desired.nodes.indexOf(node) };
  const action = { kind: 'create-machine' as const, spec, ...(shape !== undefined && { shape }) };
  return step(name, reason, [shared], action);
}

/** From an engine that is in no swarm to a labelled member. */
function enterSwarm(
  node: DesiredNode,
  verify: Step | undefined,
  chain: ManagerChain,
  context: PlanContext,
  leaveFirst: boolean,
): readonly Step[] {
  const { name, role } = node;
  if (chain.init?.target === name) {
    const init = { ...chain.init, after: verify ? [verify.id] : [] };
    return [init, labelStep(node, 'it joins the swarm', init, context)];
  }
  if (!context.observed.swarm && !chain.init) return [];
  const reason = leaveFirst ? 'it is in a swarm that no longer knows it' : 'it is in no swarm';
  const earlier = role === 'manager' ? chain.last : chain.init;
  const join = step(name, reason, [verify, earlier], { kind: 'join-swarm', role, leaveFirst });
  if (role === 'manager') chain.last = join;
  return [join, labelStep(node, 'it joins the swarm', join, context)];
}

function labelStep(node: DesiredNode, reason: string, after: Step | undefined, context: PlanContext): Step {
  return step(node.name, reason, [after], {
    kind: 'label-node',
    labels: nodeLabels(node, context.desired.name),
  });
}

function planExisting(
  node: DesiredNode,
  { machine, look }: ObservedMachine,
  chain: ManagerChain,
  context: PlanContext,
): PlanPart {
  const { name } = node;
  switch (look.state) {
    case 'off': {
      const create = createStep(node, 'the machine is powered off', chain, context);
      return { steps: [create, step(name, 'the machine was off', [create], { kind: 'verify-engine' })] };
    }
    case 'connecting':
      return waiting(name, 'Progressing', `connecting to ${machine.address}`);
    case 'unreachable':
      return joinParts([problem(name, 'NodeUnreachable', look.message), planMember(node, look, context)]);
    case 'engine-down':
      return problem(name, 'EngineUnavailable', look.message);
    case 'up':
      return joinParts([
        planMembership(node, look, chain, context),
        { steps: deliver(node, undefined, look.images, context) },
      ]);
    default:
      return look satisfies never;
  }
}

type UpLook = Extract<ObservedMachine['look'], { state: 'up' }>;

function planMembership(
  node: DesiredNode,
  look: UpLook,
  chain: ManagerChain,
  context: PlanContext,
): PlanPart {
  const { swarm } = context.observed;
  const here = look.info.Swarm;
  switch (here.LocalNodeState) {
    case 'inactive':
      return { steps: enterSwarm(node, undefined, chain, context, false) };
    case 'pending':
      return waiting(node.name, 'JoinPending', 'its engine is joining the swarm');
    case 'locked':
      return problem(node.name, 'SwarmUnavailable', 'its engine waits for the swarm to be unlocked');
    case 'active':
    case 'error': {
      const known = swarm?.nodes.some(({ ID }) => ID === here.NodeID);
      if (known && here.LocalNodeState === 'error') return problem(node.name, 'SwarmUnavailable', here.Error);
      if (known) return planMember(node, look, context);
      if (isOurs(look.info, context)) return { steps: enterSwarm(node, undefined, chain, context, true) };
      // Without a manager to ask, membership cannot be judged; `swarmTrouble` says so.
      if (!swarm) return {};
      return problem(
        node.name,
        'SwarmUnavailable',
        'its engine is in another swarm, which it is never made to leave',
      );
    }
    default:
      return here.LocalNodeState satisfies never;
  }
}

/** A machine that the swarm knows: ready, labelled, in its role, and alone under its name. */
function planMember(node: DesiredNode, look: ObservedMachine['look'], context: PlanContext): PlanPart {
  const live = findSwarmNode(node.name, look, context.observed.swarm?.nodes);
  if (!live) return {};
  const steps: Step[] = [];
  const { [TRIED_LABEL]: tried } = live.Spec.Labels;
  const labels = {
    ...nodeLabels(node, context.desired.name),
    ...(tried !== undefined && { [TRIED_LABEL]: tried }),
  };
  const changed = changedLabels(labels, live.Spec.Labels);
  if (changed.length > 0) {
    const reason = `labels differ: ${changed.join(', ')}`;
    steps.push(step(node.name, reason, [], { kind: 'label-node', labels }));
  }
  if (live.Spec.Role !== node.role) {
    const reason = `it is a ${live.Spec.Role}, not a ${node.role}`;
    steps.push(step(node.name, reason, [steps[0]], { kind: 'set-role', role: node.role }));
  }
  return joinParts([{ steps }, readiness(node, live), { steps: twinSteps(node, live, context) }]);
}

function readiness({ name }: DesiredNode, live: LiveNode): PlanPart {
  const { State, Message } = live.Status;
  // Told within seconds; that a node is down, after three times five.
  if (live.ManagerStatus?.Reachability === 'unreachable')
    return waiting(name, 'NodeUnreachable', 'the leader of the swarm does not reach it');
  if (State === 'ready') return {};
  return waiting(name, 'NodeUnreachable', `the swarm sees it ${State}${Message ? `: ${Message}` : ''}`);
}

function twinSteps({ name }: DesiredNode, live: LiveNode, { observed }: PlanContext): readonly Step[] {
  if (live.Status.State !== 'ready') return [];
  return staleTwins(name, live, observed.swarm).map((twin) => {
    const reason = `${twin.ID} is what ${name} was in the swarm before it joined anew`;
    return {
      ...step(name, reason, [], { kind: 'remove-twin', nodeId: twin.ID }),
      id: `remove-twin/${twin.ID}`,
    };
  });
}

function deliver(
  node: DesiredNode,
  verify: Step | undefined,
  present: Readonly<Record<string, string>>,
  { desired }: PlanContext,
): readonly Step[] {
  const services = desired.stacks.flatMap((stack) => stack.services);
  const needed = neededImages({ hostname: node.name, role: node.role, labels: node.labels }, services);
  const lacking = desired.images.filter(
    ({ reference, id }) => needed.includes(reference) && present[reference] !== id,
  );
  if (lacking.length === 0) return [];
  const images = lacking.map(({ reference }) => reference);
  const reason = verify ? 'the machine is new' : 'its image store lacks them';
  return [step(node.name, reason, [verify], { kind: 'deliver-images', images })];
}

/** The labels of a node in the swarm: those of the manifest, and our two. */
function nodeLabels(node: DesiredNode, cluster: string): Labels {
  return { ...node.labels, [CLUSTER_LABEL]: cluster, [NODE_LABEL]: node.name };
}

function changedLabels(want: Labels, have: Labels | undefined): readonly string[] {
  const keys = new Set([...Object.keys(want), ...Object.keys(have ?? {})]);
  return [...keys].filter((key) => want[key] !== have?.[key]).sort();
}
