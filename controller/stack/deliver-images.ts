import type { Readable } from 'node:stream';
import type Dockerode from 'dockerode';
import pLimit from 'p-limit';
import { engineGateway } from '../swarm/docker-gateways.ts';
import { EngineError } from '../swarm/engine-error.ts';
import { requestStream } from '../swarm/engine-request.ts';
import type { EngineGateway } from '../swarm/swarm-gateway.ts';

/** Where images come from that nodes cannot pull. */
export interface ImageSource {
  imageId(reference: string, signal: AbortSignal): Promise<string | undefined>;
  /** One archive of all of them, layers that they share in it once. */
  save(references: readonly string[], signal: AbortSignal): Promise<Readable>;
}

/** An engine's store as a source; the engine is one that the caller may read images of. */
export function dockerImageSource(docker: Dockerode): ImageSource {
  return {
    imageId: engineGateway(docker).imageId,
    save: (names, signal) =>
      requestStream(docker, { method: 'GET', path: '/images/get', query: { names } }, signal),
  };
}

export interface SourcedImage {
  readonly reference: string;
  readonly id: string;
}

/** Those of the images that the source has, with their ids: the rest is for the nodes to pull. */
export async function sourcedImages(
  references: readonly string[],
  source: ImageSource,
  signal: AbortSignal,
): Promise<readonly SourcedImage[]> {
  const found = await Promise.all(
    references.map(async (reference) => ({ reference, id: await source.imageId(reference, signal) })),
  );
  return found.flatMap(({ reference, id }) => (id === undefined ? [] : [{ reference, id }]));
}

/** Brings images to an engine. */
export interface ImageDelivery {
  /**
   * Makes the engine hold these images: those that the source has are streamed over and verified by id, others
   * pulled. Does nothing for what is there already. Throws an EngineError that names every image that failed.
   */
  deliver(references: readonly string[], engine: EngineGateway, signal: AbortSignal): Promise<void>;
}

/** @param streams how many engines are served at a time: packing and unpacking take a core each */
export function imageDelivery(source: ImageSource, streams = 3): ImageDelivery {
  const limit = pLimit(streams);
  return {
    async deliver(references, engine, signal) {
      const wanted = await Promise.all(
        [...new Set(references)].map(async (reference) => ({
          reference,
          want: await source.imageId(reference, signal),
          have: await engine.imageId(reference, signal),
        })),
      );
      const toSend = wanted.filter(({ want, have }) => want !== undefined && want !== have);
      const toPull = wanted.filter(({ want, have }) => want === undefined && have === undefined);
      const names = toSend.map(({ reference }) => reference);
      const send = async () => {
        signal.throwIfAborted();
        await engine.loadImages(await source.save(names, signal), signal);
      };
      if (names.length > 0) await limit(send);
      const failed = [
        ...(await Promise.all(toSend.map(({ reference, want }) => verify(reference, want, engine, signal)))),
        ...(await Promise.all(toPull.map(({ reference }) => pull(reference, engine, signal)))),
      ].filter((it) => it !== undefined);
      if (failed.length > 0) throw new EngineError('NOT_FOUND', failed.join('; '));
    },
  };
}

async function verify(
  reference: string,
  want: string | undefined,
  engine: EngineGateway,
  signal: AbortSignal,
): Promise<string | undefined> {
  const have = await engine.imageId(reference, signal);
  if (have === want) return undefined;
  return `image ${reference} was sent as ${want}, and the engine holds ${have ?? 'nothing'}`;
}

async function pull(
  reference: string,
  engine: EngineGateway,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await engine.pullImage(reference, signal);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return `image ${reference} is not on this machine, and the node cannot pull it: ${(error as Error).message}`;
  }
}
