// What every manifest of this package would do, as text: the plan of a cluster from nothing, the runs of a schedule over
// a made-up inventory. A changed plan shows as a changed file in test/golden/, for a reviewer to read. After an intended
// change: npx tsc && UPDATE_GOLDEN=1 npx tap run dist/test/golden.test.js

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { formatPlan } from '../controller/cluster/format-plan.ts';
import { loadDesired } from '../controller/cluster/load-desired.ts';
import { planCluster } from '../controller/cluster/plan-cluster.ts';
import { faultKindsByName, resourceKinds } from '../controller/resource-kinds.ts';
import { planCampaign, titleOf } from '../controller/schedule/plan-campaign.ts';
import { planningsOf, planRuns } from '../controller/schedule/plan-run.ts';
import { listFolder } from '../controller/source/list-folder.ts';
import { type LoadedDocument, type LoadedFile, manifestLoader } from '../controller/source/load-manifest.ts';
import { ResourceStore } from '../controller/source/resource-store.ts';
import { checkpointKind } from '../controller/stack/checkpoint.ts';
import { stackLoader } from '../controller/stack/load-stack.ts';
import { createClaims } from '../controller/status/claims.ts';
import type { ServiceSpec } from '../controller/swarm/swarm-types.ts';
import { type ClusterSpec, provisionerOf } from '../crds/cluster-spec.ts';
import type { FaultSchedule } from '../crds/fault-schedule.ts';
import { formatProblem } from '../crds/problem.ts';
import type { Machine } from '../provisioners/contract.ts';
import { type Ec2Config, subnetFor } from '../provisioners/ec2/config.ts';
import type { Clock } from '../state-machines/contract.ts';
import { describePlan } from '../state-machines/describe-plan.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { FakeNode } from './support/fake-node.ts';
import { FakeSwarm } from './support/fake-swarm.ts';

const live = new AbortController().signal;
const scripts = await loadScripts('state-machines');
const hdfsFile = resolve('compose/streaming/hdfs.yaml');

/** What leads, being alone. */
const leaders = [
  [8080, '{ "status" : "ALIVE" }'],
  [2181, 'Mode: standalone'],
] as const;

/** Nothing takes time. */
const hurried: Clock = { now: () => 0, sleep: async () => {} };

const variables = {
  ...{ GENERATOR_IMAGE: 'generator:1', OBSERVER_IMAGE: 'observer:1' },
  ...{ SPARK_KAFKA_IMAGE: 'spark-kafka:1', KAFKA_JMX_IMAGE: 'kafka-jmx:1' },
  CONTROLLER_TARGET: '192.0.2.1:9464',
};

const examples = await readdir('manifests/examples');
const stories = ['manifests', ...examples.map((name) => join('manifests/examples', name))];

for (const story of stories) {
  t.test(`${story} is in force as it is, and its plans are those that were reviewed`, async (t) => {
    const { paths } = await listFolder(story, false);
    const load = manifestLoader(resourceKinds, (path) => readFile(path, 'utf8'), hdfsFile);
    const own = await Promise.all(paths.map((path) => load(path, live)));
    const clusters = new Set(own.flatMap(({ documents }) => documents.map(({ key }) => key)));
    const isAlone = ({ documents }: LoadedFile) =>
      documents.some(
        ({ resource }) =>
          resource.kind === 'FaultSchedule' && !clusters.has(`ClusterSpec/${resource.spec.clusterRef.name}`),
      );
    // Schedules alone are examples for the demo's cluster, or for one that has zones.
    const others = ['manifests/six-nodes.yaml', 'manifests/examples/aws-zones/cluster.yaml'];
    const loaded = own.some(isAlone) ? await Promise.all(others.map((path) => load(path, live))) : [];
    const files = [...own, ...loaded];
    const store = new ResourceStore({
      ...{ known: new Map(), onChanged: () => {}, newUid: () => 'uid', confirmMs: 0 },
    });
    store.update({ atMs: 0, complete: true, files, problems: [] });
    t.same(store.problems().map(formatProblem), []);
    const documents = files.flatMap((file) => file.documents);
    for (const { path, documents: written } of own) {
      const plans = await Promise.all(written.map((document) => describe(document, documents)));
      await compare(
        t,
        join('test/golden', path.replace(/^manifests\//, '').replace(/\.ya?ml$/, '.txt')),
        plans,
      );
    }
  });
}

t.test('every golden file belongs to a manifest', async (t) => {
  const golden = await readdir('test/golden', { recursive: true });
  const manifests = await readdir('manifests', { recursive: true });
  const named = (names: readonly string[]) =>
    names.flatMap((name) => /^(.+)\.(?:ya?ml|txt)$/.exec(name)?.[1] ?? []).sort();
  t.same(named(golden), named(manifests));
});

async function compare(t: Test, path: string, plans: readonly string[]): Promise<void> {
  const text = plans.join('\n');
  if (process.env.UPDATE_GOLDEN) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  t.equal(text, await readFile(path, 'utf8').catch(String), path);
}

function describe({ resource }: LoadedDocument, all: readonly LoadedDocument[]): Promise<string> {
  if (resource.kind === 'ClusterSpec') return describeCluster(resource);
  const { name } = resource.spec.clusterRef;
  const cluster = all.find(({ key }) => key === `ClusterSpec/${name}`)?.resource;
  if (cluster?.kind !== 'ClusterSpec') throw new Error(`no ClusterSpec ${name} in this folder`);
  return describeSchedule(resource, cluster);
}

const desiredOf = (cluster: ClusterSpec) =>
  loadDesired(
    cluster,
    {
      provisioner: { settingsHash: () => 'settings' },
      loadStack: stackLoader(),
      variables,
      deliverable: async (references) => references.map((reference) => ({ reference, id: 'sha256:1' })),
    },
    live,
  );

async function describeCluster(cluster: ClusterSpec): Promise<string> {
  const desired = await desiredOf(cluster);
  const plan = planCluster({
    ...{ desired, observed: { machines: [] }, heldBy: () => undefined, inventory: undefined },
  });
  // The content of a config is reviewed in its own file.
  const hashed = desired.stacks.flatMap(({ configs, secrets }) => [...configs, ...secrets]);
  return hashed.reduce(
    (text, { Name }) => text.replaceAll(Name, Name.replace(/-[0-9a-f]{8}$/, '-<hash>')),
    formatPlan(`ClusterSpec/${cluster.metadata.name}`, plan),
  );
}

/** Throws nothing. */
const noSwitch = { on: async () => {}, offUntil: async () => {} };

/** Where its provisioner would put a machine. */
function placeOf(cluster: ClusterSpec, name: string): Pick<Machine, 'zone' | 'spot'> {
  const { name: provisioner, config } = provisionerOf(cluster);
  if (provisioner !== 'ec2') return {};
  const { zone } = subnetFor(config as Ec2Config, name);
  const { spot } = (config as Ec2Config).machines[name] ?? {};
  return { ...(zone !== undefined && { zone }), ...(spot && { spot }) };
}

/** All trials, planned as if each began in the same steady cluster. */
async function describeSchedule(schedule: FaultSchedule, cluster: ClusterSpec): Promise<string> {
  const { spec, metadata } = schedule;
  const swarm = await populate(cluster);
  const nodes = new Map(
    cluster.spec.nodes.map(({ name }, index) => {
      const node = new FakeNode(name, hurried, scripts, `10.98.0.${11 + index}`);
      for (const [port, answer] of leaders) node.answers.set(port, answer);
      return [name, node];
    }),
  );
  const access = {
    ...{ nodeNames: [...nodes.keys()], ownAddresses: [], swarm: async () => swarm.gateway },
    nodes: async (name: string) => nodes.get(name)!,
    claims: createClaims(),
    ...checkpointKind(cluster.spec),
    switches: { power: noSwitch, zone: noSwitch, spot: noSwitch },
    machineOf: (name: string) => placeOf(cluster, name),
  };
  const lines = planCampaign(spec, spec.seed ?? 0).map(async (planned) => {
    const { number, group, seed, isControl } = planned;
    const title = `trial ${number}, ${titleOf(planned)}`;
    if (isControl) return `${title}: nothing is done, as long as in ${group.name}`;
    const trial = { schedule, group, cluster: access, scripts, kinds: faultKindsByName, runId: 'golden' };
    const runs = await planRuns(planningsOf({ ...trial, seed }), live);
    return `${title}: ${runs.map(describePlan).join('\n')}`;
  });
  return `FaultSchedule/${metadata.name}: preset ${spec.preset}\n${(await Promise.all(lines)).join('\n')}\n`;
}

/** The cluster with all of its services running. */
async function populate(cluster: ClusterSpec): Promise<FakeSwarm> {
  const swarm = new FakeSwarm();
  for (const { name, role, labels } of cluster.spec.nodes) swarm.addNode(name, role, labels);
  const { stacks } = await desiredOf(cluster);
  for (const service of stacks.flatMap((stack) => stack.services))
    await swarm.gateway.createService(bare(service), live);
  return swarm;
}

/** Without what would have to exist before it. */
function bare({ TaskTemplate, ...spec }: ServiceSpec): ServiceSpec {
  const { Networks: _networks, ...template } = TaskTemplate;
  const { Configs: _configs, Secrets: _secrets, ...container } = template.ContainerSpec;
  return { ...spec, TaskTemplate: { ...template, ContainerSpec: container } };
}
