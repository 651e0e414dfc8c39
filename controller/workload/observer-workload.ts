import http from 'node:http';
import type { Socket } from 'node:net';
import type { NodeHandle } from '../../provisioners/contract.ts';
import type { Clock, Workload } from '../../state-machines/contract.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import { boundClock } from './clock-bound.ts';

/** Where the observer publishes its HTTP port on its node (compose/streaming/stack.yaml). */
const observerPort = 9401;

const reconnectDelayMs = 500;
/** Rows come every 250 ms: nothing for this long means that the connection is dead. */
const silenceMs = 5_000;
const clockProbes = 5;

export interface ObserverWorkloadOptions {
  /** The node on which the observer runs now. */
  readonly node: () => Promise<NodeHandle>;
  readonly clock: Clock;
}

/**
 * The observer as a trial sees it, read through the node's ssh connection: the one path that every network fault
 * leaves open, and the same for every provisioner.
 */
export function observerWorkload({ node, clock }: ObserverWorkloadOptions): Workload {
  const get = async (
    path: string,
    signal: AbortSignal,
    handle?: NodeHandle,
  ): Promise<http.IncomingMessage> => {
    handle ??= await node();
    const stream = await handle.dial({ host: '127.0.0.1', port: observerPort }, signal);
    return request(stream as Socket, path, signal);
  };
  return {
    samples: (signal) => followSamples(get, clock, signal),
    clockBound: async (signal) => {
      const handle = await node();
      const fromNode: Get = (path) => get(path, signal, handle);
      return {
        node: handle.name,
        ...(await boundClock(() => readClock(fromNode, signal), clock, clockProbes)),
      };
    },
  };
}

type Get = (path: string, signal: AbortSignal) => Promise<http.IncomingMessage>;

function request(stream: Socket, path: string, signal: AbortSignal): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    http
      // No `agent`, not even false: any agent makes a connection of its own instead of using ours.
      .get({ path, signal, createConnection: () => stream }, (response) => {
        if (response.statusCode === 200) return resolve(response);
        response.resume();
        reject(new Error(`observer answered ${response.statusCode} to GET ${path}`));
      })
      .on('error', reject);
  });
}

async function* followSamples(get: Get, clock: Clock, signal: AbortSignal): AsyncIterable<Sample> {
  let sinceMs = clock.now();
  while (!signal.aborted) {
    try {
      for await (const sample of readRows(get, sinceMs, signal)) {
        sinceMs = sample.atMs;
        yield sample;
      }
    } catch (error) {
      // A lost connection is expected while nodes are being broken: `since` fetches what was missed.
      if (signal.aborted) throw error;
    }
    await clock.sleep(reconnectDelayMs, signal);
  }
}

async function* readRows(get: Get, sinceMs: number, signal: AbortSignal): AsyncIterable<Sample> {
  const response = await get(`/samples?since=${sinceMs}`, signal);
  const silence = setTimeout(() => response.destroy(new Error('observer fell silent')), silenceMs);
  try {
    // Not node:readline: its iterator never ends when the stream is cut off instead of closed.
    let rest = '';
    for await (const chunk of response.setEncoding('utf8')) {
      silence.refresh();
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield JSON.parse(line) as Sample;
    }
  } finally {
    clearTimeout(silence);
    response.destroy();
  }
}

async function readClock(get: Get, signal: AbortSignal): Promise<number> {
  const response = await get('/clock', signal);
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += String(chunk);
  return (JSON.parse(body) as { nowMs: number }).nowMs;
}
