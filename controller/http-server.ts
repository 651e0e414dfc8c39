import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type HealthCheck, reportHealth } from './health.ts';

/** The answer to `GET <path>`, sent as JSON; undefined is 404. */
export type JsonRoute = (url: URL) => Promise<unknown>;

/** What came with `POST <path>`. */
export interface Posted {
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** Takes `POST <path>`; `mayCome` is asked before the body is read. */
export interface PostRoute {
  readonly mayCome: () => boolean;
  readonly take: (posted: Posted) => { readonly status: number; readonly text: string };
}

export interface HttpServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Whether the process can do its work: when one of these fails, only a new process helps. */
  readonly healthz: readonly HealthCheck[];
  /** Whether it does its work. */
  readonly readyz: readonly HealthCheck[];
  /** What a process that does its work is in it, a line each: of several operators one leads. */
  readonly roles?: () => readonly string[];
  /** More GET routes by exact path. */
  readonly routes?: ReadonlyMap<string, JsonRoute>;
  /** POST routes by exact path. */
  readonly posts?: ReadonlyMap<string, PostRoute>;
  readonly failed: (error: unknown, path: string) => void;
}

export interface RunningHttpServer {
  readonly port: number;
  /** Ends open connections too: a scraper keeps its own alive for ever. */
  close(): Promise<void>;
}

interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

/** Serves /metrics, /healthz and /readyz (with `?verbose` a line per check) and the given routes. */
export async function startHttpServer(options: HttpServerOptions): Promise<RunningHttpServer> {
  const server = createServer((request, response) => {
    void answer(request, options).then((reply) => send(response, reply, request.method === 'HEAD'));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => resolve());
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, options: HttpServerOptions): Promise<Reply> {
  const url = parseUrl(request.url);
  if (!url) return plain(400, 'bad path');
  const post = request.method === 'POST' ? options.posts?.get(url.pathname) : undefined;
  if (!post && request.method !== 'GET' && request.method !== 'HEAD') return plain(405, 'only GET');
  try {
    return await (post ? takePost(request, post) : route(url, options));
  } catch (error) {
    options.failed(error, url.pathname);
    return plain(500, 'failed; see the log');
  }
}

async function route(url: URL, options: HttpServerOptions): Promise<Reply> {
  if (url.pathname === '/healthz') return health('healthz', options.healthz, url);
  if (url.pathname === '/readyz') return health('readyz', options.readyz, url, options.roles);
  if (url.pathname === '/metrics') return { status: 200, ...(await options.metrics()) };
  const value = await options.routes?.get(url.pathname)?.(url);
  if (value === undefined) return plain(404, 'not found');
  return { status: 200, contentType: 'application/json', text: `${JSON.stringify(value)}\n` };
}

/** What a push to a repository with thousands of changed files brings, and not much more. */
const mostBodyBytes = 1 << 20;
const bodyLimitMs = 10_000;

async function takePost(request: IncomingMessage, post: PostRoute): Promise<Reply> {
  if (!post.mayCome()) return plain(429, 'too many requests');
  const chunks: Buffer[] = [];
  let bytes = 0;
  const tooSlow = setTimeout(() => request.destroy(), bodyLimitMs);
  try {
    // Kept open to its end: who sends too much is to read the answer.
    const pieces = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    for await (const piece of pieces) {
      bytes += piece.length;
      if (bytes > mostBodyBytes) return plain(413, `more than ${mostBodyBytes} bytes`);
      chunks.push(piece);
    }
  } finally {
    clearTimeout(tooSlow);
  }
  const { status, text } = post.take({ headers: request.headers, body: Buffer.concat(chunks) });
  return plain(status, text);
}

async function health(
  endpoint: string,
  checks: readonly HealthCheck[],
  url: URL,
  roles: () => readonly string[] = () => [],
): Promise<Reply> {
  const { ok, text } = await reportHealth(endpoint, checks, url.searchParams.has('verbose'));
  return ok ? plain(200, [text, ...roles()].join('\n')) : plain(503, text);
}

function parseUrl(path = '/'): URL | undefined {
  return URL.canParse(path, 'http://controller') ? new URL(path, 'http://controller') : undefined;
}

function plain(status: number, text: string): Reply {
  return { status, contentType: 'text/plain; charset=utf-8', text: `${text}\n` };
}

function send(response: ServerResponse, { status, contentType, text }: Reply, headOnly: boolean): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(text) });
  response.end(headOnly ? undefined : text);
}
