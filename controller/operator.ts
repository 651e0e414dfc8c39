import { randomInt, randomUUID } from 'node:crypto';
import { hostname, uptime } from 'node:os';
import { join } from 'node:path';
import { resolveImageNames } from '../compose/images/resolve-images.ts';
import { type ClusterSpec, provisionerOf } from '../crds/cluster-spec.ts';
import { resourceKey } from '../crds/group.ts';
import type { Provisioner, ProvisionerContext } from '../provisioners/contract.ts';
import { dockerOver, localDocker } from '../provisioners/shared/docker-client.ts';
import { isEngineAnswering } from '../provisioners/shared/install-engine.ts';
import type { RunJournal } from '../state-machines/contract.ts';
import { loadScripts, type Scripts } from '../state-machines/load-scripts.ts';
import { steadyClock, systemClock } from './clock.ts';
import { ClusterReconciler } from './cluster/cluster-reconciler.ts';
import type { OpenEngine } from './cluster/node-pool.ts';
import { imagePreparer, imageVariables, stackImages } from './cluster-images.ts';
import { Bystander } from './lease/bystander.ts';
import { type Acting, Leadership } from './lease/leadership.ts';
import type { LeaseTimes } from './lease/lease-elector.ts';
import type { Log } from './log.ts';
import { ControlLoop } from './loop/control-loop.ts';
import { createMetrics, type Metrics } from './metrics/metrics.ts';
import { type NameWatch, nameWatch } from './names/watch-names.ts';
import { faultKindsByName, provisionersByName, resourceKinds } from './resource-kinds.ts';
import { ActiveRuns } from './schedule/active-runs.ts';
import { closeGone } from './schedule/close-books.ts';
import { type ClusterAccess, clusterAccess } from './schedule/cluster-access.ts';
import { createInterventions, type Interventions } from './schedule/interventions.ts';
import { scheduleRunner } from './schedule/run-schedule.ts';
import { ScheduleReconciler } from './schedule/schedule-reconciler.ts';
import { CONFIRM_MS, SETTLE_MS } from './source/follow-manifests.ts';
import { type LoadManifest, manifestLoader } from './source/load-manifest.ts';
import { settledReader } from './source/read-settled.ts';
import { ResourceStore, type StoredResource } from './source/resource-store.ts';
import { SavedResources } from './source/saved-resources.ts';
import { HDFS_COMPOSE } from './stack/checkpoint.ts';
import { dockerImageSource, imageDelivery } from './stack/deliver-images.ts';
import { stackLoader } from './stack/load-stack.ts';
import { checkpointTryer } from './stack/try-checkpoint.ts';
import { createClaims, type TargetClaims } from './status/claims.ts';
import { isTrue } from './status/conditions.ts';
import type { FileRunJournal } from './status/run-journal.ts';
import { openStatusStores, type StatusStores } from './status/status-stores.ts';
import { engineGateway, swarmGateway } from './swarm/docker-gateways.ts';
import { openSampleFile } from './workload/sample-file.ts';

export interface OperatorOptions {
  /** Root of the installed package: scripts, compose files, image recipes. */
  readonly packageRoot: string;
  readonly stateDir: string;
  readonly cacheDir: string;
  /** Where /metrics is served. */
  readonly port: number;
  readonly log: Log;
  /** One line for people: long work, what is awaited. */
  readonly progress: (line: string) => void;
  /** With others of the same manifests, of which one acts; only for who writes. */
  readonly election?: LeaseTimes;
  /** Opened by the one writer of the state directory; absent for those who only look: these save nothing. */
  readonly journal?: FileRunJournal;
  /** How long a manifest must not have been written to; 0 where nobody can see half of one. */
  readonly settleMs?: number;
  /** In the place of the catalogue: for machines that no manifest can name. */
  readonly bindProvisioner?: (cluster: ClusterSpec) => Provisioner;
}

/** All parts of the process, bound to each other; nothing runs until its loops do. */
export interface Operator {
  readonly store: ResourceStore;
  readonly load: LoadManifest;
  readonly statuses: StatusStores;
  readonly clusters: ClusterReconciler;
  readonly metrics: Metrics;
  readonly scripts: Scripts;
  readonly clusterLoop: ControlLoop<StoredResource>;
  readonly scheduleLoop: ControlLoop<StoredResource>;
  readonly runs: ActiveRuns;
  readonly acting: Acting;
  /** The same, where there is an election. */
  readonly leadership?: Leadership;
  readonly names: NameWatch;
  /** The access to a cluster whose manifest is known; throws when it is not. */
  access(cluster: string): ClusterAccess;
  /** What is done to a cluster, by whomever. */
  interventionsIn(cluster: string): Interventions;
  /** Asks both loops for a pass over everything. */
  enqueueAll(): void;
}

/** Builds the parts and wires them: the one place that knows them all. */
export async function createOperator(options: OperatorOptions): Promise<Operator> {
  const { packageRoot, stateDir, log, journal } = options;
  const clock = systemClock;
  const metrics = createMetrics();
  const runJournal = journal ?? closedJournal;
  const statuses = openStatusStores(stateDir);
  const saved = new SavedResources(stateDir, resourceKinds);
  const [scripts, imageNames, known] = await Promise.all([
    loadScripts(join(packageRoot, 'state-machines')),
    resolveImageNames(packageRoot),
    saved.list(),
  ]);

  const store = new ResourceStore({
    known,
    newUid: randomUUID,
    confirmMs: CONFIRM_MS,
    onChanged(keys) {
      for (const key of keys) {
        const stored = store.get(key);
        if (stored)
          void saved.save(stored).catch((err: unknown) => log.warn({ err, key }, 'manifest not kept'));
        loopOf(key).add(key);
      }
      // A schedule may have waited for what changed.
      for (const { key, kind } of store.list()) if (kind === 'FaultSchedule') scheduleLoop.add(key);
    },
  });
  const resources = {
    get: (key: string) => store.get(key),
    finalized(key: string) {
      const stored = store.get(key);
      store.finalized(key);
      if (stored)
        void saved.remove(stored).catch((err: unknown) => log.warn({ err, key }, 'manifest not forgotten'));
    },
  };

  const clusterNamed = (name: string): ClusterSpec => {
    const { resource: cluster } = store.get(resourceKey('ClusterSpec', name)) ?? {};
    if (cluster?.kind !== 'ClusterSpec') throw new Error(`there is no ClusterSpec ${name}`);
    return cluster;
  };
  // Goes on while the machine sleeps, and nobody can set it.
  const monotonicMs = () => uptime() * 1000;
  const leadership: Leadership | undefined =
    options.election &&
    new Leadership({
      ...{ clock, log, times: options.election, metrics: metrics.leadership },
      identity: `${hostname()}_${randomUUID()}`,
      monotonicMs,
      clusters: () =>
        store
          .list()
          .flatMap(({ resource }) => (resource?.kind === 'ClusterSpec' ? [resource.metadata.name] : [])),
      managers: (name, signal) => clusters.managers(clusterNamed(name), signal),
      wake(name) {
        clusterLoop.add(resourceKey('ClusterSpec', name));
        for (const key of schedulesOf(name)) scheduleLoop.add(key);
      },
      lost(name, reason) {
        for (const key of schedulesOf(name)) runs.abort(key, reason);
      },
    });
  const acting: Acting = leadership ?? new Bystander(monotonicMs);
  const schedulesOf = (cluster: string) =>
    store
      .list()
      .filter(
        ({ resource }) => resource?.kind === 'FaultSchedule' && resource.spec.clusterRef.name === cluster,
      )
      .map(({ key }) => key);

  const claims = new Map<string, TargetClaims>();
  const claimsOf = (cluster: string): TargetClaims => {
    const existing = claims.get(cluster);
    if (existing) return existing;
    // What a trial lets go of is reconciled at once.
    const made = createClaims(() => clusterLoop.add(resourceKey('ClusterSpec', cluster)));
    claims.set(cluster, made);
    return made;
  };

  const interventions = new Map<string, Interventions>();
  const interventionsIn = (cluster: string): Interventions => {
    const made = interventions.get(cluster) ?? createInterventions(clock);
    interventions.set(cluster, made);
    return made;
  };

  const imageSource = dockerImageSource(localDocker());
  const clusters = new ClusterReconciler({
    ...{ clock, log, claimsOf, openEngine, imageSource },
    ...{ acting, statuses: statuses.clusters },
    prepare: imagePreparer({ ...options, names: imageNames }),
    isEngineHere: isEngineAnswering,
    bindProvisioner: options.bindProvisioner ?? (await provisionerBinder(options, imageNames)),
    loadStack: stackLoader(),
    images: imageDelivery(imageSource),
    tryCheckpoint: await checkpointTryer(packageRoot),
    variables: imageVariables(imageNames),
    controllerPort: options.port,
    metrics: metrics.clusters,
    removed: (cluster, left) =>
      closeGone(cluster, left, { journal: runJournal, clock, log, metrics: metrics.trials }),
    // What is done for a trial is a part of it.
    changed: (cluster, what, target) =>
      interventionsIn(cluster).note(claimsOf(cluster).madeAnewFor(target) ?? 'the reconciler', what),
    deafNodes: (cluster) => names.problems(cluster),
    returned: () => names.hint(),
    wake: (key, delayMs) => clusterLoop.addAfter(key, delayMs),
  });

  const access = (name: string): ClusterAccess => {
    const cluster = clusterNamed(name);
    const swarm = (signal: AbortSignal) => clusters.swarm(cluster, signal);
    const nodes = clusters.nodes(cluster);
    const { power, zone, spot } = clusters.provisioner(cluster);
    const switches = { ...(power && { power }), ...(zone && { zone }), ...(spot && { spot }) };
    const machineOf = (node: string) => clusters.machine(cluster, node);
    const shortcomings = async () => ((await isClusterReady(name)) ? [] : [`cluster ${name} is not Ready`]);
    const namesSettled = (signal: AbortSignal) => names.settle(name, signal);
    const told = {
      claims: claimsOf(name),
      interventions: interventionsIn(name),
      ...{ shortcomings, namesSettled },
    };
    const mandate = leadership && { mandate: () => leadership.mandate(name) };
    return clusterAccess({ cluster, clock, swarm, nodes, switches, machineOf, ...told, ...mandate });
  };
  const isClusterReady = async (name: string): Promise<boolean> => {
    const stored = store.get(resourceKey('ClusterSpec', name));
    if (!stored || stored.deleting || !clusters.hasPassed(name, stored.generation)) return false;
    if (names.isHealing(name)) return false;
    const { status } = await statuses.clusters.read(name);
    return status !== undefined && isTrue(status.conditions, 'Ready', stored.generation);
  };
  const runs = new ActiveRuns((key, err) => {
    if (err !== undefined) log.error({ err, key }, 'run ended unrecorded');
    scheduleLoop.add(key);
    names.hint(); // the last trial of a run leaves the look to us
  });
  const names = nameWatch({
    ...{ clock, scripts, clusterOf: access, metrics: metrics.clusters, log },
    clusters: () =>
      store
        .list()
        .filter(({ kind, deleting, name, generation }) => {
          return kind === 'ClusterSpec' && !deleting && clusters.hasPassed(name, generation);
        })
        .map(({ name }) => name),
    isOnTrial: (cluster) =>
      store.list().some(({ key, resource }) => {
        const isOfCluster = resource?.kind === 'FaultSchedule' && resource.spec.clusterRef.name === cluster;
        return isOfCluster && runs.generationOf(key) !== undefined;
      }),
    mayHeal: (cluster) => {
      const { resource } = store.get(resourceKey('ClusterSpec', cluster)) ?? {};
      if (resource?.kind !== 'ClusterSpec' || acting.hindrance(cluster) !== undefined) return false;
      return resource.spec.drift === 'correct' && !resource.spec.suspend;
    },
    tell: (cluster, event) => clusters.tell(cluster, event),
  });
  const schedules = new ScheduleReconciler({
    ...{ clock, runs, acting, metrics: metrics.trials, status: statuses.schedules },
    drawSeed: () => randomInt(2 ** 32),
    runsOf: async (name) => ((await journal?.runs()) ?? []).filter(({ schedule }) => schedule === name),
    isClusterReady,
    isClusterKnown: (name) => store.get(resourceKey('ClusterSpec', name)) !== undefined,
    runSchedule: scheduleRunner({
      ...{
        clock,
        scripts,
        journal: runJournal,
        metrics: metrics.trials,
        workloadMetrics: metrics.workload,
      },
      kinds: faultKindsByName,
      cluster: access,
      status: statuses.schedules,
      monotonicMs: () => performance.now(),
      openSamples: (runId) => openSampleFile(stateDir, runId),
      progress: (schedule, line) => options.progress(`${schedule}: ${line}`),
    }),
  });

  const workers = 4;
  // Machines of a large cluster, and images over a slow line, take minutes.
  const passLimitMs = 30 * 60_000;
  const loop = (reconciler: ClusterReconciler | ScheduleReconciler) =>
    new ControlLoop({
      ...{ reconciler, resources, clock: steadyClock, log, workers, passLimitMs },
      metrics: metrics.loop(reconciler.kind, workers),
    });
  const clusterLoop = loop(clusters);
  const scheduleLoop = loop(schedules);
  const loopOf = (key: string) => (key.startsWith('ClusterSpec/') ? clusterLoop : scheduleLoop);
  const read = settledReader(options.settleMs ?? SETTLE_MS, clock);
  const load = manifestLoader(resourceKinds, read, join(packageRoot, HDFS_COMPOSE));
  const enqueueAll = () => {
    for (const { key } of store.list()) loopOf(key).add(key);
  };
  return {
    ...{
      store,
      load,
      statuses,
      clusters,
      metrics,
      scripts,
      clusterLoop,
      scheduleLoop,
      runs,
      acting,
      ...(leadership && { leadership }),
      names,
      access,
      interventionsIn,
      enqueueAll,
    },
  };
}

/** For those who only look: no run can begin. */
const closedJournal: RunJournal = {
  write: () => Promise.reject(new Error('the state directory is open for reading only')),
  unfinished: () => Promise.resolve([]),
};

const openEngine: OpenEngine = async (node, expectedEngineId, signal) => {
  const { docker, engineId, close } = await dockerOver(node, expectedEngineId, signal);
  return { engineId, close, engine: engineGateway(docker), swarm: swarmGateway(docker) };
};

async function provisionerBinder(
  { stateDir, cacheDir, progress }: OperatorOptions,
  imageNames: ReadonlyMap<string, string>,
): Promise<(cluster: ClusterSpec) => Provisioner> {
  const loaded = Object.values(provisionersByName).map(
    async ({ name, load }) => [name, await load()] as const,
  );
  const makers = new Map(await Promise.all(loaded));
  const tags = (names: readonly string[]) => names.map((name) => imageNames.get(name)!);
  return (cluster) => {
    const { name, config } = provisionerOf(cluster);
    const context: ProvisionerContext = {
      ...{ cluster: cluster.metadata.name, cacheDir, progress },
      stateDir: join(stateDir, 'provisioner', cluster.metadata.name),
      images: {
        node: imageNames.get('node')!,
        seed: tags(stackImages(cluster, imageNames)),
      },
    };
    return makers.get(name)!(config, context);
  };
}
