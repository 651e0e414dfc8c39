import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

/** What an engine was asked to make, by its name. */
export interface Asked {
  readonly kind: 'networks' | 'configs' | 'secrets' | 'services';
  readonly body: { readonly Name: string };
}

export interface RecordingProxy {
  readonly socket: string;
  /** All that was asked for since the last call. */
  take(): readonly Asked[];
  stop(): Promise<void>;
}

/** Stands between clients and the engine on that socket, and keeps what they want made. */
export async function startRecordingProxy(engineSocket: string): Promise<RecordingProxy> {
  let asked: Asked[] = [];
  const pass = async (incoming: IncomingMessage, answer: ServerResponse) => {
    const body = await buffer(incoming);
    const { method, url = '', headers } = incoming;
    const kind = /\/(networks|configs|secrets|services)\/create(\?|$)/.exec(url)?.[1] as Asked['kind'];
    if (kind !== undefined) asked.push({ kind, body: JSON.parse(body.toString()) as Asked['body'] });
    const options = { socketPath: engineSocket, method, path: url, headers };
    const outgoing = request(options, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(answer);
    });
    outgoing.on('error', () => answer.destroy());
    outgoing.end(body);
  };
  const server = createServer((incoming, answer) => void pass(incoming, answer));
  const folder = await mkdtemp('/tmp/sf-proxy-');
  const socket = join(folder, 'docker.sock');
  server.listen(socket);
  await once(server, 'listening');
  return {
    socket,
    take() {
      const all = asked;
      asked = [];
      return all;
    },
    async stop() {
      server.close();
      server.closeAllConnections();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
