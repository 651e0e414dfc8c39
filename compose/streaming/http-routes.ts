import { once } from 'node:events';
import http from 'node:http';
import type { Registry } from 'prom-client';

/** Answers one request; it may keep the response open. */
export type Route = (
  request: { readonly query: URLSearchParams },
  response: http.ServerResponse,
) => void | Promise<void>;

/** Serves GET routes by exact path until the signal; `/healthz` is always there. */
export async function serveRoutes(
  port: number,
  routes: Readonly<Record<string, Route>>,
  signal: AbortSignal,
): Promise<http.Server> {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const route = url.pathname === '/healthz' ? healthy : routes[url.pathname];
    if (request.method !== 'GET' || route === undefined) {
      response.writeHead(404).end();
      return;
    }
    Promise.resolve(route({ query: url.searchParams }, response)).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  signal.addEventListener('abort', () => {
    server.close();
    server.closeAllConnections();
  });
  server.listen(port);
  await once(server, 'listening');
  return server;
}

const healthy: Route = (_request, response) => {
  response.end('ok\n');
};

/** A route that answers with JSON made at the time of the request. */
export function json(body: () => unknown): Route {
  return (_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body()));
  };
}

/** The route of a Prometheus registry. */
export function metricsOf(registry: Registry): Route {
  return async (_request, response) => {
    response.setHeader('content-type', registry.contentType);
    response.end(await registry.metrics());
  };
}
