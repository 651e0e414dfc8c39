import type { Readable } from 'node:stream';
import type Dockerode from 'dockerode';
import { stableHash } from '../stable-hash.ts';
import { EngineError } from './engine-error.ts';
import { requestDone, requestList, requestObject, requestStream } from './engine-request.ts';
import { readEvents } from './read-events.ts';
import type { EngineGateway, SwarmGateway } from './swarm-gateway.ts';
import type { LiveConfig, LiveNetwork, LiveService, ServiceSpec } from './swarm-types.ts';

interface ListedImage {
  readonly Id: string;
  readonly RepoTags: readonly string[] | null;
}

interface InspectedImage {
  readonly Id: string;
  readonly RootFS: { readonly Layers?: readonly string[] | null };
  readonly Config: Readonly<Record<string, unknown>> | null;
}

/** Networks also tell of every container that comes and goes: when many tasks start, of nothing else. */
const objectEvents = ['create', 'update', 'remove', 'destroy'];
const LISTEN_ADDR = '0.0.0.0:2377';

/** The gateway to one engine, over a client from the guarded factory. */
export function engineGateway(docker: Dockerode): EngineGateway {
  const post = (path: string, body: unknown, signal: AbortSignal) =>
    requestDone(docker, { method: 'POST', path, body }, signal);
  /** By the engine's own id, which never stands for another image. */
  const looked = new Map<string, string>();
  const imageId: EngineGateway['imageId'] = async (reference, signal) => {
    try {
      const path = `/images/${reference}/json`;
      const image = await requestObject<InspectedImage>(docker, { method: 'GET', path }, signal);
      const id = contentId(image);
      looked.set(image.Id, id);
      return id;
    } catch (error) {
      if (error instanceof EngineError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  };
  return {
    info: (signal) => requestObject(docker, { method: 'GET', path: '/info' }, signal),
    initSwarm({ advertiseAddr, defaultAddrPool, subnetSize }, signal) {
      const addresses = { ListenAddr: LISTEN_ADDR, AdvertiseAddr: advertiseAddr };
      const pools = { DefaultAddrPool: defaultAddrPool, SubnetSize: subnetSize };
      return post('/swarm/init', { ...addresses, ...pools, Spec: {} }, signal);
    },
    async joinSwarm(options, signal) {
      const body = {
        ListenAddr: LISTEN_ADDR,
        AdvertiseAddr: options.advertiseAddr,
        RemoteAddrs: options.remoteAddrs,
        JoinToken: options.token,
      };
      try {
        await post('/swarm/join', body, signal);
        return 'joined';
      } catch (error) {
        // The engine goes on joining in the background: a second join would make a second node.
        if (error instanceof EngineError && error.message.includes('Timeout was reached')) return 'pending';
        throw error;
      }
    },
    leaveSwarm: ({ force }, signal) =>
      requestDone(docker, { method: 'POST', path: '/swarm/leave', query: { force: String(force) } }, signal),
    imageId,
    async imageIds(references, signal) {
      if (references.length === 0) return {}; // no filter would be all images
      const query = { filters: JSON.stringify({ reference: references }) };
      const path = '/images/json';
      const images = await requestList<ListedImage>(docker, { method: 'GET', path, query }, signal);
      const ids = new Map(images.flatMap(({ Id, RepoTags }) => (RepoTags ?? []).map((tag) => [tag, Id])));
      const found = references.map(async (reference) => {
        // What is written otherwise than the engine writes it (a digest, no tag) is not told apart from what is missing.
        const own = ids.get(reference) ?? reference;
        return [reference, looked.get(own) ?? (await imageId(own, signal))] as const;
      });
      const held = (await Promise.all(found)).filter(([, id]) => id !== undefined);
      return Object.fromEntries(held) as Record<string, string>;
    },
    async loadImages(archive, signal) {
      const request = {
        method: 'POST',
        path: '/images/load',
        query: { quiet: '1' },
        upload: archive,
      } as const;
      try {
        await readProgress(await requestStream(docker, request, signal));
      } finally {
        // An early refusal leaves the rest unread: whoever feeds the stream must not wait for ever.
        archive.destroy();
      }
    },
    async pullImage(reference, signal) {
      const query = imageQuery(reference);
      await readProgress(
        await requestStream(docker, { method: 'POST', path: '/images/create', query }, signal),
      );
    },
    async *events(types, signal) {
      const query = { filters: JSON.stringify({ type: types, event: objectEvents }) };
      const stream = await requestStream(docker, { method: 'GET', path: '/events', query }, signal);
      yield* readEvents(stream, signal);
    },
  };
}

/** Of an image, what matters to a container: layers and defaults, empty ones left out, as engines differ in these. */
function contentId({ RootFS, Config }: InspectedImage): string {
  const names = [
    'Env',
    'Entrypoint',
    'Cmd',
    'WorkingDir',
    'User',
    'Volumes',
    'StopSignal',
    'Healthcheck',
    'Labels',
  ];
  const said = names.map((name) => [name, Config?.[name]] as const).filter(([, value]) => !isEmpty(value));
  return stableHash({ layers: RootFS.Layers, ...Object.fromEntries(said) });
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || Object.keys(value).length === 0;

/** The gateway to the swarm, over a client of one of its managers. */
export function swarmGateway(docker: Dockerode): SwarmGateway {
  const list = <T>(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal) =>
    requestList<T>(docker, { method: 'GET', path, query }, signal);
  const create = async (path: string, body: unknown, signal: AbortSignal) => {
    const made = await requestObject<{ ID?: string; Id?: string }>(
      docker,
      { method: 'POST', path, body },
      signal,
    );
    return made.ID ?? made.Id ?? '';
  };
  const update = (
    { ID, Version }: Pick<LiveService, 'ID' | 'Version'>,
    body: ServiceSpec,
    signal: AbortSignal,
  ) => {
    const query = { version: String(Version.Index), registryAuthFrom: 'spec' };
    return requestDone(docker, { method: 'POST', path: `/services/${ID}/update`, query, body }, signal);
  };
  const predefined = new Map<string, LiveNetwork>();
  const remove = (path: string, signal: AbortSignal, query: Readonly<Record<string, string>> = {}) =>
    requestDone(docker, { method: 'DELETE', path, query }, signal);

  return {
    inspectSwarm: (signal) => requestObject(docker, { method: 'GET', path: '/swarm' }, signal),
    listNodes: (signal) => list('/nodes', {}, signal),
    updateNode: (live, body, signal) => {
      const query = { version: String(live.Version.Index) };
      return requestDone(docker, { method: 'POST', path: `/nodes/${live.ID}/update`, query, body }, signal);
    },
    removeNode: (id, { force }, signal) => remove(`/nodes/${id}`, signal, { force: String(force) }),
    async listNetworks(signal) {
      const filters = JSON.stringify({ scope: ['swarm'] });
      const [made] = await Promise.all([
        list<LiveNetwork>('/networks', { filters }, signal),
        findPredefined(docker, predefined, signal),
      ]);
      return [...predefined.values(), ...made];
    },
    createNetwork: (spec, signal) => create('/networks/create', { ...spec, CheckDuplicate: true }, signal),
    removeNetwork: (id, signal) => remove(`/networks/${id}`, signal),
    listConfigs: (signal) => list('/configs', {}, signal),
    async findConfig(idOrName, signal) {
      try {
        const path = `/configs/${idOrName}`;
        return await requestObject<LiveConfig>(docker, { method: 'GET', path }, signal);
      } catch (error) {
        if (error instanceof EngineError && error.code === 'NOT_FOUND') return undefined;
        throw error;
      }
    },
    labelConfig({ ID, Version, Spec }, Labels, signal) {
      const query = { version: String(Version.Index) };
      const body = { ...Spec, Labels };
      return requestDone(docker, { method: 'POST', path: `/configs/${ID}/update`, query, body }, signal);
    },
    createConfig: (spec, signal) => create('/configs/create', spec, signal),
    removeConfig: (id, signal) => remove(`/configs/${id}`, signal),
    listSecrets: (signal) => list('/secrets', {}, signal),
    createSecret: (spec, signal) => create('/secrets/create', spec, signal),
    removeSecret: (id, signal) => remove(`/secrets/${id}`, signal),
    listServices: (signal) => list('/services', { status: 'true' }, signal),
    createService: (spec, signal) => create('/services/create', spec, signal),
    updateService: (live, spec, signal) => update(live, withForceUpdate(spec, forcedSoFar(live)), signal),
    restartService: (live, signal) => update(live, withForceUpdate(live.Spec, forcedSoFar(live) + 1), signal),
    removeService: (id, signal) => remove(`/services/${id}`, signal),
    listTasks: ({ services, node, desired, upToDate }, signal) => {
      const filters = {
        ...(services && { service: services }),
        ...(node && { node: [node] }),
        ...(desired && { 'desired-state': [desired] }),
        // As the docker CLI asks it: no document tells of this filter.
        ...(upToDate && { '_up-to-date': ['true'] }),
      };
      return list('/tasks', { filters: JSON.stringify(filters) }, signal);
    },
  };
}

/**
 * Networks of the nodes themselves have an id in the swarm, which never changes, and are in none of its lists. An engine
 * that finds no leader says that there are none: only what was found is remembered.
 */
async function findPredefined(
  docker: Dockerode,
  found: Map<string, LiveNetwork>,
  signal: AbortSignal,
): Promise<void> {
  const unknown = ['bridge', 'host'].filter((name) => !found.has(name));
  const asked = unknown.map(async (name) => {
    const request = { method: 'GET', path: `/networks/${name}`, query: { scope: 'swarm' } } as const;
    try {
      found.set(name, await requestObject<LiveNetwork>(docker, request, signal));
    } catch (error) {
      if (!(error instanceof EngineError && error.code === 'NOT_FOUND')) throw error;
    }
  });
  await Promise.all(asked);
}

/** The live counter is to be sent back: another one restarts every task. */
function forcedSoFar({ Spec }: Pick<LiveService, 'Spec'>): number {
  return Spec.TaskTemplate.ForceUpdate ?? 0;
}

function withForceUpdate(spec: ServiceSpec, ForceUpdate: number): ServiceSpec {
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, ForceUpdate } };
}

function imageQuery(reference: string): Record<string, string> {
  const colon = reference.lastIndexOf(':');
  const tagged = colon > reference.lastIndexOf('/') && !reference.includes('@');
  return tagged
    ? { fromImage: reference.slice(0, colon), tag: reference.slice(colon + 1) }
    : { fromImage: reference, ...(reference.includes('@') ? {} : { tag: 'latest' }) };
}

/** Reads a progress stream to its end; the engine reports a failure as a last line under status 200. */
async function readProgress(stream: Readable): Promise<void> {
  let text = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) text = (text + String(chunk)).slice(-8192);
  for (const line of text.split('\n')) {
    const failure = /"error":("(?:[^"\\]|\\.)*")/.exec(line)?.[1];
    if (failure !== undefined) throw new EngineError('REFUSED', JSON.parse(failure) as string);
  }
}
