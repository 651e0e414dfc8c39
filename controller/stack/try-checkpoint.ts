import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeHandle } from '../../provisioners/contract.ts';
import type { CheckpointUse } from './checkpoint.ts';

/**
 * Writes, reads and removes a small file where the job keeps its checkpoint, from a node: in a container of the job's image on
 * the job's network, by the job's own client. Rejects with what was being done, why it failed, and what to look at.
 */
export type TryCheckpoint = (node: NodeHandle, use: CheckpointUse, signal: AbortSignal) => Promise<void>;

/** Below the package's root: what is run in the container, and how the job's driver waits for HDFS. */
const PROGRAM = 'compose/streaming/job/try-checkpoint.py';
const WHEN_READY = 'compose/streaming/spark/when-ready.sh';

/** HDFS may still be starting, and a JVM starts slowly on a machine where all others do. */
const limitS = 40;

// A node that has no task of the job yet may lack the image. The limit inside ends what a lost connection has left behind.
const script = `
docker image inspect "$1" >/dev/null 2>&1 || timeout 600 docker pull -q "$1" >/dev/null || exit
exec timeout -k 5 ${limitS + 20} docker run --rm -i --network "$2" "$1" \\
  timeout -s KILL ${limitS} bash -c "$3" when-ready.sh "$4" -- python3 - "$4" "$5" "$6"`;

/** Reads what is run from the installed package. */
export async function checkpointTryer(packageRoot: string): Promise<TryCheckpoint> {
  const [program, whenReady] = await Promise.all(
    [PROGRAM, WHEN_READY].map((path) => readFile(join(packageRoot, path), 'utf8')),
  );
  return async (node, { dir, conf, image, network }, signal) => {
    const args = [image, network, whenReady!, dir, `.spark-failures-${node.name}`, conf];
    const { code, stdout, stderr } = await node.exec(script, args, { stdin: program! }, signal);
    if (code === 0) return;
    const doing = lastLine(stdout) ?? 'waiting for';
    const timedOut = code === 137 || code === 124;
    const why = timedOut ? `no answer in ${limitS} s` : (lastLine(stderr) ?? `it ended with ${code}`);
    throw new Error(`${doing} ${dir} over the network ${network}: ${why}; ${advice}`);
  };
}

const advice =
  'see that the store exists, that this node has the right to write, read and remove there, and that no route is missing and no firewall between';

/** Docker's own errors end with where to read its help. */
function lastLine(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith("See 'docker")).at(-1);
}
