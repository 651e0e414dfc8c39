import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const downloadSetSchema = z.strictObject({
  client: z.enum(['maven', 'pip']),
  sha256: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)),
});

/** Files that one client fetches: coordinates (`group:artifact:version[:classifier]` or `name==version`) to checksum. */
export type DownloadSet = z.infer<typeof downloadSetSchema>;

/** Reads the committed versions and checksums of everything that images download. */
export async function readDownloadLock(assetsDir: string): Promise<Readonly<Record<string, DownloadSet>>> {
  const text = await readFile(join(assetsDir, 'compose/images/downloads.json'), 'utf8');
  return z.record(z.string(), downloadSetSchema).parse(JSON.parse(text));
}

/** The file name under which a download is known to its client and to the Dockerfiles. */
export function downloadFileName(client: DownloadSet['client'], coordinates: string): string {
  if (client === 'pip') return `${coordinates.replace('==', '-')}.tar.gz`;
  const [, artifact, version, classifier] = coordinates.split(':');
  return `${[artifact, version, classifier].filter((part) => part !== undefined).join('-')}.jar`;
}
