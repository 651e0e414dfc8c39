import http from 'node:http';
import { join } from 'node:path';

/** As much of an engine's API as a client asks before its first write; remembers what was asked. */
export class FakeEngine {
  readonly requests: string[] = [];
  connections = 0;
  readonly socketPath: string;
  readonly #server: http.Server;

  constructor(folder: string, engineId: string) {
    this.socketPath = join(folder, 'engine.sock');
    this.#server = http.createServer((request, response) => {
      this.requests.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => {
        response.setHeader('content-type', 'application/json');
        response.end(request.url?.startsWith('/info') ? JSON.stringify({ ID: engineId }) : '[]');
      });
    });
    this.#server.on('connection', () => {
      this.connections += 1;
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.socketPath, resolve));
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
