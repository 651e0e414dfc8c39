import type { HostTool } from './host-tools.ts';

/** How one image comes to be. */
export interface ImageRecipe {
  /** The short name by which others ask for its full one. */
  readonly name: string;
  /** The official image whose name it bears and whose contract it fulfils; null for what is ours alone. */
  readonly standsInFor: string | null;
  /** Folder below `compose`: a Dockerfile, what it copies, and perhaps a prepare.sh that runs first. */
  readonly folder: string;
  /** Short name of the image that it is built from; null for the first one. */
  readonly parent: string | null;
  /** Name of its set in downloads.json; null when it needs none. */
  readonly downloads: string | null;
  /** What its prepare.sh runs beside the basic tools of a Debian machine; null when it needs nothing. */
  readonly tool: HostTool | null;
  /** A bundled program, from the package's root, that becomes app.cjs in the build's folder; null when it has none. */
  readonly bundle: string | null;
  /** Files and folders of this package, from its root, that lie below `package` in the build's folder. */
  readonly assets: readonly string[];
}

const image = (
  name: string,
  parent: string | null,
  rest: Partial<Omit<ImageRecipe, 'name' | 'parent'>> = {},
): ImageRecipe => ({
  name,
  parent,
  standsInFor: null,
  folder: `images/${name}`,
  downloads: null,
  tool: null,
  bundle: null,
  assets: [],
  ...rest,
});

/** What the operator needs of this package at run time, beside its modules. */
const PACKAGE = [
  'package.json',
  'package-lock.json',
  'compose',
  'state-machines',
  ...['compose', 'controller', 'crds', 'provisioners', 'state-machines'].map((folder) => `dist/${folder}`),
];

/**
 * Every image, each after the one it is built from; those that take longest come first.
 * A stand-in bears the official tag of the very version that it contains.
 */
export const IMAGES: readonly ImageRecipe[] = [
  image('debian', null, { standsInFor: 'debian:trixie-slim', tool: 'mmdebstrap' }),
  image('java', 'debian'),
  image('spark', 'java', {
    standsInFor: 'apache/spark:4.1.1-scala2.13-java21-python3-ubuntu',
    downloads: 'spark',
  }),
  image('spark-kafka', 'spark', { downloads: 'spark-kafka' }),
  image('node', 'debian'),
  image('kafka', 'java', { standsInFor: 'apache/kafka:4.1.1', downloads: 'kafka' }),
  image('kafka-jmx', 'kafka', { downloads: 'kafka-jmx' }),
  image('zookeeper', 'java', { standsInFor: 'zookeeper:3.9.5', downloads: 'zookeeper' }),
  image('hadoop', 'java', { standsInFor: 'apache/hadoop:3.4.2', downloads: 'hadoop' }),
  image('prometheus', 'debian', { standsInFor: 'prom/prometheus:v2.53.3' }),
  image('node-exporter', 'debian', { standsInFor: 'prom/node-exporter:v1.9.0' }),
  image('node-app', 'debian'),
  image('generator', 'node-app', {
    folder: 'images/node-script',
    bundle: 'dist/compose/streaming/generator.cjs',
  }),
  image('observer', 'node-app', {
    folder: 'images/node-script',
    bundle: 'dist/compose/streaming/observer.cjs',
  }),
  image('controller', 'node-app', { folder: 'controller', assets: PACKAGE }),
];
